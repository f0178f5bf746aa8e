"""Scores of rows, such as ratings from 0 to 100, read as labels by a threshold.

Knows cells and labels; not which side a person means.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from s2e_core.errors import ContrastDataError

from .columns import NAMES
from .labels import Label, LabelSide
from .table import Table

FEWEST = 2
"""Number of different values from which a column of numbers is a score, and no label."""
NO_SCORES = frozenset(
    {"id", "index", "idx", "row", "number", "seed", "question_id", "prompt_id", *NAMES["prompt"], *NAMES["response"]}
)
"""Names of columns whose numbers are no scores."""


def score(cell: object) -> float | None:
    """The number in a cell, also as text; None for everything else."""
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return None
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def score_label(cell: object, above: float) -> str:
    """The label that a score amounts to; empty for a cell without a number."""
    number = score(cell)
    return "" if number is None else f"above {above:g}" if number > above else f"{above:g} or less"


def read_scores(cells: Iterable[object], above: float) -> tuple[Label, ...]:
    """The labels of all cells with their sides and counts: positive above the threshold, else negative.

    Raises ContrastDataError if no score is above the threshold, or all are.
    """
    counts = Counter(score_label(cell, above) for cell in cells)
    sides: dict[str, LabelSide] = {f"above {above:g}": "positive", f"{above:g} or less": "negative", "": "skipped"}
    for label, side in sides.items():
        if side != "skipped" and not counts[label]:
            raise ContrastDataError(f"No row has a score of {label}, so the {side} side is empty. Give another number.")
    return tuple(Label(label, side, counts[label]) for label, side in sides.items() if counts[label])


def score_columns(table: Table) -> tuple[str, ...]:
    """The columns whose cells are numbers, but for empty ones, and take several values."""
    return tuple(name for name in table.columns() if name not in NO_SCORES and _is_score(table, name))


def find_score_column(table: Table) -> str:
    """The only column of scores. Raises ContrastDataError if there is none, or several."""
    names = score_columns(table)
    if len(names) == 1:
        return names[0]
    columns = ", ".join(f'"{name}"' for name in names)
    found = f"The columns {columns} contain numbers" if names else "No column contains numbers of several values"
    raise ContrastDataError(f"{found}, so the score is not known. Say which column is the label.")


def _is_score(table: Table, name: str) -> bool:
    cells = [cell for row in table.rows if (cell := row.cells.get(name)) not in (None, "")]
    numbers = {score(cell) for cell in cells}
    return None not in numbers and len(numbers) >= FEWEST
