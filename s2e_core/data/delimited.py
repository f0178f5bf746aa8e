"""Rows of text whose cells are separated by commas, semicolons, tabs or bars; the first row names the columns.

Knows quotes and separators, not what a column means.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from s2e_core.errors import ContrastDataError

from .columns import EXPECTED, KNOWN, column_name

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""Separator -> its name, for a person."""


def closes_quotes(text: str) -> bool:
    """Whether the quotes in a text with tabs enclose cells."""
    try:
        return all(True for _ in _lines(io.StringIO(text, newline=""), "\t", quoted=True))
    except csv.Error:
        return False


def find_separator(text: str) -> str:
    """The separator that gives the most columns with known names in the first row, then the most columns."""
    first = next((line for line in io.StringIO(text, newline="") if line.strip()), "").rstrip("\r\n")

    def rank(separator: str) -> tuple[int, int]:
        names = [column_name(cell) for cell in next(csv.reader([first], delimiter=separator), [])]
        return sum(name in KNOWN for name in names), len(names)

    return max(SEPARATORS, key=rank)  # a comma wins a tie


def delimited_values(text: Iterable[str], separator: str, *, quoted: bool) -> Iterator[tuple[int, Mapping[str, str]]]:
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


def _lines(text: Iterable[str], separator: str, *, quoted: bool) -> Any:
    """A csv reader; its type has no public name."""
    return csv.reader(
        text,
        strict=True,
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
