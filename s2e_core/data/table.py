"""A data file as a table: its encoding, what separates its cells, and where its rows are.

Knows bytes and text, not what a column means. Whatever is not certain is said in a note.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s2e_core.errors import ContrastDataError

from .columns import EXPECTED, KNOWN, TEXT, column_name
from .json_rows import json_rows

MAX_BYTES = 64_000_000
MAX_ROWS = 100_000
MAX_COLUMNS = 200
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16: first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, eq=False)
class Row:
    """One row, by column; names in lower case."""

    number: int
    """As a person counts: the line of a JSONL or text file, the row of a list, the header of a table being 1."""
    cells: Mapping[str, object]
    source: str = ""
    """Which of two lists or two files it stands in."""


@dataclass(frozen=True, eq=False)
class Table:
    """All rows of a file."""

    name: str
    format: str
    """For a person: "CSV, separated by semicolons"."""
    rows: tuple[Row, ...]
    sources: tuple[str, ...] = ()
    """The names of its two lists, where it has two."""
    notes: tuple[str, ...] = ()
    has_header: bool = False
    """The names of its columns stand in its first row."""

    def columns(self) -> tuple[str, ...]:
        """Every column that a row has, in the order of appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.cells))


def read_table(path: str | Path) -> Table:
    """Read a file in UTF-8 or, where a byte order mark says so, UTF-16 or UTF-32.

    Raises ContrastDataError for a file that is missing, too large, in another encoding or not of its format.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ContrastDataError(f"There is no file {path.name}. Choose an existing JSONL or CSV file.") from None
    except OSError as error:
        raise ContrastDataError(f"{path.name} could not be read ({error.strerror}). {EXPECTED}") from error
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    _check_suffix(path.name, path.suffix.lower())
    _check_size(path.name, len(data))
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ContrastDataError(
            f"{path.name} could not be read as {encoding.removesuffix('-sig').upper()} text ({error.reason}). "
            f"Save it as UTF-8. {EXPECTED}"
        ) from error
    return parse_table(text, name=path.stem, suffix=path.suffix.lower())


def parse_table(text: str, *, name: str, suffix: str) -> Table:
    """The table in `text`, which has the format of a file with that suffix; errors as `read_table`'s."""
    _check_suffix(f"{name}{suffix}", suffix)
    _check_size(name, len(text))
    if "\0" in text:
        raise ContrastDataError(f"{name}{suffix} holds null characters: it is no UTF-8 text. {EXPECTED}")
    text = text.removeprefix("\ufeff")
    if suffix == ".json":
        return _json_table(text, name)
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines_table(text, name)
    if suffix == ".txt":
        lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
        return Table(name, "text, one prompt per line", _rows((number, line) for number, line in lines if line))
    return _delimited_table(text, name, "\t" if suffix == ".tsv" else None)


def _check_suffix(name: str, suffix: str) -> None:
    if suffix not in SUFFIXES:
        raise ContrastDataError(
            f"{name} is of a type this program does not read. Save it as JSONL, JSON, CSV, TSV or TXT. {EXPECTED}"
        )


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise ContrastDataError(
            f"{name} has more than {MAX_BYTES // 1_000_000} MB, the most that is read. "
            "Expected some hundred examples; take a part of it."
        )


def _rows(values: Iterable[tuple[int, object]], source: str = "") -> tuple[Row, ...]:
    rows: list[Row] = []
    names: set[str] = set()
    for number, value in values:
        if len(rows) == MAX_ROWS:
            raise ContrastDataError(
                f"The file has more than {MAX_ROWS:,} rows, the most that is read. Expected some hundred; take a part."
            )
        cells = _cells(value, number)
        names.update(cells)
        if len(names) > MAX_COLUMNS:
            raise ContrastDataError(
                f"Up to row {number} the file has more than {MAX_COLUMNS} different columns, too many. {EXPECTED}"
            )
        rows.append(Row(number, cells, source))
    return tuple(rows)


def _cells(value: object, number: int) -> Mapping[str, object]:
    if isinstance(value, str):
        return {TEXT: value}
    if not isinstance(value, dict):
        what = {list: "a list", type(None): "empty"}.get(type(value), "a bare value")
        raise ContrastDataError(f"Row {number} is {what}, not an object with named columns. {EXPECTED}")
    return {column_name(key): cell for key, cell in value.items()}


