"""File of a model's own responses: a first line with the run's model and settings, then one line per response.

Knows what the lines mean; `files/growing_file.py` writes and reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s2e_core.errors import ContrastDataError
from s2e_core.files import GrowingFile, Kind, growing_file, read_lines
from s2e_core.values import Example

RESPONSES = Kind(
    "steer2edit own responses", "a file of responses", "other responses: the prompts, the model or the random seed",
    ContrastDataError,
)  # fmt: skip
VERSION = 1


@dataclass(frozen=True, eq=False)
class OwnResponse:
    """The model's answer to one prompt."""

    example: Example
    """The prompt with the response."""
    n_tokens: int
    """Number of tokens of the response."""
    n_thought: int
    """Number of tokens inside think tags; 0 if the model does not think."""
    in_thought: bool
    """True if the chat template ends the prompt with an open think tag, so that the response begins in the thought."""
    finished: bool
    """True if the response ended by itself, and was not cut off at the maximum length."""

    @property
    def marked(self) -> str:
        """The response with the think tag that the prompt opened, so that thought and answer can be distinguished."""
        return f"<think>{self.example.response}" if self.in_thought else self.example.response


class ResponseFile:
    """The responses so far, by the index of their prompt; in memory only if there is no open file."""

    def __init__(self, responses: dict[int, OwnResponse], file: GrowingFile | None) -> None:
        self.responses, self._file = responses, file

    def add(self, responses: Mapping[int, OwnResponse]) -> None:
        """Add responses and write them to the file. Raises ContrastDataError if they cannot be written."""
        self.responses.update(responses)
        if self._file is not None:
            self._file.add(_entry(i, response) for i, response in responses.items())


@contextmanager
def open_response_file(
    path: Path | None, about: Mapping[str, Any], prompts: Sequence[Example]
) -> Iterator[ResponseFile]:
    """Open or create the file of the responses to `prompts`; `about` identifies the run.

    Raises ContrastDataError if the file is of another run, is damaged, is in use by another run or cannot be written.
    """
    if path is None:
        yield ResponseFile({}, None)
        return
    with growing_file(path, {"version": VERSION, **about}, RESPONSES) as file:
        yield ResponseFile(_parse_lines(path, file.lines, prompts), file)


def read_responses(path: Path, prompts: Sequence[Example]) -> dict[int, OwnResponse]:
    """The responses in a file so far, by the index of their prompt; empty if the file does not exist.

    Raises ContrastDataError if the file is damaged or of another kind.
    """
    return _parse_lines(path, read_lines(path, RESPONSES)[1:], prompts)


def _parse_lines(path: Path, lines: Iterable[Any], prompts: Sequence[Example]) -> dict[int, OwnResponse]:
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
