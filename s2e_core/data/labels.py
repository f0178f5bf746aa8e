"""The values of a label column, each with the side it means.

Knows words, not files. A value that is in no list is never put on a side without a person's word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from s2e_core.errors import ContrastDataError

LabelSide = Literal["positive", "negative", "skipped", "unknown"]
POSITIVE_LABELS = frozenset({"positive", "pos", "true", "1", "yes", "good", "chosen"})
NEGATIVE_LABELS = frozenset({"negative", "neg", "false", "0", "-1", "no", "bad", "rejected"})
SKIPPED_LABELS = frozenset({"none", "null", "nan", "n/a", ""})


@dataclass(frozen=True, eq=False)
class Label:
    """One value of the label column."""

    value: str
    """Value in the form used for comparison; see `label_value`."""
    side: LabelSide
    count: int
    """Number of rows with this value."""


def label_value(cell: object) -> str:
    """A label in the form used for comparison: lower case, no blanks around it.

    1.0 and 1 are the same, and so are True and "TRUE"; an empty cell is "".
    """
    if cell is None:
        return ""
    text = str(cell).strip().lower()
    whole = text.removesuffix(".0")
    return whole if whole.lstrip("-").isdigit() else text


def read_labels(
    values: Iterable[str], positive: Collection[str] | None, negative: Collection[str] | None
) -> tuple[Label, ...]:
    """Every label value with its side and count; `positive` and `negative` are a person's choice, or None.

    With values of one side alone, all others except the empty ones are the other side; with both, all others are
    skipped. Raises ContrastDataError if a chosen value is in no row, or on both sides.
    """
    counts = Counter(values)
    positive, negative = (_check_values(values, counts) for values in (positive, negative))
    both = (positive or set()) & (negative or set())
    if both:
        raise ContrastDataError(f'The label "{min(both)}" was named for both sides. Expected each on one side.')
    sides = {value: _side(value, positive, negative) for value in counts}
    if positive is None and negative is None and {"0", "-1"} <= set(counts):  # three grades: 0 may be in between
        sides |= {"0": "unknown", "-1": "unknown"}
    return tuple(Label(value, sides[value], count) for value, count in counts.items())


def _check_values(chosen: Collection[str] | None, counts: Counter[str]) -> set[str] | None:
    if chosen is None:
        return None
    values = {label_value(value) for value in chosen}
    missing = sorted(values - set(counts))
    if missing:
        present = ", ".join(f'"{value[:40]}"' for value in list(counts)[:10])
        raise ContrastDataError(f'No row has the label "{missing[0][:40]}". Expected some of {present or "none"}.')
    return values


def _side(value: str, positive: set[str] | None, negative: set[str] | None) -> LabelSide:
    if positive is None and negative is None:
        known: dict[LabelSide, frozenset[str]] = {
            "positive": POSITIVE_LABELS, "negative": NEGATIVE_LABELS, "skipped": SKIPPED_LABELS,
        }  # fmt: skip
        return next((side for side, values in known.items() if value in values), "unknown")
    if value in (positive or ()):
        return "positive"
    if value in (negative or ()):
        return "negative"
    if value in SKIPPED_LABELS or (positive is not None and negative is not None):
        return "skipped"
    return "negative" if negative is None else "positive"