def _jsonl_values(text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split inside strings
        if line.strip():
            yield number, _json(line, f"Line {number}")


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text, parse_constant=lambda name: None)  # NaN, which stands for what is missing
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits
        raise ContrastDataError(f"{where} is not valid JSON ({error}). {EXPECTED}") from error


def _json_table(text: str, name: str) -> Table:
    try:
        value = _json(text, "The file")
    except ContrastDataError:
        if not _is_object(text.lstrip().split("\n", 1)[0]):
            raise
        return Table(name, "JSONL", _rows(_jsonl_values(text)), notes=("The .json file holds one object per line.",))
    found = json_rows(value)
    rows = _rows(enumerate(found.rows, start=1))
    for key, part in found.lists.items():
        rows += _rows(enumerate(part, start=1), column_name(key))
    return Table(name, found.format, rows, tuple(map(column_name, found.lists)), found.notes)


def _json_lines_table(text: str, name: str) -> Table:
    if text.lstrip().startswith("["):  # no row: each of those is an object
        try:
            table = _json_table(text, name)
        except ContrastDataError:
            return Table(name, "JSONL", _rows(_jsonl_values(text)))
        return replace(table, notes=("The file of JSON lines holds one list.", *table.notes))
    return Table(name, "JSONL", _rows(_jsonl_values(text)))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _delimited_table(text: str, name: str, separator: str | None) -> Table:
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # what Excel writes and reads
        separator, text = first.strip()[4], rest
    separator = separator or _separator(text)
    kind = "TSV" if separator == "\t" else "CSV"
    label = f"{kind}, separated by {_SEPARATORS.get(separator, separator)}"
    quoted = separator != "\t" or _closes_quotes(text)  # many a table of tabs knows no quoting
    notes = () if quoted else ("The quotes in this table do not close its cells and were read as ordinary characters.",)
    return Table(name, label, _rows(_delimited_values(text, separator, quoted=quoted)), notes=notes, has_header=True)


def _closes_quotes(text: str) -> bool:
    try:
        return all(True for _ in _lines(text, "\t", quoted=True))
    except csv.Error:
        return False


def _separator(text: str) -> str:
    """The one that gives most columns of known names in the first row; then the one that gives most columns."""
    first = next((line for line in io.StringIO(text, newline="") if line.strip()), "").rstrip("\r\n")

    def rank(separator: str) -> tuple[int, int]:
        names = [column_name(cell) for cell in next(csv.reader([first], delimiter=separator), [])]
        return sum(name in KNOWN for name in names), len(names)

    return max(_SEPARATORS, key=rank)  # the first of equals: a comma


def _delimited_values(text: str, separator: str, *, quoted: bool) -> Iterator[tuple[int, object]]:
    lines = _lines(text, separator, quoted=quoted)
    try:
        header = [column_name(cell) for cell in next((line for line in lines if any(line)), [])]
        named = [cell for cell in header if cell]  # an index column, as pandas writes it, has no name
        twice = next((cell for cell in named if named.count(cell) > 1), None)
        if twice is not None:
            raise ContrastDataError(f'Two columns are named "{twice}". Rename one of them. {EXPECTED}')
        for number, cells in enumerate((line for line in lines if line), start=2):
            if any(cells[len(header) :]):
                raise ContrastDataError(
                    f"Row {number} has {len(cells)} cells and the header {len(header)}. Put text that holds a "
                    f"separator into double quotes. {EXPECTED}"
                )
            cells += [""] * (len(header) - len(cells))
            yield number, {key: cell for key, cell in zip(header, cells, strict=False) if key}
    except csv.Error as error:
        raise ContrastDataError(
            f"The CSV file is malformed at line {lines.line_num} ({error}). Write a quote inside a quoted cell twice. "
            f"{EXPECTED}"
        ) from error


def _lines(text: str, separator: str, *, quoted: bool) -> Any:
    """A csv reader, which has a type without a name."""
    return csv.reader(
        io.StringIO(text, newline=""),
        strict=True,
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
