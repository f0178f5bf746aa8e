"""The reading of a data file: the role of every column, the side of every row, and the questions still open.

Knows tables, not models. A person can inspect a reading before anything runs, and correct it with the roles of columns
and the meaning of labels; `contrast.contrast_set_from` turns one without open questions into a contrast set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from s2e_core.errors import ContrastDataError
from s2e_core.values import Example

from .columns import NAMES, Columns, normalize_roles
from .labels import Label, label_value, read_labels
from .marks import examples_without_marks, marks_sentence
from .preferences import rewrite_preferences
from .questions import OpenQuestion, open_questions, reading_notes
from .row_examples import Side, read_row
from .scores import find_score_column, read_scores, score_columns, score_label
from .sources import Sources, assign_sources, columns_by_source
from .table import FILES, Row, Table, parse_table, read_table
from .turns import Unread

Layout = Literal["pairs", "choices", "two lists", "two files", "labelled", "one side"]
PREVIEW_ROWS = 5
PREVIEW_LENGTH = 300  # characters of a cell


@dataclass(frozen=True, eq=False)
class Reading:
    """A data file as the program understands it."""

    name: str
    format: str
    """Description of the format for a person, such as "CSV, separated by semicolons"."""
    layout: Layout
    """Place of the sides: two columns or the choices of a row, two lists, two files, a label, or nowhere."""
    columns: Columns
    """Column of each role, or None; with two files or lists, the columns of the positive one."""
    names: tuple[str, ...]
    """Every column, in the order of appearance."""
    sources: tuple[str, ...]
    """Names of two lists, or "first file" and "second file"; empty if there is only one."""
    unused: tuple[str, ...]
    """Columns without a role."""
    labels: tuple[Label, ...]
    """Every value of the label column, its side and its count."""
    preview: tuple[Mapping[str, str], ...]
    """First rows as they are in the file, with long cells cut."""
    positive: tuple[Example, ...]
    negative: tuple[Example, ...]
    without_side: tuple[Example, ...]
    """Examples of rows without a side."""
    n_skipped: int
    """Number of rows left out: labelled NONE, or chats that call a tool or cannot be used otherwise."""
    responses_missing: bool
    """True if a side has only prompts, which a model has to answer before anything can be averaged."""
    questions: tuple[OpenQuestion, ...]
    """Everything a person has to say or do before this is a contrast set; empty if it is one."""
    notes: tuple[str, ...]
    """Sentences about what was skipped or is ambiguous."""


@dataclass(frozen=True, eq=False)
class Meaning:
    """Corrections by a person; by default none."""

    columns: Columns = Columns()
    positive_labels: Collection[str] | None = None
    negative_labels: Collection[str] | None = None
    above: float | None = None
    """Threshold of a label that is a score: rows above it are positive, the others negative."""
    take_off_marks: bool = False
    """True if prompts that were rendered in a chat template are to be taken apart again."""


def read_examples(
    path: str | Path,
    negative: str | Path | None = None,
    *,
    columns: Columns | None = None,
    positive_labels: Collection[str] | None = None,
    negative_labels: Collection[str] | None = None,
    above: float | None = None,
    take_off_marks: bool = False,
) -> Reading:
    """Read a `.jsonl`, `.json`, `.csv`, `.tsv` or `.txt` file, or two of them, the positive side first.

    `columns` gives roles by hand, `positive_labels` and `negative_labels` the meaning of the label column (with one of
    them, all other values are the other side). If the label is a score, rows with one `above` that number are positive
    and the others negative. With `take_off_marks`, prompts rendered in a chat template are taken apart.

    Raises ContrastDataError if a file or a row cannot be read; anything that is only unclear becomes one of the
    reading's `questions`.
    """
    table = read_table(path)
    if negative is not None:
        table = _join(table, read_table(negative))
    return _read_as(table, Meaning(columns or Columns(), positive_labels, negative_labels, above, take_off_marks))


def parse_examples(
    text: str,
    *,
    name: str,
    suffix: str,
    columns: Columns | None = None,
    positive_labels: Collection[str] | None = None,
    negative_labels: Collection[str] | None = None,
    above: float | None = None,
    take_off_marks: bool = False,
) -> Reading:
    """Like `read_examples`, from `text` in the format of a file with that suffix (".jsonl", ".csv", ...)."""
    table = parse_table(text, name=name, suffix=suffix)
    return _read_as(table, Meaning(columns or Columns(), positive_labels, negative_labels, above, take_off_marks))


def _join(one: Table, other: Table) -> Table:
    """Combine two files into one table of two sources."""
    rows = tuple(
        Row(row.number, row.cells, source)
        for source, table in zip(FILES, (one, other), strict=True)
        for row in table.rows
    )
    kind = one.format if one.format == other.format else f"{one.format}; {other.format}"
    return Table(f"{one.name} and {other.name}", kind, rows, FILES, (*one.notes, *other.notes))


def _read_as(table: Table, meaning: Meaning) -> Reading:
    file = table
    rewritten = rewrite_preferences(file, normalize_roles(meaning.columns))
    table = rewritten.table
    names = table.columns()
    sources, roles = assign_sources(table, rewritten.roles)
    if meaning.above is not None and roles.label is None and not set(NAMES["label"]) & set(names):
        roles = replace(roles, label=find_score_column(table))
    by_source, notes = columns_by_source(table, sources, roles)
    columns = by_source[sources.positive]
    labels = _read_labels(table, columns, meaning)
    examples, unread, n_left_out = _examples_with_sides(table, by_source, sources, labels, meaning.above)
    examples, marks_note = _without_marks(examples, take_off=meaning.take_off_marks)
    sides = {side: tuple(e for s, e in examples if s == side) for side in ("positive", "negative", "none")}
    unanswered = _find_unanswered(by_source, sources, sides)
    n_skipped = sum(label.count for label in labels if label.side == "skipped")
    layout = _find_layout(columns, sources)
    used = {column for own in by_source.values() for column in own.roles().values()}
    return Reading(
        name=table.name,
        format=table.format,
        layout=layout,
        columns=columns,
        names=names,
        sources=table.sources,
        unused=tuple(name for name in names if name not in used),
        labels=labels,
        preview=tuple(_shorten(row.cells) for row in file.rows[:PREVIEW_ROWS]),
        positive=sides["positive"],
        negative=sides["negative"],
        without_side=sides["none"],
        n_skipped=n_skipped + n_left_out + rewritten.n_undecided,
        responses_missing=unanswered is not None,
        questions=tuple(
            open_questions(
                table,
                columns,
                labels,
                one_sided=layout == "one side",
                unanswered=unanswered,
                unread={} if examples else unread,
                scores=score_columns(table),
            )
        ),
        notes=(
            *table.notes,
            *rewritten.notes,
            *notes,
            *reading_notes(
                table,
                columns,
                labels,
                sides=(sources.positive, sources.negative),
                has_prompt=any(example.prompt for _, example in examples),
                several_turns=sum(bool(example.earlier) for _, example in examples),
                unread=unread,
            ),
            *marks_note,
        ),
    )


def _read_labels(table: Table, columns: Columns, meaning: Meaning) -> tuple[Label, ...]:
    if columns.label is None:
        given = (meaning.positive_labels, meaning.negative_labels, meaning.above)
        if any(part is not None for part in given):
            raise ContrastDataError("The meaning of labels was given, but no label column. Name the label column.")
        return ()
    cells = [row.cells.get(columns.label) for row in table.rows]
    if meaning.above is not None:
        return read_scores(cells, meaning.above)
    return read_labels(map(label_value, cells), meaning.positive_labels, meaning.negative_labels)


def _find_layout(columns: Columns, sources: Sources) -> Layout:
    if columns.positive is not None:
        return "pairs"
    if columns.choices is not None:
        return "choices"
    if sources.positive:
        return "two files" if sources.positive == FILES[0] else "two lists"
    return "labelled" if columns.label is not None else "one side"


def _examples_with_sides(
    table: Table,
    by_source: Mapping[str, Columns],
    sources: Sources,
    labels: Sequence[Label],
    above: float | None,
) -> tuple[list[tuple[Side, Example]], Counter[Unread], int]:
    """(side, example) in the order of the rows, why chats are left out, and the number of rows that are."""
    side_of = {label.value: label.side for label in labels}
    examples: list[tuple[Side, Example]] = []
    unread: Counter[Unread] = Counter()
    n_left_out = 0
    for row in table.rows:
        columns = by_source[row.source]
        side: Side | Literal["skipped", "unknown"] = "none"
        if sources.positive:
            side = "positive" if row.source == sources.positive else "negative"
        elif columns.label is not None:
            cell = row.cells.get(columns.label)
            side = side_of[label_value(cell) if above is None else score_label(cell, above)]
        if side == "skipped":
            continue
        of_row = list(read_row(row, columns, "none" if side == "unknown" else side))
        examples += [(its_side, example) for its_side, example in of_row if isinstance(example, Example)]
        unread.update({example: 1 for _, example in of_row if not isinstance(example, Example)})
        n_left_out += not any(isinstance(example, Example) for _, example in of_row)
    return examples, unread, n_left_out


def _without_marks(
    examples: list[tuple[Side, Example]], *, take_off: bool
) -> tuple[list[tuple[Side, Example]], tuple[str, ...]]:
    """The examples, their marks of a chat template taken off if that is wanted, and a note on the marks."""
    bare = [example for _, example in examples]
    if not take_off:
        return examples, tuple(filter(None, [marks_sentence(bare)]))
    cleaned, note = examples_without_marks(bare)
    return [(side, one) for (side, _), one in zip(examples, cleaned, strict=True)], tuple(filter(None, [note]))


def _find_unanswered(
    by_source: Mapping[str, Columns], sources: Sources, sides: Mapping[str, Sequence[Example]]
) -> Columns | None:
    """The columns of the first list or file that contains only prompts; None if all have responses."""
    if sources.positive:
        parts = [(by_source[sources.positive], sides["positive"]), (by_source[sources.negative], sides["negative"])]
    else:
        parts = [(by_source[""], [example for side in sides.values() for example in side])]
    for columns, examples in parts:
        has_responses = any(example.response.strip() for example in examples)
        if examples and not has_responses and {"response", "positive", "choices"}.isdisjoint(columns.roles()):
            return columns
    return None


def _shorten(cells: Mapping[str, object]) -> Mapping[str, str]:
    texts = {name: cell if isinstance(cell, str) else str(cell) for name, cell in cells.items()}
    return {n: t if len(t) <= PREVIEW_LENGTH else t[: PREVIEW_LENGTH - 1] + "…" for n, t in texts.items()}
