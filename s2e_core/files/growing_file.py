"""A file of JSON lines that grows during work: a first line that describes the work, then one line per result.

Knows JSON and the disk, not what the lines mean. Lines are on disk as soon as they are added; a line that a killed
process left half written is dropped when the file is opened again. While it is open, no other process writes to it.
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
except ImportError:  # Windows: two runs that write to one file are not noticed
    fcntl = None  # type: ignore[assignment]

from s2e_core.errors import S2EError


@dataclass(frozen=True, eq=False)
class Kind:
    """Kind of growing file: its format, and the words for it in messages."""

    format: str
    """Name of the format, at the beginning of the first line."""
    name: str
    """Name with an article: "a sweep"."""
    another: str
    """Content of a file of another run, and what then differs: "another sweep: its questions or random seed"."""
    error: type[S2EError]
    """Error to raise."""


class GrowingFile:
    """Open growing file; `lines` are the values of the lines after the first when it was opened."""

    def __init__(self, file: TextIO, lines: list[Any], kind: Kind) -> None:
        self.lines = lines
        self._file, self._kind = file, kind

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write lines at the end. Raises the kind's error if the disk is full or fails."""
        try:
            self._file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            self._file.flush()
        except OSError as error:
            with suppress(OSError):
                self._file.close()  # a later close would raise the bare error again
            raise self._kind.error(
                f"{Path(self._file.name).name} cannot be written any further ({error.strerror}). Make room and run the "
                "same command again: the file is kept."
            ) from error


@contextmanager
def growing_file(path: Path, about: Mapping[str, Any], kind: Kind) -> Iterator[GrowingFile]:
    """Open the file to resume, or create it; `about` is the content of its first line beside the format.

    Raises the kind's error if the file is of another run or kind, is damaged, is being written by another run, or
    cannot be written. The file then stays as it is.
    """
    try:
        file = path.open("a", encoding="utf-8", newline="\n")  # an existing file stays as it is
    except OSError as error:
        raise kind.error(f"{path.name} cannot be written ({error.strerror}). Choose another file.") from error
    with file:
        _lock(file, path, kind)
        first = {"format": kind.format, **about}
        lines, end = _read_complete_lines(path, kind)
        if lines and lines[0] != json.loads(json.dumps(first)):
            raise kind.error(f"{path.name} contains {kind.another} differ. Choose another file.")
        file.truncate(end)
        growing = GrowingFile(file, lines[1:], kind)
        if not lines:
            growing.add([first])
        yield growing


def read_lines(path: Path, kind: Kind) -> list[Any]:
    """Return the values of all complete lines of a file, the first included; none if the file is missing or empty.

    Another run may be writing to it. Raises the kind's error if it is of another kind, damaged, or cannot be read.
    """
    return _read_complete_lines(path, kind)[0] if path.exists() else []


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
        pass  # network disks may not support locks


def _read_complete_lines(path: Path, kind: Kind) -> tuple[list[Any], int]:
    """Return the values of all complete lines and the byte at which they end; no values for half a first line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise kind.error(f"{path.name} cannot be read ({error.strerror}). Choose another file.") from error
    beginning, end = json.dumps({"format": kind.format})[:-1].encode(), content.rfind(b"\n") + 1
    if not (content.startswith(beginning) or (not end and beginning.startswith(content))):
        raise kind.error(f"{path.name} is not {kind.name} of this program. Choose such a file, or a new one.")
    try:
        return [json.loads(line) for line in content[:end].decode("utf-8").split("\n")[:-1]], end
    except ValueError as error:
        raise kind.error(f"{path.name} is damaged ({error}). Choose another file.") from error
