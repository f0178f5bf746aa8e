"""The chats in data files, read as one system text, the turns before the last question, that question and its answer.

Knows the usual formats, {"role", "content"}, {"from", "value"} and {"role", "parts"}, and transcripts; not which side a
chat is on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from s2e_core.errors import ContrastDataError
from s2e_core.values import Turn

from .cells import read_literal

Unread = Literal["tool", "role", "order", "content"]
"""Reason why a chat is skipped: it calls a tool, has an unknown role, begins with an answer, or has more than text."""
REASONS: Mapping[Unread, str] = {
    "tool": "call a tool",
    "role": "have an unknown role",
    "order": "have no question before the answer",
    "content": "contain more than text",
}
_ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant",
}  # fmt: skip
_TOOL_ROLES = frozenset(
    {"tool", "function", "ipython", "observation", "environment", "function_call", "tool_call", "function_response",
     "tool_response", "tool_result"}
)  # fmt: skip
_TOOL_ENTRIES = ("tool_calls", "function_call")
_PART_CALLS = frozenset({"functionCall", "function_call", "functionResponse", "function_response"})
CONTENTS = ("content", "value", "parts")
_FORMS = tuple({role, content} for role in ("role", "from") for content in CONTENTS)
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
"""Speaker of a turn in a chat written as one text, as in Anthropic's preference data."""


@dataclass(frozen=True, eq=False)
class Chat:
    """A chat up to its last question, and the answer."""

    system: str | None
    prompt: str
    response: str | None
    """Answer; None if the chat ends with the question."""
    earlier: tuple[Turn, ...] = ()
    """Turns before the last question."""


def read_chat(cell: object, where: str) -> Chat | Unread:
    """The chat in a cell, which may be a list or its text; the reason if it is not one that can be averaged over.

    Raises ContrastDataError, beginning with `where`, if the cell is not a list of turns.
    """
    cell = read_literal(cell) if isinstance(cell, str) else cell
    if not isinstance(cell, list) or not all(isinstance(turn, dict) for turn in cell):
        raise ContrastDataError(f'{where}: expected a chat, a list of {{"role": ..., "content": ...}}.')
    turns = []
    for turn in cell:
        read = _read_turn(turn)
        if isinstance(read, str):
            return read
        turns.append(read)
    return chat_of(turns)


def chat_of(turns: Sequence[tuple[str, str]]) -> Chat | Unread:
    """The chat of (role, text); consecutive turns of one speaker are one turn, with an empty line between them."""
    system = [text for role, text in turns if role == "system"]
    dialogue: list[Turn] = []
    for role, text in turns:
        if role == "system":
            continue
        speaker: Literal["user", "assistant"] = "user" if role == "user" else "assistant"
        if dialogue and dialogue[-1][0] == speaker:
            dialogue[-1] = (speaker, f"{dialogue[-1][1]}\n\n{text}")
        else:
            dialogue.append((speaker, text))
    response = dialogue.pop()[1] if dialogue and dialogue[-1][0] == "assistant" else None
    if (dialogue and dialogue[0][0] != "user") or (not dialogue and response is None):
        return "order"
    prompt = dialogue.pop()[1] if dialogue else ""
    return Chat("\n\n".join(system) or None, prompt, response, tuple(dialogue))


def is_chat(value: object) -> bool:
    """Whether a value is a list of turns, judged by the first."""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and any(form <= set(first) for form in _FORMS)


def read_transcript(text: str) -> list[dict[str, str]] | None:
    """The turns of a chat written as one text, "Human: ... Assistant: ..."; None for any other text.

    A last turn without text, which leaves the answer open, is no turn.
    """
    before, *parts = _SPEAKER.split(text.lstrip("\n"))
    if before or parts[:1] != ["Human"] or "Assistant" not in parts[2::2]:
        return None
    turns = [{"role": speaker, "content": words} for speaker, words in zip(parts[::2], parts[1::2], strict=True)]
    return turns if turns[-1]["content"].strip() else turns[:-1]


def _read_turn(turn: Mapping[str, object]) -> tuple[str, str] | Unread:
    """(role, text) of a turn, or why it cannot be read."""
    name = str(turn.get("role") or turn.get("from")).lower()
    parts = _parts(turn)
    calls = any(isinstance(part, dict) and not _PART_CALLS.isdisjoint(part) for part in parts)
    if name in _TOOL_ROLES or calls or any(turn.get(entry) for entry in _TOOL_ENTRIES):
        return "tool"
    if name not in _ROLES:
        return "role"
    text = turn_text(turn)
    if text is None:
        return "tool" if set(_TOOL_ENTRIES) & set(turn) else "content"
    return _ROLES[name], text


def turn_text(turn: Mapping[str, object]) -> str | None:
    """The text of a turn, a string or the text parts of a list; None if it contains anything else."""
    texts = [part.get("text") if isinstance(part, dict) else part for part in _parts(turn)]
    return "".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None


def _parts(turn: Mapping[str, object]) -> list[object]:
    content = next((turn[key] for key in CONTENTS if turn.get(key) is not None), None)  # Arrow fills up with nulls
    return content if isinstance(content, list) else [content]
