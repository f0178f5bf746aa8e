"""A data file as a table: its encoding, the separator of its cells, and its rows.

Knows bytes and text, not the meaning of a column. Notes mention whatever is uncertain.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from s2e_core.errors import ContrastDataError

from .columnar import COLUMNAR, read_columnar
from .columns import EXPECTED, TEXT, column_name
from .delimited import SEPARATORS, closes_quotes, delimited_values, find_separator
from .json_rows import find_json_rows
from .packed import GZIP, MAX_UNPACKED, inner_name, limited_lines, open_unpacked
from .thinning import thin

MAX_BYTES = 64_000_000
"""Largest file that is read whole; of a larger one with a row per line, a sample is taken."""
MAX_COLUMNS = 200
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", *COLUMNAR)
"""Endings of the names of files that can be read; another .gz at the end is a compressed one."""
_BY_LINES = frozenset({".jsonl", ".ndjson", ".csv", ".tsv", ".txt"})
FILES = ("first file", "second file")
"""Sources of a table that was read from two files."""
LINES = "text, one prompt per line"
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
    """Read a text in UTF-8, or in UTF-16 or UTF-32 if it begins with their byte order mark, or a Parquet or Arrow file.

    A text may be compressed. Of a file that is too large, a sample of the rows is taken and noted. Raises
    ContrastDataError if the file is missing, too large for that, in another encoding or malformed.
    """
    path = Path(path)
    inner = inner_name(path)
    suffix = inner.suffix.lower()
    try:
        with open_unpacked(path) as file:
            data = file.read(MAX_BYTES + 1) if suffix not in COLUMNAR else b""
    except FileNotFoundError:
        raise ContrastDataError(f"{path.name} does not exist. Choose an existing JSONL or CSV file.") from None
    except OSError as error:
        raise ContrastDataError(f"{path.name} could not be read ({error.strerror}). {EXPECTED}") from error
    _check_suffix(path.name, suffix)
    if suffix in COLUMNAR:
        return _columnar_table(path)
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        if len(data) > MAX_BYTES and suffix in _BY_LINES:
            return _sampled_table(path, inner.stem, suffix, encoding)
        _check_size(path.name, len(data))
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ContrastDataError(
            f"{path.name} could not be read as {encoding.removesuffix('-sig').upper()} text ({error.reason}). "
            f"Save it as UTF-8. {EXPECTED}"
        ) from error
    return parse_table(text, name=inner.stem, suffix=suffix)


def _columnar_table(path: Path) -> Table:
    if path.suffix.lower() == GZIP:
        raise ContrastDataError(
            f"{path.name} is compressed twice. Unpack it, since Parquet and Arrow are compact already."
        )
    thinned = read_columnar(path)
    return Table(path.stem, path.suffix[1:].capitalize(), _rows(thinned.rows), notes=thinned.notes())


def _sampled_table(path: Path, name: str, suffix: str, encoding: str) -> Table:
    """A table of every n-th row of a file with a row per line, which may be larger than the memory."""
    most = MAX_UNPACKED if path.suffix.lower() == GZIP else 1 << 50
    with open_unpacked(path) as file:
        lines = limited_lines(io.TextIOWrapper(file, encoding=encoding, newline=""), path.name, most, MAX_BYTES)
        if suffix in (".csv", ".tsv"):
            first = next(lines, "")
            separator = "\t" if suffix == ".tsv" else find_separator(first)
            values = delimited_values(chain([first], lines), separator, quoted=separator != "\t")
            thinned = thin(values, lambda row: sum(len(cell) for cell in row[1].values()))
            kind = f"{suffix[1:].upper()}, separated by {SEPARATORS.get(separator, separator)}"
            return Table(name, kind, _rows(thinned.rows), notes=thinned.notes(), has_header=True)
        numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
        kept = thin(numbered, lambda row: len(row[1]))
    if suffix == ".txt":
        return Table(name, LINES, _rows((number, line.strip()) for number, line in kept.rows), notes=kept.notes())
    rows = ((number, _json(line, f"Line {number}")) for number, line in kept.rows)
    return Table(name, "JSONL", _rows(rows), notes=kept.notes())


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
        return _table(name, LINES, ((number, line) for number, line in lines if line))
    return _delimited_table(text, name, "\t" if suffix == ".tsv" else None)


def _check_suffix(name: str, suffix: str) -> None:
    if suffix not in SUFFIXES:
        raise ContrastDataError(
            f"{name} has a format that this program cannot read. Save it as JSONL, JSON, CSV, TSV, TXT or Parquet. "
            f"{EXPECTED}"
        )


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise ContrastDataError(
            f"{name} is larger than {MAX_BYTES // 1_000_000} MB, the largest size that can be read. "
            "Expected a few hundred examples; use a part of the file."
        )


def _table(name: str, kind: str, values: Iterable[tuple[int, Any]], notes: tuple[str, ...] = (), **more: Any) -> Table:
    """A table of the rows, or of a sample of them, which a note says."""
    thinned = thin(values)
    return Table(name, kind, _rows(thinned.rows), notes=(*notes, *thinned.notes()), **more)


def _rows(values: Iterable[tuple[int, object]], source: str = "") -> tuple[Row, ...]:
    rows: list[Row] = []
    names: set[str] = set()
    for number, value in values:
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
        return _table(name, "JSONL", _jsonl_values(text), ("The .json file contains one object per line.",))
    parts = find_json_rows(value)
    if not parts.lists:
        return _table(name, parts.format, enumerate(parts.rows, start=1), parts.notes)
    thinned = {column_name(key): thin(list(enumerate(part, start=1))) for key, part in parts.lists.items()}
    rows = tuple(row for key, part in thinned.items() for row in _rows(part.rows, key))
    notes = (*parts.notes, *(note for part in thinned.values() for note in part.notes()))
    return Table(name, parts.format, rows, tuple(map(column_name, parts.lists)), notes)


def _json_lines_table(text: str, name: str) -> Table:
    if text.lstrip().startswith("["):  # not a row, which would be an object
        try:
            table = _json_table(text, name)
        except ContrastDataError:
            return _table(name, "JSONL", _jsonl_values(text))
        return replace(table, notes=("The file of JSON lines contains one list.", *table.notes))
    return _table(name, "JSONL", _jsonl_values(text))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _delimited_table(text: str, name: str, separator: str | None) -> Table:
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # the line that Excel writes and reads
        separator, text = first.strip()[4], rest
    separator = separator or find_separator(text)
    kind = "TSV" if separator == "\t" else "CSV"
    label = f"{kind}, separated by {SEPARATORS.get(separator, separator)}"
    quoted = separator != "\t" or closes_quotes(text)  # many tab-separated files use no quoting
    notes = () if quoted else ("The quotes in this table do not enclose cells and were read as ordinary characters.",)
    values = delimited_values(io.StringIO(text, newline=""), separator, quoted=quoted)
    return _table(name, label, values, notes, has_header=True)
