"""How a data file was understood: the role of every column, the side of every row, and what is still open.

Knows tables, not models. A reading can be looked at before anything runs and corrected by giving the roles of columns
and the meaning of labels; `contrast.contrast_set_from` makes a contrast set of one that leaves nothing open.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from s2e_core.errors import ContrastDataError
from s2e_core.values import Example

from .columns import Columns, find_columns, normalized
from .labels import Label, label_value, understood
from .questions import open_questions, reading_notes
from .row_examples import Side, row_examples
from .table import Row, Table, parse_table, read_table

Layout = Literal["pairs", "choices", "two lists", "two files", "labelled", "one side"]
PREVIEW_ROWS = 5
PREVIEW_LENGTH = 300  # characters of a cell


@dataclass(frozen=True, eq=False)
class Reading:
    """A data file as it was understood."""

    name: str
    format: str
    """For a person: "CSV, separated by semicolons"."""
    layout: Layout
    """Place of the sides: in two columns or the choices of a row, two lists, two files, a label, or nowhere."""
    columns: Columns
    """The column of each role; None where there is none. Of two files or lists, the positive one's."""
    names: tuple[str, ...]
    """Every column, in the order of appearance."""
    sources: tuple[str, ...]
    """The names of two lists, or "first file" and "second file"; empty where there is one."""
    unused: tuple[str, ...]
    """Columns without a role."""
    labels: tuple[Label, ...]
    """Every value of the label column, its side and its count."""
    preview: tuple[Mapping[str, str], ...]
    """The first rows as they stand in the file, long cells cut."""
    positive: tuple[Example, ...]
    negative: tuple[Example, ...]
    unsided: tuple[Example, ...]
    """Examples of rows that nothing puts on a side."""
    n_skipped: int
    """Rows that were left out: labelled NONE, or chats of several turns."""
    responses_missing: bool
    """A side has prompts alone: a model has to answer those of all before anything can be averaged."""
    questions: tuple[str, ...]
    """What a person has to say or do before this is a contrast set, as sentences; empty where it is one."""
    notes: tuple[str, ...]
    """What was skipped or could be meant otherwise, as sentences."""


