"""A file of JSON lines that grows while work goes on: a first line that says what was asked, then one line per result.

Knows JSON and the disk, not what the lines mean. Lines are on disk as soon as they are added; one that a killed process
left half written is dropped when the file is opened again. While it is open nobody else writes into it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

try:
    import fcntl
except ImportError:  # Windows: two runs into one file are not told apart
    fcntl = None  # type: ignore[assignment]

from s2e_core.errors import S2EError


@dataclass(frozen=True, eq=False)
class Kind:
    """What such a file holds, and how a person is told of it."""

    format: str
    """At the beginning of its first line."""
    name: str
    """With an article: "a sweep"."""
    another: str
    """One of another run, and what then differs: "another sweep: its questions or dice"."""
    error: type[S2EError]


class GrowingFile:
    """An open file: `lines` are those it held after its first one, as values."""

    def __init__(self, file: TextIO, lines: list[Any], kind: Kind) -> None:
        self.lines = lines
        self._file, self._kind = file, kind

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write lines at the end. Raises the kind's error where the disk takes no more."""
        try:
            self._file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            self._file.flush()
        except OSError as error:
            with suppress(OSError):
                self._file.close()  # else whoever closes it would meet the same error, without the sentence
            raise self._kind.error(
                f"{Path(self._file.name).name} cannot be written any further ({error.strerror}). Make room and run the "
                "same again: what it holds is kept."
            ) from error


@contextmanager
def growing_file(path: Path, about: Mapping[str, Any], kind: Kind) -> Iterator[GrowingFile]:
    """Open the file to go on, or begin it; `about` is what its first line says beside the format.

    Raises the kind's error for a file of another run or of another kind, which stays as it is, for one that is damaged
    or that another run is writing to, and where it cannot be written.
    """
    try:
        file = path.open("a", encoding="utf-8", newline="\n")  # which changes nothing of a file that is there
    except OSError as error:
        raise kind.error(f"{path.name} cannot be written ({error.strerror}). Choose another file.") from error
    with file:
        _lock(file, path, kind)
        first = {"format": kind.format, **about}
        lines, end = _whole_lines(path, kind)
        if lines and lines[0] != json.loads(json.dumps(first)):
            raise kind.error(f"{path.name} holds {kind.another} differ. Choose another file.")
        file.truncate(end)
        held = GrowingFile(file, lines[1:], kind)
        if not lines:
            held.add([first])
        yield held


def held_lines(path: Path, kind: Kind) -> list[Any]:
    """All whole lines of a file as values, the first one included; none where it is missing or barely begun.

    Another run may be writing to it. Raises the kind's error where it is of another kind, damaged, or cannot be read.
    """
    return _whole_lines(path, kind)[0] if path.exists() else []


def _lock(file: TextIO, path: Path, kind: Kind) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise kind.error(
            f"Another run is writing to {path.name}. Wait until it has ended, or choose another file."
        ) from error
    except OSError:
        pass  # disks over a network may know no locks


def _whole_lines(path: Path, kind: Kind) -> tuple[list[Any], int]:
    """The values of all whole lines and the byte at which they end; none of what is a piece of a first line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise kind.error(f"{path.name} cannot be read ({error.strerror}). Choose another file.") from error
    begins, end = json.dumps({"format": kind.format})[:-1].encode(), content.rfind(b"\n") + 1
    if not (content.startswith(begins) or (not end and begins.startswith(content))):
        raise kind.error(f"{path.name} is not {kind.name} of this program. Choose such a file, or one that is new.")
    try:
        return [json.loads(line) for line in content[:end].decode("utf-8").split("\n")[:-1]], end
    except ValueError as error:
        raise kind.error(f"{path.name} is damaged ({error}). Choose another file.") from error
