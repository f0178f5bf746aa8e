"""The choices of a multiple-choice question in one cell, each true or false.

Knows the two formats in which TruthfulQA is published, {"choices": [...], "labels": [...]} and {choice: label}; not the
rest of the row.
"""

from __future__ import annotations

from collections.abc import Iterable

from s2e_core.errors import ContrastDataError

from .cells import read_literal
from .labels import label_value

TRUE, FALSE = frozenset({"1", "true"}), frozenset({"0", "false"})


def read_choices(cell: object, where: str) -> tuple[tuple[str, bool], ...]:
    """(choice, whether it is true) in the order of the cell, which may be a dictionary or its text.

    Raises ContrastDataError, beginning with `where`, if the cell is anything else.
    """
    value = read_literal(cell) if isinstance(cell, str) else cell
    pairs = _pairs(value) if isinstance(value, dict) else None
    if pairs is None or not all(isinstance(choice, str) and label in TRUE | FALSE for choice, label in pairs):
        raise ContrastDataError(
            f'{where}: expected choices with a label each, {{"choices": ["...", "..."], "labels": [1, 0]}} or '
            '{"...": 1, "...": 0}, where 1 is true and 0 is false.'
        )
    return tuple((str(choice), label in TRUE) for choice, label in pairs)


def _pairs(value: dict[object, object]) -> list[tuple[object, str]] | None:
    """(choice, label in the form used for comparison); None if the lists do not match."""
    pairs: Iterable[tuple[object, object]] = value.items()
    if {"choices", "labels"} <= set(value):
        choices, labels = value["choices"], value["labels"]
        if not (isinstance(choices, list) and isinstance(labels, list) and len(choices) == len(labels)):
            return None
        pairs = zip(choices, labels, strict=True)
    return [(choice, label_value(label)) for choice, label in pairs]
