"""The file of a model's own responses: one line that says what was asked of which model, one line per response.

Knows JSON lines and nothing of the model. A line that a killed process left half written is dropped when the file is
opened again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from .errors import ContrastDataError
from .types import Example

FORMAT = "steer2edit own responses"
VERSION = 1


@dataclass(frozen=True, eq=False)
class OwnResponse:
    """What the model answered to one prompt."""

    example: Example
    """The prompt with the response."""
    n_tokens: int
    n_thought: int
    """Tokens inside think tags, 0 where the model does not think."""
    in_thought: bool
    """The prompt ends with an open think tag (of the chat template), so that the response begins inside the thought."""
    finished: bool
    """False where the response was cut off at the greatest length."""

    @property
    def marked(self) -> str:
        """The response with the think tag that the prompt opened, for those who tell thought and answer apart."""
        return f"<think>{self.example.response}" if self.in_thought else self.example.response


class ResponseFile:
    """The responses known so far, by the place of their prompt; without an open file they are only held."""

    def __init__(self, held: dict[int, OwnResponse], file: TextIO | None) -> None:
        self.held, self._file = held, file

    def add(self, responses: Mapping[int, OwnResponse]) -> None:
        """Raises ContrastDataError where the disk takes no more."""
        self.held.update(responses)
        if self._file is not None:
            _append(self._file, (_entry(i, response) for i, response in responses.items()))


@contextmanager
def response_file(path: Path | None, about: Mapping[str, Any], prompts: Sequence[Example]) -> Iterator[ResponseFile]:
    """Open or begin the file of the responses to `prompts`; `about` tells one run from another.

    Raises ContrastDataError where the file is another one, damaged, or cannot be written.
    """
    if path is None:
        yield ResponseFile({}, None)
        return
    header = {"format": FORMAT, "version": VERSION, **about}
    try:
        lines, end = _read(path)
        file = path.open("r+" if lines else "w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise ContrastDataError(f"{path.name} cannot be written ({error.strerror}). Choose another file.") from error
    with file:
        if not lines:
            _append(file, [header])
        elif lines[0] != header:
            raise ContrastDataError(
                f"{path.name} holds other responses: the prompts, the model or the dice differ. Choose another file."
            )
        else:
            file.seek(end)
            file.truncate()
        yield ResponseFile(_held(path, lines[1:], prompts), file)


def held_responses(path: Path, prompts: Sequence[Example]) -> dict[int, OwnResponse]:
    """What a file holds by now of the responses to `prompts`, by their place; nothing where there is no file yet.

    Raises ContrastDataError where the file is damaged or of another kind.
    """
    lines, _ = _read(path)
    return _held(path, lines[1:], prompts)


def _read(path: Path) -> tuple[list[Any], int]:
    """All whole lines and the byte at which they end; none where the file is missing, empty or barely begun."""
    content = path.read_bytes() if path.exists() else b""
    end = content.rfind(b"\n") + 1
    begins = json.dumps({"format": FORMAT})[:-1].encode()
    try:
        lines = [json.loads(line) for line in content[:end].decode("utf-8").split("\n")[:-1]]
    except ValueError as error:
        raise ContrastDataError(f"{path.name} is damaged ({error}). Choose another file.") from error
    if content and not (content.startswith(begins) or (not lines and begins.startswith(content))):
        raise ContrastDataError(f"{path.name} holds something else. Choose a file that does not exist yet.")
    return lines, end


def _held(path: Path, lines: Iterable[Any], prompts: Sequence[Example]) -> dict[int, OwnResponse]:
    try:
        return {
            int(line["i"]): OwnResponse(
                replace(prompts[line["i"]], response=str(line["text"])),
                n_tokens=int(line["n_tokens"]),
                n_thought=int(line["n_thought"]),
                in_thought=bool(line["in_thought"]),
                finished=bool(line["finished"]),
            )
            for line in lines
        }
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ContrastDataError(f"{path.name} is damaged ({error}). Choose another file.") from error


def _entry(i: int, response: OwnResponse) -> dict[str, Any]:
    return {
        "i": i,
        "prompt": response.example.prompt,
        "text": response.example.response,
        "n_tokens": response.n_tokens,
        "n_thought": response.n_thought,
        "in_thought": response.in_thought,
        "finished": response.finished,
    }


def _append(file: TextIO, entries: Iterable[Mapping[str, Any]]) -> None:
    try:
        file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        file.flush()
    except OSError as error:
        with suppress(OSError):
            file.close()  # else whoever closes it would meet the same error, without the sentence
        raise ContrastDataError(
            f"{Path(file.name).name} cannot be written any further ({error.strerror}). Make room and run the same "
            "again: what it holds is kept."
        ) from error
