"""The file of a model's own responses: one line that says what was asked of which model, one line per response.

Knows what the lines mean; how they reach the disk and are found again there is in `files/growing_file.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s2e_core.errors import ContrastDataError
from s2e_core.files import GrowingFile, Kind, growing_file, held_lines
from s2e_core.values import Example

RESPONSES = Kind(
    "steer2edit own responses", "a file of responses", "other responses: the prompts, the model or the dice",
    ContrastDataError,
)  # fmt: skip
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

    def __init__(self, held: dict[int, OwnResponse], file: GrowingFile | None) -> None:
        self.held, self._file = held, file

    def add(self, responses: Mapping[int, OwnResponse]) -> None:
        """Raises ContrastDataError where the disk takes no more."""
        self.held.update(responses)
        if self._file is not None:
            self._file.add(_entry(i, response) for i, response in responses.items())


@contextmanager
def response_file(path: Path | None, about: Mapping[str, Any], prompts: Sequence[Example]) -> Iterator[ResponseFile]:
    """Open or begin the file of the responses to `prompts`; `about` tells one run from another.

    Raises ContrastDataError where the file is another one, damaged, being written to, or cannot be written.
    """
    if path is None:
        yield ResponseFile({}, None)
        return
    with growing_file(path, {"version": VERSION, **about}, RESPONSES) as file:
        yield ResponseFile(_held(path, file.lines, prompts), file)


def held_responses(path: Path, prompts: Sequence[Example]) -> dict[int, OwnResponse]:
    """What a file holds by now of the responses to `prompts`, by their place; nothing where there is no file yet.

    Raises ContrastDataError where the file is damaged or of another kind.
    """
    return _held(path, held_lines(path, RESPONSES)[1:], prompts)


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
