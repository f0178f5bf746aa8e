"""The chats in data files, read as one system text, one prompt and one response.

Knows the two usual formats, {"role", "content"} and {"from", "value"}, and transcripts; not which side a chat is on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from s2e_core.errors import ContrastDataError

from .cells import read_literal

_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant",
}  # fmt: skip
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
"""Speaker of a turn in a chat written as one text, as in Anthropic's preference data."""


@dataclass(frozen=True, eq=False)
class Chat:
    """One question and its answer."""

    system: str | None
    prompt: str
    response: str | None
    """Answer; None if the chat ends with the question."""


def read_chat(cell: object, where: str) -> Chat | None:
    """The chat in a cell, which may be a list or its text; None if it has more than one question or answer.

    Raises ContrastDataError, beginning with `where`, if the cell is not a list of turns.
    """
    turns = _turns(cell, where)
    system = [text for role, text in turns if role == "system"]
    dialogue = [(role, text) for role, text in turns if role != "system"]
    roles = tuple(role for role, _ in dialogue)
    if roles not in (("user",), ("user", "assistant"), ("assistant",)):
        return None
    prompt = dialogue[0][1] if roles[0] == "user" else ""
    response = dialogue[-1][1] if roles[-1] == "assistant" else None
    return Chat("\n\n".join(system) or None, prompt, response)


def is_chat(value: object) -> bool:
    """Whether a value is a list of turns, judged by the first."""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and any(pair <= set(first) for pair in ({"role", "content"}, {"from", "value"}))


def read_transcript(text: str) -> list[dict[str, str]] | None:
    """The turns of a chat written as one text, "Human: ... Assistant: ..."; None for any other text."""
    before, *parts = _SPEAKER.split(text.lstrip("\n"))
    if before or parts[:1] != ["Human"] or "Assistant" not in parts[2::2]:
        return None
    return [{"role": speaker, "content": words} for speaker, words in zip(parts[::2], parts[1::2], strict=True)]


def _turns(cell: object, where: str) -> list[tuple[str, str]]:
    error = ContrastDataError(f'{where}: expected a chat, a list of {{"role": ..., "content": ...}}.')
    cell = read_literal(cell) if isinstance(cell, str) else cell
    if not isinstance(cell, list):
        raise error
    turns = []
    for turn in cell:
        if not isinstance(turn, dict):
            raise error
        role = _ROLES.get(str(turn.get("role", turn.get("from"))).lower())
        text = _content(turn)
        if role is None or text is None:
            raise error
        turns.append((role, text))
    return turns


def _content(turn: Mapping[str, object]) -> str | None:
    """The text of a turn: a string, or the text parts of a list."""
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        texts = [part for part in parts if isinstance(part, str)]
        return "".join(texts) if len(texts) == len(content) else None
    return content if isinstance(content, str) else None
