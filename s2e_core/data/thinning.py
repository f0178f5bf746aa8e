"""A sample of rows at even distances, taken while they are read, so that files of any length fit into memory.

Knows only the order and the size of rows. The same rows always give the same sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
MAX_ROWS = 100_000
MAX_CHARS = 64_000_000
"""Largest number of rows, and of characters in them, that are kept."""


@dataclass(frozen=True, eq=False)
class Thinned(Generic[T]):
    """Every `step`-th of `total` rows."""

    rows: list[T]
    step: int
    total: int

    def notes(self) -> tuple[str, ...]:
        """A sentence if it is a sample."""
        if self.step == 1:
            return ()
        return (f"A sample was taken: every {self.step}th of {self.total:,} rows, {len(self.rows):,} in all.",)


def thin(rows: Iterable[T], size: Callable[[T], int] = lambda row: 0) -> Thinned[T]:
    """Keep every row, or every second, fourth and so on as soon as they are more than MAX_ROWS or too large."""
    kept: list[T] = []
    step, total, chars = 1, 0, 0
    for total, row in enumerate(rows, start=1):
        if (total - 1) % step:
            continue
        kept.append(row)
        chars += size(row)
        while len(kept) > 1 and (len(kept) > MAX_ROWS or chars > MAX_CHARS):
            step *= 2
            kept = kept[::2]
            chars = sum(map(size, kept))
    return Thinned(kept, step, total)
