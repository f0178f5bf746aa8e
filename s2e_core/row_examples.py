"""The examples in one row of a table whose columns are understood.

Knows rows and roles; not which side a label means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .columns import LISTED, Columns
from .data_file import EXPECTED, Row
from .errors import ContrastDataError
from .turns import Chat, read_chat, transcript
from .types import Example

Side = Literal["positive", "negative", "none"]


def row_examples(row: Row, columns: Columns, side: Side) -> Iterator[tuple[Side, Example | None]]:
    """The one example of a row, or those of each side; None for a chat of several turns."""
    if columns.positive is not None and columns.negative is not None:
        yield from (("positive", example) for example in _all_answered(row, columns, columns.positive))
        yield from (("negative", example) for example in _all_answered(row, columns, columns.negative))
    elif columns.messages is not None:
        chat = read_chat(row.cells.get(columns.messages), _where(row, columns.messages))
        yield side, _chat_example(chat, row, columns)
    elif columns.response is not None:
        yield side, _answered(row, columns, columns.response)
    elif columns.prompt is not None:
        yield side, Example(_prompt(row, columns), "", _text(row, columns.system))


def _all_answered(row: Row, columns: Columns, column: str) -> Iterator[Example | None]:
    """The example whose response stands in `column`, or one for each of several responses."""
    cell = row.cells.get(column)
    if isinstance(cell, str) and column in LISTED:
        cell = [part.strip() for part in cell.split(";") if part.strip()]
    if isinstance(cell, list) and all(isinstance(part, str) for part in cell):
        prompt, system = _prompt(row, columns), _text(row, columns.system)
        yield from (Example(prompt, part, system) for part in cell)
    else:
        yield _answered(row, columns, column)


def _answered(row: Row, columns: Columns, column: str) -> Example | None:
    """The example whose response, or whole chat, stands in `column`."""
    cell = row.cells.get(column)
    if isinstance(cell, list):
        return _chat_example(read_chat(cell, _where(row, column)), row, columns)
    response = _text(row, column)
    if response is None and column in row.cells:
        response = ""  # like an empty cell: reported, and left out of the averages
    if response is None:
        found = ", ".join(row.cells) or "nothing"
        raise ContrastDataError(f'Row {row.number} has the columns {found}, and no text in "{column}". {EXPECTED}')
    turns = transcript(response) if columns.prompt is None else None
    if turns is not None:
        return _chat_example(read_chat(turns, _where(row, column)), row, columns)
    return Example(_prompt(row, columns), response, _text(row, columns.system))


def _prompt(row: Row, columns: Columns) -> str:
    """The prompt's text; a prompt may be a chat that ends with the question."""
    cell = row.cells.get(columns.prompt or "")
    if isinstance(cell, list):
        chat = read_chat(cell, _where(row, columns.prompt or ""))
        if chat is not None and chat.response is None and chat.system is None:
            return chat.prompt
        raise ContrastDataError(f"{_where(row, columns.prompt or '')}: expected one question, without an answer.")
    return _text(row, columns.prompt) or ""


def _chat_example(chat: Chat | None, row: Row, columns: Columns) -> Example | None:
    if chat is None:
        return None
    prompt = chat.prompt or _prompt(row, columns)
    return Example(prompt, chat.response or "", chat.system or _text(row, columns.system))


def _text(row: Row, column: str | None) -> str | None:
    """The text in a column; None where the row has none there."""
    value = row.cells.get(column) if column is not None else None
    if value is not None and not isinstance(value, str):
        raise ContrastDataError(
            f"Row {row.number}: the column {column} holds {type(value).__name__}, expected text. Give another column."
        )
    return value


def _where(row: Row, column: str) -> str:
    return f"Row {row.number}, column {column}"
