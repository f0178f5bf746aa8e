"""Lists and dictionaries that stand in a cell as text: JSON, Python's notation, and numpy's, which has no commas.

Tables that pandas writes hold chats and lists of answers so. Knows plain values alone, and runs nothing.
"""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Iterator
from token import DEDENT, ENDMARKER, INDENT, NAME, NEWLINE, NL, NUMBER, OP, STRING

LONGEST = 200_000  # characters; taking one apart is slow
_BLANK = frozenset({NL, NEWLINE, INDENT, DEDENT, ENDMARKER})
_NAMES = frozenset({"True", "False", "None"})
_MARKS = frozenset("{}[]:,-")


def read_literal(text: str) -> object | None:
    """The list or dictionary that a text spells; None for every other text."""
    if not text.lstrip().startswith(("[", "{")) or len(text) > LONGEST:
        return None
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = _spelled_by_python(text)
    return value if isinstance(value, list | dict) else None


def _spelled_by_python(text: str) -> object | None:
    try:
        value: object = ast.literal_eval(" ".join(_with_commas(text)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError):
        return None
    return value


def _with_commas(text: str) -> Iterator[str]:
    """The parts of the text, with a comma between two values that have none; ValueError for what is no plain value.

    Without it, Python would take two texts side by side for one.
    """
    after_value = False
    for kind, part in _without_arrays(text):
        begins_value = kind != OP or part in "[{-"
        if after_value and begins_value:
            yield ","
        yield part
        after_value = kind != OP or part in "]}"


def _without_arrays(text: str) -> Iterator[tuple[int, str]]:
    """(kind, text) of every part, where `array([...], dtype=object)` is its list; ValueError for what is not plain."""
    parts = ((part.type, part.string) for part in tokenize.generate_tokens(io.StringIO(text.strip()).readline))
    parts = (part for part in parts if part[0] not in _BLANK)
    held: tuple[int, str] | None = None  # a comma, until it is known that no dtype follows
    for kind, part in parts:
        if part in ("array", "(", ")"):
            continue
        if part == "dtype":
            held = None
            next(parts, None), next(parts, None)
            continue
        if held is not None:
            yield held
        held = (kind, part) if part == "," else None
        if held is None:
            if not (kind in (NUMBER, STRING) or (kind == NAME and part in _NAMES) or (kind == OP and part in _MARKS)):
                raise ValueError(f"{part} is no plain value")
            yield kind, part
    if held is not None:
        yield held
