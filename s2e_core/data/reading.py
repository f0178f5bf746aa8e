"""The reading of a data file: the role of every column, the side of every row, and the questions still open.

Knows tables, not models. A person can inspect a reading before anything runs, and correct it with the roles of columns
and the meaning of labels; `contrast.contrast_set_from` turns one without open questions into a contrast set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from s2e_core.errors import ContrastDataError
from s2e_core.values import Example

from .columns import Columns, find_columns, normalize_roles
from .labels import Label, label_value, read_labels
from .questions import OpenQuestion, open_questions, reading_notes
from .row_examples import Side, read_row
from .table import FILES, Row, Table, parse_table, read_table

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
    """Number of rows left out: labelled NONE, or chats of several turns."""
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


def read_examples(
    path: str | Path,
    negative: str | Path | None = None,
    *,
    columns: Columns | None = None,
    positive_labels: Collection[str] | None = None,
    negative_labels: Collection[str] | None = None,
) -> Reading:
    """Read a `.jsonl`, `.json`, `.csv`, `.tsv` or `.txt` file, or two of them, the positive side first.

    `columns` gives roles by hand, `positive_labels` and `negative_labels` the meaning of the label column (with one of
    them, all other values are the other side). Raises ContrastDataError if a file or a row cannot be read; anything
    that is only unclear becomes one of the reading's `questions`.
    """
    table = read_table(path)
    if negative is not None:
        table = _join(table, read_table(negative))
    return _read_as(table, Meaning(columns or Columns(), positive_labels, negative_labels))


def parse_examples(
    text: str,
    *,
    name: str,
    suffix: str,
    columns: Columns | None = None,
    positive_labels: Collection[str] | None = None,
    negative_labels: Collection[str] | None = None,
) -> Reading:
    """Like `read_examples`, from `text` in the format of a file with that suffix (".jsonl", ".csv", ...)."""
    table = parse_table(text, name=name, suffix=suffix)
    return _read_as(table, Meaning(columns or Columns(), positive_labels, negative_labels))


def _join(one: Table, other: Table) -> Table:
    """Combine two files into one table of two sources."""
    rows = tuple(
        Row(row.number, row.cells, source)
        for source, table in zip(FILES, (one, other), strict=True)
        for row in table.rows
    )
    kind = one.format if one.format == other.format else f"{one.format}; {other.format}"
    return Table(f"{one.name} and {other.name}", kind, rows, FILES, (*one.notes, *other.notes))


@dataclass(frozen=True, eq=False)
class _Sources:
    """Names of the positive and the negative list or file; both empty if there is only one."""

    positive: str = ""
    negative: str = ""


def _read_as(table: Table, meaning: Meaning) -> Reading:
    names = table.columns()
    sources, roles = _assign_sources(table, normalize_roles(meaning.columns))
    by_source, notes = _columns_by_source(table, sources, roles)
    columns = by_source[sources.positive]
    labels = _read_labels(table, columns, meaning)
    examples, n_chats, n_left_out = _examples_with_sides(table, by_source, sources, labels)
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
        preview=tuple(_shorten(row.cells) for row in table.rows[:PREVIEW_ROWS]),
        positive=sides["positive"],
        negative=sides["negative"],
        without_side=sides["none"],
        n_skipped=n_skipped + n_left_out,
        responses_missing=unanswered is not None,
        questions=tuple(open_questions(table, columns, labels, one_sided=layout == "one side", unanswered=unanswered)),
        notes=(
            *table.notes,
            *notes,
            *reading_notes(
                table,
                columns,
                labels,
                sides=(sources.positive, sources.negative),
                has_prompt=any(example.prompt for _, example in examples),
                n_chats=n_chats,
            ),
        ),
    )


def _assign_sources(table: Table, roles: Columns) -> tuple[_Sources, Columns]:
    """Decide which list is which side; also the person's roles without those that name lists."""
    if not table.sources:
        return _Sources(), roles
    one, other = table.sources
    if {roles.positive, roles.negative} & {one, other}:
        positive = roles.positive or (other if roles.negative == one else one)
        negative = roles.negative or (other if roles.positive == one else one)
        if {positive, negative} != {one, other}:
            raise ContrastDataError(f'The lists are named "{one}" and "{other}". Expected these two as the sides.')
        return _Sources(positive, negative), replace(roles, positive=None, negative=None)
    usual = {"negative", "rejected", "neg", "bad"}
    return (_Sources(other, one) if one in usual and other not in usual else _Sources(one, other)), roles