@dataclass(frozen=True, eq=False)
class Meaning:
    """What a person says about a file; by default nothing."""

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
    them, all other values are the other side). Raises ContrastDataError for a file or a row that cannot be read; what
    is only unclear stands in `questions`.
    """
    table = read_table(path)
    if negative is not None:
        table = _joined(table, read_table(negative))
    return _reading(table, Meaning(columns or Columns(), positive_labels, negative_labels))


def parse_examples(
    text: str,
    *,
    name: str,
    suffix: str,
    columns: Columns | None = None,
    positive_labels: Collection[str] | None = None,
    negative_labels: Collection[str] | None = None,
) -> Reading:
    """As `read_examples`, from `text` with the format of a file with that suffix (".jsonl", ".csv", ...)."""
    table = parse_table(text, name=name, suffix=suffix)
    return _reading(table, Meaning(columns or Columns(), positive_labels, negative_labels))


def _joined(one: Table, other: Table) -> Table:
    """Two files as one table of two sources."""
    names = ("first file", "second file")
    rows = tuple(
        Row(row.number, row.cells, source)
        for source, table in zip(names, (one, other), strict=True)
        for row in table.rows
    )
    kind = one.format if one.format == other.format else f"{one.format}; {other.format}"
    return Table(f"{one.name} and {other.name}", kind, rows, names, (*one.notes, *other.notes))


@dataclass(frozen=True, eq=False)
class _Sources:
    """The names of the positive and the negative list or file; both empty where there is one."""

    positive: str = ""
    negative: str = ""


def _reading(table: Table, meaning: Meaning) -> Reading:
    names = table.columns()
    given = normalized(meaning.columns)
    sources, given = _sources(table, given)
    by_source, notes = _columns(table, sources, given)
    columns = by_source[sources.positive]
    labels = _labels(table, columns, meaning)
    examples, n_chats, n_left = _sided_examples(table, by_source, sources, labels)
    sides = {side: tuple(e for s, e in examples if s == side) for side in ("positive", "negative", "none")}
    unanswered = _unanswered(by_source, sources, sides)
    n_skipped = sum(label.count for label in labels if label.side == "skipped")
    layout = _layout(columns, sources)
    used = {column for found in by_source.values() for column in found.roles().values()}
    return Reading(
        name=table.name,
        format=table.format,
        layout=layout,
        columns=columns,
        names=names,
        sources=table.sources,
        unused=tuple(name for name in names if name not in used),
        labels=labels,
        preview=tuple(_cut(row.cells) for row in table.rows[:PREVIEW_ROWS]),
        positive=sides["positive"],
        negative=sides["negative"],
        unsided=sides["none"],
        n_skipped=n_skipped + n_left,
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


def _sources(table: Table, given: Columns) -> tuple[_Sources, Columns]:
    """Which list is which side, and the given roles without those that name lists."""
    if not table.sources:
        return _Sources(), given
    one, other = table.sources
    if {given.positive, given.negative} & {one, other}:
        positive = given.positive or (other if given.negative == one else one)
        negative = given.negative or (other if given.positive == one else one)
        if {positive, negative} != {one, other}:
            raise ContrastDataError(f'The lists are named "{one}" and "{other}". Expected these two as the sides.')
        return _Sources(positive, negative), replace(given, positive=None, negative=None)
    usual = {"negative", "rejected", "neg", "bad"}
    return (_Sources(other, one) if one in usual and other not in usual else _Sources(one, other)), given


def _columns(table: Table, sources: _Sources, given: Columns) -> tuple[dict[str, Columns], tuple[str, ...]]:
    """The columns of every list or file, which may have names of their own, and notes."""
    if not sources.positive or not table.rows:
        columns, said = find_columns(table.columns(), given) if table.rows else (Columns(), ())
        return {"": columns, sources.positive: columns, sources.negative: columns}, said
    find_columns(table.columns(), given)  # what was given has to be a column of one of the two
    if given.label is not None:
        raise ContrastDataError(
            f"The {sources.positive} and the {sources.negative} are two sides already. Leave the label's column out."
        )
    found: dict[str, Columns] = {}
    notes: list[str] = []
    for source in (sources.positive, sources.negative):
        names = tuple(dict.fromkeys(name for row in table.rows if row.source == source for name in row.cells))
        own = Columns(**{role: column for role, column in given.roles().items() if column in names})
        columns, said = find_columns(names, own)
        found[source] = replace(columns, label=None)  # the lists are the sides, whatever else their rows hold
        notes += [note for note in said if note not in notes]
    one, other = (found[source].roles() for source in (sources.positive, sources.negative))
    notes += [f'In the {sources.negative} the {r} is "{c}".' for r, c in other.items() if one and one.get(r) != c]
    return found, tuple(notes)


def _labels(table: Table, columns: Columns, meaning: Meaning) -> tuple[Label, ...]:
    if columns.label is None:
        if meaning.positive_labels is not None or meaning.negative_labels is not None:
            raise ContrastDataError("The meaning of labels was given, but no label column. Give the label's column.")
        return ()
    values = (label_value(row.cells.get(columns.label)) for row in table.rows)
    return understood(values, meaning.positive_labels, meaning.negative_labels)


def _layout(columns: Columns, sources: _Sources) -> Layout:
    if columns.positive is not None:
        return "pairs"
    if columns.choices is not None:
        return "choices"
    if sources.positive:
        return "two files" if sources.positive == "first file" else "two lists"
    return "labelled" if columns.label is not None else "one side"


def _sided_examples(
    table: Table, by_source: Mapping[str, Columns], sources: _Sources, labels: Sequence[Label]
) -> tuple[list[tuple[Side, Example]], int, int]:
    """(side, example) in the order of the rows, and the numbers of chats and of whole rows that were left out."""
    side_of = {label.value: label.side for label in labels}
    examples: list[tuple[Side, Example]] = []
    n_chats, n_left = 0, 0
    for row in table.rows:
        columns = by_source[row.source]
        side: Side | Literal["skipped", "unknown"] = "none"
        if sources.positive:
            side = "positive" if row.source == sources.positive else "negative"
        elif columns.label is not None:
            side = side_of[label_value(row.cells.get(columns.label))]
        if side == "skipped":
            continue
        made = list(row_examples(row, columns, "none" if side == "unknown" else side))
        examples += [(its_side, example) for its_side, example in made if example is not None]
        n_chats += sum(example is None for _, example in made)
        n_left += all(example is None for _, example in made)
    return examples, n_chats, n_left


def _unanswered(
    by_source: Mapping[str, Columns], sources: _Sources, sides: Mapping[str, Sequence[Example]]
) -> Columns | None:
    """The columns of the first list or file that holds prompts alone; None where all have responses."""
    if sources.positive:
        parts = [(by_source[sources.positive], sides["positive"]), (by_source[sources.negative], sides["negative"])]
    else:
        parts = [(by_source[""], [example for side in sides.values() for example in side])]
    for columns, examples in parts:
        answered = any(example.response.strip() for example in examples)
        if examples and not answered and {"response", "positive", "choices"}.isdisjoint(columns.roles()):
            return columns
    return None


def _cut(cells: Mapping[str, object]) -> Mapping[str, str]:
    texts = {name: cell if isinstance(cell, str) else str(cell) for name, cell in cells.items()}
    return {n: t if len(t) <= PREVIEW_LENGTH else t[: PREVIEW_LENGTH - 1] + "…" for n, t in texts.items()}
