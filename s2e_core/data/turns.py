"""Chats as data files hold them, read as one system text, one prompt and one response.

Knows the two usual spellings, {"role", "content"} and {"from", "value"}, and transcripts; not which side a chat is on.
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
"""Who speaks, in a chat written as one text, as preference data of Anthropic are."""


@dataclass(frozen=True, eq=False)
class Chat:
    """One question and its answer."""

    system: str | None
    prompt: str
    response: str | None
    """None where the chat ends with the question."""


def read_chat(cell: object, where: str) -> Chat | None:
    """The chat in a cell, which may be a list or its text; None where it has more than one question or answer.

    Raises ContrastDataError, beginning with `where`, for anything that is not a list of turns.
    """
    turns = _turns(cell, where)
    system = [text for role, text in turns if role == "system"]
    spoken = [(role, text) for role, text in turns if role != "system"]
    roles = tuple(role for role, _ in spoken)
    if roles not in (("user",), ("user", "assistant"), ("assistant",)):
        return None
    prompt = spoken[0][1] if roles[0] == "user" else ""
    response = spoken[-1][1] if roles[-1] == "assistant" else None
    return Chat("\n\n".join(system) or None, prompt, response)


def is_chat(value: object) -> bool:
    """Whether a value is a list of turns, as far as its first tells."""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and any(pair <= set(first) for pair in ({"role", "content"}, {"from", "value"}))


def transcript(text: str) -> list[dict[str, str]] | None:
    """The turns of a chat that is written as one text, "Human: ... Assistant: ..."; None for any other text."""
    before, *parts = _SPEAKER.split(text.lstrip("\n"))
    if before or parts[:1] != ["Human"] or "Assistant" not in parts[2::2]:
        return None
    return [{"role": who, "content": said} for who, said in zip(parts[::2], parts[1::2], strict=True)]


def _turns(cell: object, where: str) -> list[tuple[str, str]]:
    wrong = ContrastDataError(f'{where}: expected a chat, a list of {{"role": ..., "content": ...}}.')
    cell = read_literal(cell) if isinstance(cell, str) else cell
    if not isinstance(cell, list):
        raise wrong
    turns = []
    for turn in cell:
        if not isinstance(turn, dict):
            raise wrong
        role = _ROLES.get(str(turn.get("role", turn.get("from"))).lower())
        text = _content(turn)
        if role is None or text is None:
            raise wrong
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