def _columns_by_source(table: Table, sources: _Sources, roles: Columns) -> tuple[dict[str, Columns], tuple[str, ...]]:
    """The columns of every list or file, which may have names of their own, and notes."""
    if not sources.positive or not table.rows:
        columns, new_notes = find_columns(table.columns(), roles) if table.rows else (Columns(), ())
        return {"": columns, sources.positive: columns, sources.negative: columns}, new_notes
    find_columns(table.columns(), roles)  # raises unless every column of a role exists in one of the two
    if roles.label is not None:
        raise ContrastDataError(
            f"The {sources.positive} and the {sources.negative} are already the two sides. Leave out the label column."
        )
    by_source: dict[str, Columns] = {}
    notes: list[str] = []
    for source in (sources.positive, sources.negative):
        names = tuple(dict.fromkeys(name for row in table.rows if row.source == source for name in row.cells))
        own = Columns(**{role: column for role, column in roles.roles().items() if column in names})
        columns, new_notes = find_columns(names, own)
        by_source[source] = replace(columns, label=None)  # the lists are the sides, even if a column looks like a label
        notes += [note for note in new_notes if note not in notes]
    one, other = (by_source[source].roles() for source in (sources.positive, sources.negative))
    notes += [f'In the {sources.negative} the {r} is "{c}".' for r, c in other.items() if one and one.get(r) != c]
    return by_source, tuple(notes)


def _read_labels(table: Table, columns: Columns, meaning: Meaning) -> tuple[Label, ...]:
    if columns.label is None:
        if meaning.positive_labels is not None or meaning.negative_labels is not None:
            raise ContrastDataError("The meaning of labels was given, but no label column. Name the label column.")
        return ()
    values = (label_value(row.cells.get(columns.label)) for row in table.rows)
    return read_labels(values, meaning.positive_labels, meaning.negative_labels)


def _find_layout(columns: Columns, sources: _Sources) -> Layout:
    if columns.positive is not None:
        return "pairs"
    if columns.choices is not None:
        return "choices"
    if sources.positive:
        return "two files" if sources.positive == FILES[0] else "two lists"
    return "labelled" if columns.label is not None else "one side"


def _examples_with_sides(
    table: Table, by_source: Mapping[str, Columns], sources: _Sources, labels: Sequence[Label]
) -> tuple[list[tuple[Side, Example]], int, int]:
    """(side, example) in the order of the rows, and the numbers of chats and of rows that are left out."""
    side_of = {label.value: label.side for label in labels}
    examples: list[tuple[Side, Example]] = []
    n_chats, n_left_out = 0, 0
    for row in table.rows:
        columns = by_source[row.source]
        side: Side | Literal["skipped", "unknown"] = "none"
        if sources.positive:
            side = "positive" if row.source == sources.positive else "negative"
        elif columns.label is not None:
            side = side_of[label_value(row.cells.get(columns.label))]
        if side == "skipped":
            continue
        of_row = list(read_row(row, columns, "none" if side == "unknown" else side))
        examples += [(its_side, example) for its_side, example in of_row if example is not None]
        n_chats += sum(example is None for _, example in of_row)
        n_left_out += all(example is None for _, example in of_row)
    return examples, n_chats, n_left_out


def _find_unanswered(
    by_source: Mapping[str, Columns], sources: _Sources, sides: Mapping[str, Sequence[Example]]
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
