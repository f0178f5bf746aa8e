"""The examples in one row of a table, given the role of every column.

Knows rows and roles; not which side a label means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from s2e_core.errors import ContrastDataError
from s2e_core.values import Example

from .cells import read_literal
from .choices import read_choices
from .columns import EXPECTED, LISTED, Columns
from .table import Row
from .turns import CONTENTS, Chat, Unread, is_chat, read_chat, read_transcript, turn_text

Side = Literal["positive", "negative", "none"]


def read_row(row: Row, columns: Columns, side: Side) -> Iterator[tuple[Side, Example | Unread]]:
    """The one example of a row, or those of each side; the reason in place of a chat that cannot be used.

    Raises ContrastDataError, naming the row, if a cell is not what its role needs.
    """
    if columns.positive is not None and columns.negative is not None:
        yield from (("positive", example) for example in _examples_in(row, columns, columns.positive))
        yield from (("negative", example) for example in _examples_in(row, columns, columns.negative))
    elif columns.choices is not None:
        for choice, is_true in read_choices(row.cells.get(columns.choices), _where(row, columns.choices)):
            yield "positive" if is_true else "negative", _example(row, columns, choice)
    elif columns.messages is not None:
        chat = read_chat(row.cells.get(columns.messages), _where(row, columns.messages))
        yield side, _chat_example(chat, row, columns)
    elif columns.response is not None:
        yield side, _example_in(row, columns, columns.response)
    elif columns.prompt is not None:
        yield side, _example(row, columns, "")


def _examples_in(row: Row, columns: Columns, column: str) -> Iterator[Example | Unread]:
    """The example whose response is in `column`, or one for each of several responses."""
    cell = row.cells.get(column)
    if isinstance(cell, str) and column in LISTED:
        cell = read_literal(cell) or [part.strip() for part in cell.split(";") if part.strip()]
    if isinstance(cell, list) and all(isinstance(part, str) for part in cell):
        yield from (_example(row, columns, part) for part in cell)
    else:
        yield _example_in(row, columns, column)


def _example_in(row: Row, columns: Columns, column: str) -> Example | Unread:
    """The example whose response, or whole chat, is in `column`."""
    cell = _chat_in(row.cells.get(column))
    if isinstance(cell, list):
        return _chat_example(read_chat(cell, _where(row, column)), row, columns)
    response = str(cell) if is_number(cell) else _text(row, column)
    if response is None and column in row.cells:
        response = ""  # like an empty cell: the contrast set reports and skips it
    if response is None:
        names = ", ".join(row.cells) or "nothing"
        raise ContrastDataError(f'Row {row.number} has the columns {names}, and no text in "{column}". {EXPECTED}')
    turns = read_transcript(response) if columns.prompt is None else None
    if turns is not None:
        return _chat_example(read_chat(turns, _where(row, column)), row, columns)
    return _example(row, columns, response)


def _example(row: Row, columns: Columns, response: str) -> Example | Unread:
    """A response to the row's prompt; the reason if the prompt is a chat that cannot be used."""
    question = _question(row, columns)
    if isinstance(question, str):
        return question
    system = question.system or _system(row, columns)
    return Example(question.prompt, response, system, question.earlier, row.number)


def _question(row: Row, columns: Columns) -> Chat | Unread:
    """The row's prompt with its continuation; a prompt may be a chat, or a transcript, that ends with the question."""
    column = columns.prompt or ""
    cell = _chat_in(row.cells.get(column))
    if isinstance(cell, str) and (turns := read_transcript(cell)) is not None:
        cell = turns
    chat: Chat | Unread
    if isinstance(cell, list):
        chat = read_chat(cell, _where(row, column))
    else:
        chat = Chat(None, _text(row, columns.prompt) or "", None)
    if isinstance(chat, str):
        return chat
    if chat.response is not None:
        raise ContrastDataError(f"{_where(row, column)}: expected a chat that ends with a question, without an answer.")
    more = _text(row, columns.context) or ""
    return replace(chat, prompt=f"{chat.prompt}\n{more}") if more.strip() else chat


def is_number(cell: object) -> bool:
    """Whether a cell is a number and not a truth value."""
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _chat_in(cell: object) -> object:
    """The chat in a cell that is one turn, or a chat written as text; any other cell as it is."""
    if isinstance(cell, str):
        chat = read_literal(cell) if any(key in cell for key in CONTENTS) else None
    else:
        chat = [cell] if isinstance(cell, dict) else cell
    return chat if is_chat(chat) else cell


def _chat_example(chat: Chat | Unread, row: Row, columns: Columns) -> Example | Unread:
    if isinstance(chat, str):
        return chat
    question = chat if chat.prompt else _question(row, columns)
    if isinstance(question, str):
        return question
    system = chat.system or question.system or _system(row, columns)
    return Example(question.prompt, chat.response or "", system, question.earlier, row.number)


def _system(row: Row, columns: Columns) -> str | None:
    """The system text, which may be written like a turn of a chat."""
    cell = row.cells.get(columns.system or "")
    value = read_literal(cell) if isinstance(cell, str) and "parts" in cell else cell
    return turn_text(value) if isinstance(value, dict) and turn_text(value) else _text(row, columns.system)


def _text(row: Row, column: str | None) -> str | None:
    """The text in a column; None if the row has none there."""
    value = row.cells.get(column) if column is not None else None
    if value is not None and not isinstance(value, str):
        raise ContrastDataError(
            f"Row {row.number}: the column {column} contains {type(value).__name__}, expected text. Give another "
            "column."
        )
    return value


def _where(row: Row, column: str) -> str:
    return f"Row {row.number}, column {column}"
