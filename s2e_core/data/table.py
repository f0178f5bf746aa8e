"""A data file as a table: its encoding, the separator of its cells, and its rows.

Knows bytes and text, not the meaning of a column. Notes mention whatever is uncertain.
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
from .json_rows import find_json_rows

MAX_BYTES = 64_000_000
MAX_ROWS = 100_000
MAX_COLUMNS = 200
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
FILES = ("first file", "second file")
"""Sources of a table that was read from two files."""
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
    """One row: its cells by column, with names in lower case."""

    number: int
    """Number as a person counts: the line of a JSONL or text file, the row of a list; the header of a table is 1."""
    cells: Mapping[str, object]
    source: str = ""
    """Name of the list or file that contains the row, if there are two."""


@dataclass(frozen=True, eq=False)
class Table:
    """All rows of a file."""

    name: str
    format: str
    """Description of the format for a person, such as "CSV, separated by semicolons"."""
    rows: tuple[Row, ...]
    sources: tuple[str, ...] = ()
    """Names of the two lists or files; empty if there is only one."""
    notes: tuple[str, ...] = ()
    has_header: bool = False
    """True if the first row of the file contains the names of the columns."""

    def columns(self) -> tuple[str, ...]:
        """Every column that a row has, in the order of appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.cells))


def read_table(path: str | Path) -> Table:
    """Read a file in UTF-8, or in UTF-16 or UTF-32 if it begins with their byte order mark.

    Raises ContrastDataError if the file is missing, too large, in another encoding or malformed.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ContrastDataError(f"{path.name} does not exist. Choose an existing JSONL or CSV file.") from None
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
    """The table in `text`, which has the format of a file with that suffix. Raises the errors of `read_table`."""
    _check_suffix(f"{name}{suffix}", suffix)
    _check_size(name, len(text))
    if "\0" in text:
        raise ContrastDataError(f"{name}{suffix} contains null characters: it is not UTF-8 text. {EXPECTED}")
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
            f"{name} has a format that this program cannot read. Save it as JSONL, JSON, CSV, TSV or TXT. {EXPECTED}"
        )


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise ContrastDataError(
            f"{name} is larger than {MAX_BYTES // 1_000_000} MB, the largest size that can be read. "
            "Expected a few hundred examples; use a part of the file."
        )


def _rows(values: Iterable[tuple[int, object]], source: str = "") -> tuple[Row, ...]:
    rows: list[Row] = []
    names: set[str] = set()
    for number, value in values:
        if len(rows) == MAX_ROWS:
            raise ContrastDataError(
                f"The file has more than {MAX_ROWS:,} rows, the most that can be read. Expected a few hundred; use a "
                "part of the file."
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
        kind = {list: "a list", type(None): "empty"}.get(type(value), "a bare value")
        raise ContrastDataError(f"Row {number} is {kind}, not an object with named columns. {EXPECTED}")
    return {column_name(key): cell for key, cell in value.items()}


def _jsonl_values(text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split inside strings
        if line.strip():
            yield number, _json(line, f"Line {number}")


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text, parse_constant=lambda name: None)  # NaN stands for a missing value
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits
        raise ContrastDataError(f"{where} is not valid JSON ({error}). {EXPECTED}") from error


def _json_table(text: str, name: str) -> Table:
    try:
        value = _json(text, "The file")
    except ContrastDataError:
        if not _is_object(text.lstrip().split("\n", 1)[0]):
            raise
        return Table(name, "JSONL", _rows(_jsonl_values(text)), notes=("The .json file contains one object per line.",))
    parts = find_json_rows(value)
    rows = _rows(enumerate(parts.rows, start=1))
    for key, part in parts.lists.items():
        rows += _rows(enumerate(part, start=1), column_name(key))
    return Table(name, parts.format, rows, tuple(map(column_name, parts.lists)), parts.notes)


def _json_lines_table(text: str, name: str) -> Table:
    if text.lstrip().startswith("["):  # not a row, which would be an object
        try:
            table = _json_table(text, name)
        except ContrastDataError:
            return Table(name, "JSONL", _rows(_jsonl_values(text)))
        return replace(table, notes=("The file of JSON lines contains one list.", *table.notes))
    return Table(name, "JSONL", _rows(_jsonl_values(text)))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _delimited_table(text: str, name: str, separator: str | None) -> Table:
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # the line that Excel writes and reads
        separator, text = first.strip()[4], rest
    separator = separator or _separator(text)
    kind = "TSV" if separator == "\t" else "CSV"
    label = f"{kind}, separated by {_SEPARATORS.get(separator, separator)}"
    quoted = separator != "\t" or _closes_quotes(text)  # many tab-separated files use no quoting
    notes = () if quoted else ("The quotes in this table do not enclose cells and were read as ordinary characters.",)
    return Table(name, label, _rows(_delimited_values(text, separator, quoted=quoted)), notes=notes, has_header=True)


def _closes_quotes(text: str) -> bool:
    try:
        return all(True for _ in _lines(text, "\t", quoted=True))
    except csv.Error:
        return False


def _separator(text: str) -> str:
    """The separator that gives the most columns with known names in the first row, then the most columns."""
    first = next((line for line in io.StringIO(text, newline="") if line.strip()), "").rstrip("\r\n")

    def rank(separator: str) -> tuple[int, int]:
        names = [column_name(cell) for cell in next(csv.reader([first], delimiter=separator), [])]
        return sum(name in KNOWN for name in names), len(names)

    return max(_SEPARATORS, key=rank)  # a comma wins a tie


def _delimited_values(text: str, separator: str, *, quoted: bool) -> Iterator[tuple[int, object]]:
    lines = _lines(text, separator, quoted=quoted)
    try:
        header = [column_name(cell) for cell in next((line for line in lines if any(line)), [])]
        names = [cell for cell in header if cell]  # the index column that pandas writes has no name
        duplicate = next((name for name in names if names.count(name) > 1), None)
        if duplicate is not None:
            raise ContrastDataError(f'Two columns are named "{duplicate}". Rename one of them. {EXPECTED}')
        for number, cells in enumerate((line for line in lines if line), start=2):
            if any(cells[len(header) :]):
                raise ContrastDataError(
                    f"Row {number} has {len(cells)} cells and the header {len(header)}. Put text that contains a "
                    f"separator into double quotes. {EXPECTED}"
                )
            cells += [""] * (len(header) - len(cells))
            yield number, {key: cell for key, cell in zip(header, cells, strict=False) if key}
    except csv.Error as error:
        raise ContrastDataError(
            f"The CSV file is malformed at line {lines.line_num} ({error}). Double every quote inside a quoted cell. "
            f"{EXPECTED}"
        ) from error


def _lines(text: str, separator: str, *, quoted: bool) -> Any:
    """A csv reader; its type has no public name."""
    return csv.reader(
        io.StringIO(text, newline=""),
        strict=True,
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
