"""Preference data in the formats of other programs, rewritten row by row as a prompt with a chosen and a rejected side.

Knows the documented shapes of rows; not chats, labels or files. Columns and the first row decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from .cells import read_literal
from .columns import Columns
from .table import Table

Cells = Mapping[str, object]
CHOSEN, REJECTED = "chosen", "rejected"
WINNERS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("response_0", "response_1"): ("safer_response_id", "better_response_id"),
    ("conversation_a", "conversation_b"): ("winner",),
    ("human_ref_a", "human_ref_b"): ("labels",),
}
"""Two columns of responses -> the columns, by preference, that say which one is better: PKU-SafeRLHF, Arena, SHP."""
_FIRST = frozenset({"0", "model_a", "a"})
_SECOND = frozenset({"1", "model_b", "b"})


@dataclass(frozen=True)
class Format:
    """One documented shape of a row."""

    name: str
    columns: frozenset[str]
    """Columns that the shape consists of; the others of a row stay."""
    read: Callable[[Cells], Cells | None]
    """Cells that replace those columns: two sides, or none of them if neither is better. None if a row differs."""
    others: tuple[str, ...] = ()
    """Columns that could decide as well."""


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A table with the two sides in columns, or the table as it was."""

    table: Table
    roles: Columns
    """A person's roles, without a label that the format has used."""
    notes: tuple[str, ...] = ()
    n_undecided: int = 0
    """Number of rows left out because neither response is better."""


def rewrite_preferences(table: Table, roles: Columns) -> Rewritten:
    """Rewrite a table in a known format of preference data, unless a person's `roles` name columns of that format."""
    found = _find_format(table, roles.label)
    if found is None or table.sources:
        return Rewritten(table, roles)
    if found.others or found.columns & {roles.label}:
        roles = replace(roles, label=None)
    if set(roles.roles().values()) & found.columns:
        return Rewritten(table, roles)
    rows, n_undecided = [], 0
    for row in table.rows:
        sides = found.read(row.cells)
        if sides == {}:
            n_undecided += 1
            continue
        kept = {name: cell for name, cell in row.cells.items() if name not in found.columns}
        rows.append(replace(row, cells={**kept, **sides}) if sides is not None else row)
    return Rewritten(replace(table, rows=tuple(rows)), roles, tuple(_notes(found, n_undecided)), n_undecided)


def _notes(found: Format, n_undecided: int) -> list[str]:
    notes = [f"The rows were read as {found.name}."]
    if found.others:
        names = " or ".join(f'"{name}"' for name in found.others)
        notes.append(f"{names} could decide as well: to use it, say that it is the label.")
    if n_undecided:
        were = "row was" if n_undecided == 1 else "rows were"
        notes.append(f"{n_undecided} {were} skipped, because neither response is better.")
    return notes


def _find_format(table: Table, label: str | None) -> Format | None:
    names = set(table.columns())
    for found in (*FORMATS, *_winner_formats(names, label)):
        if found.columns <= names and any(found.read(row.cells) is not None for row in table.rows[:1]):
            return found
    return None


def _winner_formats(names: set[str], label: str | None) -> list[Format]:
    """Formats with two columns of responses and one that says which is better; a person's label comes first."""
    formats = []
    for pair, winners in WINNERS.items():
        known = [name for name in winners if name in names]
        if label in known:
            known.remove(label)
            known.insert(0, label)
        if known and set(pair) <= names:
            title = f'two responses, of which "{known[0]}" says the better one'
            formats.append(
                Format(title, frozenset({*pair, known[0]}), _reader_of_winner(pair, known[0]), tuple(known[1:]))
            )
    return formats


def _reader_of_winner(pair: tuple[str, str], winner: str) -> Callable[[Cells], Cells | None]:
    one, other = pair

    def read(cells: Cells) -> Cells | None:
        value = str(cells.get(winner)).strip().lower().removesuffix(".0")
        is_first = value in (_FIRST if winner != "labels" else _SECOND)  # in SHP, 1 means that A is better
        if value not in _FIRST | _SECOND:
            return {}
        return _sides(cells.get(one), cells.get(other)) if is_first else _sides(cells.get(other), cells.get(one))

    return read


def _value(cell: object) -> object:
    """The list or dictionary that a table contains as text; any other cell as it is."""
    return (read_literal(cell) or cell) if isinstance(cell, str) else cell


def _sides(chosen: object, rejected: object) -> Cells:
    return {CHOSEN: chosen, REJECTED: rejected}


def _read_openai(cells: Cells) -> Cells | None:
    question = _value(cells.get("input"))
    if isinstance(question, dict) and isinstance(question.get("messages"), list):
        question = question["messages"]
    return {"prompt": question, **_sides(cells.get("preferred_output"), cells.get("non_preferred_output"))}


def _read_rejected_response(cells: Cells) -> Cells | None:
    """A whole chat, and another answer to it, as ms-swift has it."""
    chat, other = _value(cells.get("messages")), cells.get("rejected_response")
    if not isinstance(chat, list) or not chat or not isinstance(chat[-1], dict):
        return None
    last = chat[-1]
    content = "value" if "value" in last else "content"
    return _sides(chat, [*chat[:-1], {**last, content: other}])


def _read_rejected_messages(cells: Cells) -> Cells | None:
    return _sides(cells.get("messages"), cells.get("rejected_messages"))


def _read_gemini(cells: Cells) -> Cells | None:
    completions = _value(cells.get("completions"))
    if not isinstance(completions, list) or not all(isinstance(part, dict) for part in completions):
        return None
    sides = _best_and_worst([c.get("completion") for c in completions], [c.get("score") for c in completions])
    return None if sides is None else {"prompt": cells.get("contents"), **sides} if sides else {}


def _read_output_list(cells: Cells) -> Cells | None:
    output = _value(cells.get("output"))
    if isinstance(output, list) and len(output) == 2 and all(isinstance(text, str) for text in output):
        return _sides(*output)
    return None


def _read_ratings(responses: str, ratings: str) -> Callable[[Cells], Cells | None]:
    def read(cells: Cells) -> Cells | None:
        return _best_and_worst(_value(cells.get(responses)), _value(cells.get(ratings)))

    return read


def _best_and_worst(responses: object, scores: object) -> Cells | None:
    """The response with the highest score against the one with the lowest; none if all scores are the same."""
    if not isinstance(responses, list) or not isinstance(scores, list) or len(responses) != len(scores):
        return None
    known = [(score, k) for k, score in enumerate(scores) if _is_number(score)]
    if len(known) < 2 or max(known)[0] == min(known)[0]:
        return {}
    best = max(known, key=lambda pair: (pair[0], -pair[1]))
    return _sides(responses[best[1]], responses[min(known)[1]])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _format(name: str, columns: Sequence[str], read: Callable[[Cells], Cells | None]) -> Format:
    return Format(name, frozenset(columns), read)


FORMATS = (
    _format("preferences of OpenAI", ("input", "preferred_output", "non_preferred_output"), _read_openai),
    _format("preferences of ms-swift", ("messages", "rejected_response"), _read_rejected_response),
    _format("preferences of ms-swift", ("messages", "rejected_messages"), _read_rejected_messages),
    _format("preferences of Gemini", ("contents", "completions"), _read_gemini),
    _format("outputs of which the first is better, as LLaMA-Factory has them", ("output",), _read_output_list),
    *(
        _format(
            f'rated responses, the best against the worst in "{ratings}"', (responses, ratings),
            _read_ratings(responses, ratings),
        )
        for responses in ("generations", "responses")
        for ratings in ("ratings", "rating", "scores")
    ),
)  # fmt: skip
