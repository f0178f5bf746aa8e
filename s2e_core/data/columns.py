"""Which column of a table is the prompt, which the response, the label or a whole side.

Knows the names that people give to columns, and nothing of files or models. What could be meant in two ways is said in
a note, and every role can be given by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from s2e_core.errors import ContrastDataError

EXPECTED = (
    "Expected JSONL or CSV rows with either the columns prompt, response and label (positive or negative), "
    "or the columns positive and negative (with an optional prompt)."
)
"""What data files look like, as the end of a sentence."""
TEXT = "text"
"""The only column of a file that has none: lines of a text file, strings in a JSON list."""
NAMES = {
    "messages": ("messages", "conversations", "conversation"),
    "choices": ("mc2_targets", "mc1_targets"),
    "prompt": ("prompt", "question", "instruction", "input", "query", "goal", "behavior", TEXT),
    "response": ("response", "answer", "completion", "output", "reply", "statement"),
    "label": ("label", "parsed_label", "side", "labels", "is_positive", "class"),
    "system": ("system", "system_prompt"),
}
PAIRS = (
    ("positive", "negative"),
    ("chosen", "rejected"),
    ("answer_matching_behavior", "answer_not_matching_behavior"),
    ("correct_answers", "incorrect_answers"),
    ("correct answers", "incorrect answers"),
    ("best answer", "best incorrect answer"),
    ("pos", "neg"),
    ("good", "bad"),
)
"""Two columns, or two lists, that hold the two sides."""
LISTED = frozenset({"correct answers", "incorrect answers", "correct_answers", "incorrect_answers"})
"""Columns that hold several responses: a list, or a text with semicolons between them, as TruthfulQA.csv has it."""
INSTRUCTION, CONTEXTS = "instruction", ("input", "context")
"""A prompt, and the names of the text that belongs below it, in data like those of Alpaca and Dolly."""
KNOWN = frozenset(name for names in (*NAMES.values(), *PAIRS) for name in names)


@dataclass(frozen=True, eq=False)
class Columns:
    """The column of each role; None is "no such column" in a reading, and "find it" where a person gives roles."""

    prompt: str | None = None
    response: str | None = None
    label: str | None = None
    system: str | None = None
    messages: str | None = None
    """Holds whole chats: a list of {"role": ..., "content": ...}."""
    positive: str | None = None
    """Holds the responses of the positive side; of two lists or files, the positive one's name."""
    negative: str | None = None
    context: str | None = None
    """Holds more of the prompt, which is put on a new line below it."""
    choices: str | None = None
    """Holds several responses, each with a label of its own; see `choices.read_choices`."""

    def roles(self) -> dict[str, str]:
        """Role -> column, of those that have one."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {role: column for role, column in values if column is not None}


def column_name(name: object) -> str:
    """A column's name as it is compared: one line without needless blanks, lower case."""
    return " ".join(str(name).split()).lower()


def normalized(given: Columns) -> Columns:
    """The roles a person gave, with the names as they are compared; an empty name is none."""
    return Columns(**{role: column_name(column) for role, column in given.roles().items() if column_name(column)})


def find_columns(names: Sequence[str], given: Columns) -> tuple[Columns, tuple[str, ...]]:
    """(the column of every role, notes on what could be meant otherwise); `given` wins over the usual names.

    Raises ContrastDataError where a given column does not exist, or only one of two sides was given.
    """
    for role, column in given.roles().items():
        if column not in names:
            raise ContrastDataError(
                f'There is no column "{column}" to be the {role}; the columns are {", ".join(names) or "none"}. '
                "Expected one of them."
            )
    if (given.positive is None) != (given.negative is None):
        raise ContrastDataError(
            "Only one of the columns positive and negative was given. Give both, or the label's column instead."
        )
    found, notes = _with_sides(names, given)
    for role in ("choices", "messages", "label", "response", "prompt", "system"):
        if getattr(found, role) is not None or not _is_wanted(role, found):
            continue
        taken = set(found.roles().values())
        candidates = [name for name in NAMES[role] if name in names and name not in taken]
        if role == "prompt" and found.positive is not None:  # beside two sides a chat may be the question alone
            candidates = candidates or [name for name in NAMES["messages"] if name in names and name not in taken]
        if candidates:
            found = replace(found, **{role: candidates[0]})
        if role == "prompt":
            found = _with_context(names, found)
        others = ", ".join(f'"{name}"' for name in candidates[1:] if name != found.context)
        if others:
            was, it = ("were", "they") if role.endswith("s") else ("was", "it")
            notes.append(f'The {role} {was} taken from "{candidates[0]}"; {it} could be {others} as well.')
    return found, tuple(notes)


def _with_context(names: Sequence[str], found: Columns) -> Columns:
    """With the column that belongs below the prompt, where nobody has named the prompt or what belongs below it."""
    if found.prompt != INSTRUCTION or found.context is not None:
        return found
    taken = set(found.roles().values())
    return replace(found, context=next((name for name in CONTEXTS if name in names and name not in taken), None))


def _with_sides(names: Sequence[str], given: Columns) -> tuple[Columns, list[str]]:
    """The given roles, with the two sides' columns where two stand side by side."""
    if given.positive is not None or given.label is not None or given.response is not None:
        return given, []
    pairs = [pair for pair in PAIRS if set(pair) <= set(names)]
    if not pairs:
        return given, []
    notes = [
        f'The sides were taken from "{pairs[0][0]}" and "{pairs[0][1]}"; they could be "{one}" and "{other}" as well.'
        for one, other in pairs[1:]
    ]
    return replace(given, positive=pairs[0][0], negative=pairs[0][1]), notes


def _is_wanted(role: str, found: Columns) -> bool:
    if role == "choices":
        return found.positive is None and found.response is None and found.label is None and found.messages is None
    if role == "messages":  # a person who names prompt or response means those
        return found.prompt is None and found.response is None and found.positive is None and found.choices is None
    if role in ("label", "response") and (found.positive is not None or found.choices is not None):
        return False
    return role not in ("prompt", "response", "system") or found.messages is None
