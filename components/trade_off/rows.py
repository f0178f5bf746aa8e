"""The trials of a sweep as a table: the rows beside the plot, and the same figures as CSV.

Knows what was measured; no page and no plot.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from s2e_core.measure import SWEEP_COLUMNS, Estimate, result_to_row

from .measured import HeldOut, Measured, Point
from .words import bracketed, percent, scaled

SYMBOLS = {"original": "■", "steering": "◆", "edit": "●"}
"""The shapes of the plot."""


def table(measured: Measured, current: int | None = None) -> dict[str, Any]:
    """Columns and rows for the page and the report; cells are [text, number to sort by], rows name their point."""
    unit = "tokens" if measured.less_is_better else "of 100"
    columns = ["Setting", "Heads", "Neurons", f"{measured.wanted}, {unit}", "Utility kept", "Empty or repeated"]
    front, best, steering = set(measured.front()), measured.best("edit"), measured.best("steering")
    leading = dict.fromkeys(n for n in (best, steering, current, *measured.front()) if n is not None)
    first = {n: rank for rank, n in enumerate(leading)}
    order = sorted(range(len(measured.points)), key=lambda n: first.get(n, len(first) + n))
    rows = [
        {
            "n": n,
            "cells": _cells(measured, rank, measured.points[n]),
            "note": ", ".join(_notes(n, front, best, steering, current)),
            "best": n == best,
            "current": n == current,
        }
        for rank, n in enumerate(order)
    ]
    return {"columns": columns, "rows": rows}


def _cells(measured: Measured, rank: int, point: Point) -> list[list[Any]]:
    result = point.result
    value, low, high = (scaled(measured, x) for x in _three(result.attribute))
    heads, neurons = point.size or (None, None)
    silent = 100 * (result.flaws["empty"].value + result.flaws["repeated"].value)
    return [
        [f"{SYMBOLS[point.trial.arm]} {point.trial.short_label}", rank],
        ["" if heads is None else f"{heads:,}", -1 if heads is None else heads],
        ["" if neurons is None else f"{neurons:,}", -1 if neurons is None else neurons],
        [bracketed(value, low, high), value],
        [percent(result.kept), result.kept.value],
        [f"{silent:.0f} %", silent],
    ]


def _notes(n: int, front: set[int], best: int | None, steering: int | None, current: int | None) -> list[str]:
    noted = (
        ("recommended", n == best),
        ("best steering", n == steering),
        ("Pareto front", n in front),
        ("on the page", n == current),
    )
    return [word for word, true in noted if true]


def csv_text(measured: Measured) -> str:
    """One line per trial, then the held-out check; shares between 0 and 1."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, SWEEP_COLUMNS, lineterminator="\n")
    writer.writeheader()
    front, best = set(measured.front()), {measured.best("edit"), measured.best("steering")}
    for n, point in enumerate(measured.points):
        marks = {"pareto_front": int(n in front), "recommended": int(n in best)}
        writer.writerow(result_to_row(point.result, measured.about.split, point.size, marks))
    check: HeldOut | None = measured.held_out
    for point in check.points if check else ():
        writer.writerow(result_to_row(point.result, check.about.split if check else "", point.size, {}))
    return out.getvalue()


def _three(figure: Estimate) -> tuple[float, float, float]:
    return figure.value, figure.low, figure.high
