"""The role of every column of a table: prompt, response, label, a whole side.

Knows the usual names of columns, not files or models. A note mentions every ambiguity, and every role can be given by
hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from s2e_core.errors import ContrastDataError

EXPECTED = (
    "Expected JSONL or CSV rows with either the columns prompt, response and label (positive or negative), "
    "or the columns positive and negative (with an optional prompt)."
)
"""Sentence about the expected columns, for the end of an error message."""
TEXT = "text"
"""Name of the only column of a file without columns: lines of a text file, strings in a JSON list."""
NAMES = {
    "messages": ("messages", "conversations", "conversation", "contents"),
    "choices": ("mc2_targets", "mc1_targets"),
    "prompt": ("prompt", "question", "instruction", "input", "query", "goal", "behavior", TEXT),
    "response": ("response", "answer", "completion", "output", "reply", "statement"),
    "label": ("label", "parsed_label", "side", "labels", "is_positive", "class"),
    "system": ("system", "system_prompt", "system_instruction", "systeminstruction"),
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
    ("chosen_conversations", "rejected_conversations"),
    ("chosen_response", "rejected_response"),
    ("preferred_output", "non_preferred_output"),
    ("response_j", "response_k"),
    ("preferred", "dispreferred"),
)
"""Names of two columns, or two lists, that contain the two sides."""
LISTED = frozenset({"correct answers", "incorrect answers", "correct_answers", "incorrect_answers"})
"""Columns with several responses in a cell: a list, or a text with semicolons between them, as in TruthfulQA.csv."""
INSTRUCTION, CONTEXTS = "instruction", ("input", "context")
"""Column of the prompt, and possible names of the text that belongs below it, in data like Alpaca and Dolly."""
KNOWN = frozenset(name for names in (*NAMES.values(), *PAIRS) for name in names)


@dataclass(frozen=True, eq=False)
class Columns:
    """The column of each role; None means "no such column" in a reading, and "find it" in a person's corrections."""

    prompt: str | None = None
    response: str | None = None
    label: str | None = None
    system: str | None = None
    messages: str | None = None
    """Column of whole chats: a list of {"role": ..., "content": ...}."""
    positive: str | None = None
    """Column of the responses of the positive side; with two lists or files, the name of the positive one."""
    negative: str | None = None
    context: str | None = None
    """Column of text that continues the prompt on a new line."""
    choices: str | None = None
    """Column of several responses, each with its own label; see `choices.read_choices`."""

    def roles(self) -> dict[str, str]:
        """Role -> column, for every role that has one."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {role: column for role, column in values if column is not None}


def column_name(name: object) -> str:
    """A column's name in the form used for comparison: one line without extra blanks, lower case."""
    return " ".join(str(name).split()).lower()


def normalize_roles(roles: Columns) -> Columns:
    """A person's roles with their names in the form used for comparison, without empty names."""
    return Columns(**{role: column_name(column) for role, column in roles.roles().items() if column_name(column)})


def find_columns(names: Sequence[str], given: Columns) -> tuple[Columns, tuple[str, ...]]:
    """(the column of every role, notes on what is ambiguous); the roles `given` by hand win over the usual names.

    Raises ContrastDataError if a given column does not exist, or only one of the two sides is given.
    """
    for role, column in given.roles().items():
        if column not in names:
            raise ContrastDataError(
                f'The column "{column}", given as the {role}, does not exist; the columns are '
                f"{', '.join(names) or 'none'}. Expected one of them."
            )
    if (given.positive is None) != (given.negative is None):
        raise ContrastDataError(
            "Only one of the columns positive and negative was given. Give both, or the label column instead."
        )
    columns, notes = _with_sides(names, given)
    for role in ("choices", "messages", "label", "response", "prompt", "system"):
        if getattr(columns, role) is not None or not _is_wanted(role, columns):
            continue
        taken = set(columns.roles().values())
        candidates = [name for name in NAMES[role] if name in names and name not in taken]
        if role == "prompt" and columns.positive is not None:  # beside two sides a chat may be only the question
            candidates = candidates or [name for name in NAMES["messages"] if name in names and name not in taken]
        if candidates:
            columns = replace(columns, **{role: candidates[0]})
        if role == "prompt":
            columns = _with_context(names, columns)
        others = ", ".join(f'"{name}"' for name in candidates[1:] if name != columns.context)
        if others:
            was, it = ("were", "they") if role in ("choices", "messages") else ("was", "it")
            notes.append(f'The {role} {was} taken from "{candidates[0]}"; {it} could be {others} as well.')
    return columns, tuple(notes)


def _with_context(names: Sequence[str], columns: Columns) -> Columns:
    """Add the column that continues the prompt, unless a person has named the prompt or its continuation."""
    if columns.prompt != INSTRUCTION or columns.context is not None:
        return columns
    taken = set(columns.roles().values())
    return replace(columns, context=next((name for name in CONTEXTS if name in names and name not in taken), None))


def _with_sides(names: Sequence[str], given: Columns) -> tuple[Columns, list[str]]:
    """Add the two sides' columns to the given roles if the table has such a pair; also notes."""
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


def _is_wanted(role: str, columns: Columns) -> bool:
    if role == "choices":
        return {"positive", "response", "label", "messages"}.isdisjoint(columns.roles())
    if role == "messages":  # a person who names prompt or response means those
        return {"prompt", "response", "positive", "choices"}.isdisjoint(columns.roles())
    if role in ("label", "response") and (columns.positive is not None or columns.choices is not None):
        return False
    return role not in ("prompt", "response", "system") or columns.messages is None
