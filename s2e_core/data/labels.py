"""The values of a label column: which mean the positive side, which the negative, which rows have none.

Knows words, not files. A value that no list names is never put on a side by itself.
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
    """As it is compared; see `label_value`."""
    side: LabelSide
    count: int
    """Rows that have it."""


def label_value(cell: object) -> str:
    """A label as it is compared: lower case, no blanks around it; 1.0 and 1 are the same, and so are True and "TRUE".

    Text stays text: "10" is not "1".
    """
    if cell is None:
        return ""
    text = str(cell).strip().lower()
    whole = text.removesuffix(".0")
    return whole if whole.lstrip("-").isdigit() else text


def understood(
    values: Iterable[str], positive: Collection[str] | None, negative: Collection[str] | None
) -> tuple[Label, ...]:
    """Every label value with its side and count; `positive` and `negative` are what a person said, None being nothing.

    Where only the positive values were said, all others but the empty ones are negative; where both were said, all
    others are skipped. Raises ContrastDataError where a value that was said stands in no row, or on both sides.
    """
    counts = Counter(values)
    said = {side: _said(given, counts) for side, given in (("positive", positive), ("negative", negative))}
    both = (said["positive"] or set()) & (said["negative"] or set())
    if both:
        raise ContrastDataError(f'The label "{min(both)}" was named for both sides. Expected each on one side.')
    sides = {value: _side(value, said["positive"], said["negative"]) for value in counts}
    if positive is None and negative is None and {"0", "-1"} <= set(counts):  # three grades: 0 may be in between
        sides |= {"0": "unknown", "-1": "unknown"}
    return tuple(Label(value, sides[value], count) for value, count in counts.items())


def _said(given: Collection[str] | None, counts: Counter[str]) -> set[str] | None:
    if given is None:
        return None
    values = {label_value(value) for value in given}
    missing = sorted(values - set(counts))
    if missing:
        found = ", ".join(f'"{value[:40]}"' for value in list(counts)[:10])
        raise ContrastDataError(f'No row has the label "{missing[0][:40]}". Expected some of {found or "none"}.')
    return values


def _side(value: str, positive: set[str] | None, negative: set[str] | None) -> LabelSide:
    if positive is None and negative is None:
        named: dict[LabelSide, frozenset[str]] = {
            "positive": POSITIVE_LABELS, "negative": NEGATIVE_LABELS, "skipped": SKIPPED_LABELS,
        }  # fmt: skip
        return next((side for side, values in named.items() if value in values), "unknown")
    if value in (positive or ()):
        return "positive"
    if value in (negative or ()):
        return "negative"
    if value in SKIPPED_LABELS or (positive is not None and negative is not None):
        return "skipped"
    return "negative" if negative is None else "positive"
