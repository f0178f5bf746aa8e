"""The trials of a sweep and of the run-off as a table: the rows beside the plot, and the same figures as CSV.

Knows what was measured; no page and no plot.
"""

from __future__ import annotations

import csv
import io
from typing import Any, NamedTuple

from s2e_core.measure import SWEEP_COLUMNS, Estimate, result_to_row

from .measured import HeldOut, Measured, Point
from .words import bracketed, percent, scaled

SYMBOLS = {"original": "■", "steering": "◆", "edit": "●"}
"""The shapes of the plot."""
RUN_OFF, DEVELOPMENT = "run-off", "development"
STAGE_COLUMN = 1
"""Place of the column that says what a row was measured in."""


class Marks(NamedTuple):
    """Points that stand out, as indices in `tried`."""

    best: int | None
    steering: int | None
    current: int | None
    front: tuple[int, ...]

    @classmethod
    def of(cls, measured: Measured, current: int | None = None) -> Marks:
        return cls(measured.best("edit"), measured.best("steering"), current, measured.front())

    def notes(self, n: int) -> str:
        noted = (
            ("recommended", n == self.best),
            ("best steering", n == self.steering),
            ("Pareto front", n in self.front),
            ("on the page", n == self.current),
        )
        return ", ".join(word for word, true in noted if true)


def table(measured: Measured, current: int | None = None) -> dict[str, Any]:
    """Columns and rows for the page; cells are [text, number to sort by], and rows name their point in `tried`.

    After a search its run-off leads, and a column says what a row was measured in. `current` is the edit on the page.
    """
    columns, rows = _columns(measured), _rows(measured, current)
    if measured.run_off is not None:
        columns.insert(STAGE_COLUMN, "Measured in")
        for row in rows:
            row["cells"].insert(STAGE_COLUMN, [row["stage"], int(row["stage"] == DEVELOPMENT)])
    return {"columns": columns, "rows": rows}


def stage_table(measured: Measured, stage: str) -> dict[str, Any]:
    """The columns, and the rows of one stage, RUN_OFF or DEVELOPMENT."""
    return {"columns": _columns(measured), "rows": [row for row in _rows(measured, None) if row["stage"] == stage]}


def _columns(measured: Measured) -> list[str]:
    unit = "tokens" if measured.less_is_better else "of 100"
    columns = ["Setting", "Heads", "Neurons", f"{measured.wanted}, {unit}", "Utility kept", "Empty or repeated"]
    return [*columns, "KL"] if _shows_divergence(measured) else columns


def _shows_divergence(measured: Measured) -> bool:
    return any(point.result.kl is not None for point in measured.tried)


def _rows(measured: Measured, current: int | None) -> list[dict[str, Any]]:
    marks = Marks.of(measured, current)
    return [
        {
            "n": n,
            "cells": _cells(measured, rank, measured.tried[n]),
            "note": marks.notes(n),
            "best": n == marks.best,
            "current": n == current,
            "stage": _stage(measured, n),
        }
        for rank, n in enumerate(_order(measured, marks))
    ]


def _order(measured: Measured, marks: Marks) -> list[int]:
    """The choice, the edit on the page, the rest of the run-off, the Pareto front, and then the others."""
    run_off = range(len(measured.points), len(measured.tried))
    order = (marks.best, marks.steering, marks.current, *run_off, *marks.front, *range(len(measured.points)))
    return list(dict.fromkeys(n for n in order if n is not None))


def _stage(measured: Measured, n: int) -> str:
    return RUN_OFF if n >= len(measured.points) else DEVELOPMENT


def _cells(measured: Measured, rank: int, point: Point) -> list[list[Any]]:
    result = point.result
    value, low, high = (scaled(measured, x) for x in _three(result.attribute))
    heads, neurons = point.size or (None, None)
    silent = 100 * (result.flaws["empty"].value + result.flaws["repeated"].value)
    kl = result.kl
    divergence = [["" if kl is None else f"{kl.value:.3f}", -1 if kl is None else kl.value]]
    return [
        [f"{SYMBOLS[point.trial.arm]} {point.trial.short_label}", rank],
        ["" if heads is None else f"{heads:,}", -1 if heads is None else heads],
        ["" if neurons is None else f"{neurons:,}", -1 if neurons is None else neurons],
        [bracketed(value, low, high), value],
        [percent(result.kept), result.kept.value],
        [f"{silent:.1f} %", silent],
        *(divergence if _shows_divergence(measured) else []),
    ]


def csv_text(measured: Measured) -> str:
    """One line per trial, then the run-off and the held-out check; shares between 0 and 1."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, SWEEP_COLUMNS, lineterminator="\n")
    writer.writeheader()
    found, split = Marks.of(measured), measured.about.split
    for n, point in enumerate(measured.tried):
        marks = {"pareto_front": int(n in found.front), "recommended": int(n in (found.best, found.steering))}
        stage = RUN_OFF if _stage(measured, n) == RUN_OFF else ""  # else the split of the prompts says it
        writer.writerow(result_to_row(point.result, split, point.size, marks, stage))
    check: HeldOut | None = measured.held_out
    for point in check.points if check else ():
        writer.writerow(result_to_row(point.result, check.about.split if check else "", point.size, {}))
    return out.getvalue()


def _three(figure: Estimate) -> tuple[float, float, float]:
    return figure.value, figure.low, figure.high
