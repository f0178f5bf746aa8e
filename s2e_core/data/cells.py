"""Lists and dictionaries that a cell contains as text: in JSON, Python's notation, or numpy's without commas.

pandas writes chats and lists of answers in this form. Knows only plain values, and runs nothing.
"""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Iterator
from token import DEDENT, ENDMARKER, INDENT, NAME, NEWLINE, NL, NUMBER, OP, STRING

LONGEST = 200_000  # characters; longer ones are slow to parse
_BLANK = frozenset({NL, NEWLINE, INDENT, DEDENT, ENDMARKER})
_NAMES = frozenset({"True", "False", "None"})
_MARKS = frozenset("{}[]:,-")


def read_literal(text: str) -> object | None:
    """The list or dictionary that a text represents; None for every other text."""
    if not text.lstrip().startswith(("[", "{")) or len(text) > LONGEST:
        return None
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = _read_python(text)
    return value if isinstance(value, list | dict) else None


def _read_python(text: str) -> object | None:
    try:
        value: object = ast.literal_eval(" ".join(_with_commas(text)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError):
        return None
    return value


def _with_commas(text: str) -> Iterator[str]:
    """The parts of the text, with a comma between two values that have none. Raises ValueError if one is not plain.

    Without a comma, Python would join two adjacent strings.
    """
    after_value = False
    for kind, part in _without_arrays(text):
        begins_value = kind != OP or part in "[{-"
        if after_value and begins_value:
            yield ","
        yield part
        after_value = kind != OP or part in "]}"


def _without_arrays(text: str) -> Iterator[tuple[int, str]]:
    """(kind, text) of every part, with `array([...], dtype=object)` as a list. Raises ValueError for other values."""
    parts = ((part.type, part.string) for part in tokenize.generate_tokens(io.StringIO(text.strip()).readline))
    parts = (part for part in parts if part[0] not in _BLANK)
    comma: tuple[int, str] | None = None  # not yielded until the next part is not a dtype
    for kind, part in parts:
        if part in ("array", "(", ")"):
            continue
        if part == "dtype":
            comma = None
            next(parts, None), next(parts, None)
            continue
        if comma is not None:
            yield comma
        comma = (kind, part) if part == "," else None
        if comma is None:
            if not (kind in (NUMBER, STRING) or (kind == NAME and part in _NAMES) or (kind == OP and part in _MARKS)):
                raise ValueError(f"{part} is not a plain value")
            yield kind, part
    if comma is not None:
        yield comma
