"""The open questions of a reading and its notes, as sentences for a person.

Knows tables, columns and labels; not how they become examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from s2e_core.text import counted

from .columns import EXPECTED, LISTED, TEXT, Columns
from .labels import Label, label_value
from .row_examples import is_number
from .table import FILES, Table
from .turns import REASONS, Unread

QuestionKind = Literal["rows", "columns", "labels", "sides", "responses"]
"""What is missing: rows, the role of a column, the side of a label, the side of every row, or responses."""


@dataclass(frozen=True)
class OpenQuestion:
    """Something a person has to say or do before a data file is a contrast set."""

    kind: QuestionKind
    sentence: str

    @property
    def with_format(self) -> str:
        """The sentence, followed by the columns that are expected."""
        return f"{self.sentence} {EXPECTED}"


def open_questions(
    table: Table,
    columns: Columns,
    labels: Sequence[Label],
    *,
    one_sided: bool,
    unanswered: Columns | None,
    unread: Mapping[Unread, int],
    scores: Sequence[str],
) -> Iterator[OpenQuestion]:
    """Everything that keeps a reading from being a contrast set; an error shows the first.

    `unanswered` are the columns of prompts that have no responses, `unread` why rows are skipped if all of them are,
    `scores` the columns of numbers.
    """
    if unread:
        yield OpenQuestion("rows", f"{table.name} has no example. {unread_sentence(unread)}")
        return
    if not table.rows:
        yield OpenQuestion("rows", f"{table.name} has no example: it contains no rows.")
        return
    row_columns = f"Row {table.rows[0].number} has the columns {', '.join(table.rows[0].cells) or 'nothing'}"
    texts = columns.prompt or columns.response or columns.messages or columns.positive or columns.choices
    if texts is None:
        header = " The first row names the columns." if table.has_header else ""
        yield OpenQuestion(
            "columns",
            f"{row_columns}, and none was understood as the prompt or the response.{header} Say which they are, or "
            "rename them.",
        )
        return
    unknown = [label for label in labels if label.side == "unknown"]
    if unknown:
        values = ", ".join(f'"{label.value[:40]}" ({counted(label.count, "row")})' for label in unknown[:10])
        numbers = (r.number for r in table.rows if label_value(r.cells.get(columns.label or "")) == unknown[0].value)
        yield OpenQuestion(
            "labels",
            f'Row {next(numbers)} has the label "{unknown[0].value[:40]}". Which side is meant by {values}? '
            f"Say which labels are positive{', or above which number' if columns.label in scores else ''}.",
        )
    if one_sided:
        yield OpenQuestion(
            "sides",
            f"{row_columns}, and nothing says which side a row is on. Say which column is the label, or give the other "
            "side as a second file."
            + (f" The label can be a score with a threshold: {_named(scores)}." if scores else ""),
        )
    if unanswered is not None:
        yield OpenQuestion(
            "responses",
            f'The column "{unanswered.prompt or unanswered.messages}" was understood as prompts without responses. '
            "Let a model answer them, or say which column is the response.",
        )


def _named(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def reading_notes(
    table: Table,
    columns: Columns,
    labels: Sequence[Label],
    *,
    sides: tuple[str, str],
    has_prompt: bool,
    several_turns: int,
    unread: Mapping[Unread, int],
) -> Iterator[str]:
    """Sentences about what is ambiguous and what is skipped. `sides` are the names of two lists, or empty."""
    positive, negative = sides
    if table.sources and positive != FILES[0]:
        yield f'The list "{positive}" was taken as the positive side, "{negative}" as the negative.'
    if columns.prompt is None and columns.messages is None and columns.roles() and not has_prompt:
        yield "No column was understood as the prompt: the prompts are empty."
    if columns.prompt == TEXT:
        yield "Every text was taken as a prompt; if they are responses, say that the column text is the response."
    if columns.context is not None:
        yield (
            f'A prompt is "{columns.prompt}" and, on a new line, "{columns.context}" if there is any; to leave that '
            f'out, say that the prompt is "{columns.prompt}".'
        )
    if columns.choices is not None:
        yield (
            f'Every choice of "{columns.choices}" is a response: the true ones are on the positive side, the false '
            "ones on the negative."
        )
    listed = [f'"{name}"' for name in (columns.positive, columns.negative) if name in LISTED]
    if listed:
        yield f"{' and '.join(listed)} contain several responses in a cell; each of them is an example."
    responses = {columns.response, columns.positive, columns.negative} - {None}
    numeric = {n: None for row in table.rows for n, cell in row.cells.items() if n in responses and is_number(cell)}
    if numeric:
        named = " and ".join(f'"{name}"' for name in numeric)
        yield f"The numbers in {named} were read as text."
    skipped = sum(label.count for label in labels if label.side == "skipped")
    if skipped:
        values = ", ".join(f'"{label.value[:40]}"' for label in labels if label.side == "skipped")
        are, were = ("is", "was") if skipped == 1 else ("are", "were")
        yield f"{counted(skipped, 'row')} with the label {values} {are} on no side and {were} skipped."
    if several_turns:
        have = "has" if several_turns == 1 else "have"
        yield (
            f"{counted(several_turns, 'example')} {have} several turns: all before the last answer are the prompt, and "
            "only that answer is averaged over."
        )
    if unread:
        yield unread_sentence(unread)


def unread_sentence(unread: Mapping[Unread, int]) -> str:
    """How many rows with a chat were skipped, and why."""
    n = sum(unread.values())
    why = ", ".join(f"{count} with chats that {REASONS[reason]}" for reason, count in unread.items())
    return f"{counted(n, 'row')} {'was' if n == 1 else 'were'} skipped: {why}."
