"""The command that shows what lm-eval measured with the `evaluate.sh` of an export.

Knows options, the terminal and the JSON object; reading is the core's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s2e_core.interop import TaskMetric, read_results

from .command import Command
from .json_output import Fields
from .terminal import check_exists

RESULTS_FIELDS: Fields = {
    "folder": "The folder of the results, as given.",
    "files": ("The files that were read.", [{"run": "Name of the run.", "path": "Path of its newest results."}]),
    "notes": "What a person should know, as sentences.",
    "rows": (
        "Every metric of every task in every run, parts of tasks included.",
        [
            {
                "run": '"original", "prompt", "steered" or "edited".',
                "task": "Name of the task.",
                "metric": "Name of the metric, with the filter of the answers in brackets.",
                "value": "The figure.",
                "standard_error": "Its standard error; null if lm-eval computed none.",
                "questions": "Number of questions behind it; null if the file does not say.",
                "difference": "Value minus the untouched model's; null for that and if the two cannot be compared.",
                "part": "True if the task is part of another one, such as a subject of MMLU.",
            }
        ],
    ),
}
_HEADER = ("run", "task", "metric", "value", "± error", "difference")


def add_results(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("folder", type=Path, help="the folder that evaluate.sh wrote to")
    sub.add_argument("--parts", action="store_true", help="also the parts of tasks, such as the subjects of MMLU")


def show_results(options: argparse.Namespace) -> None:
    check_exists(options.folder)
    results = read_results(options.folder)
    for note in results.notes:
        print(f"note: {note}", file=sys.stderr)
    rows = [_cells(row) for row in results.rows if options.parts or not row.in_group]
    print("\n".join(_align([_HEADER, *rows])))


def describe_results(options: argparse.Namespace) -> dict[str, Any]:
    check_exists(options.folder)
    results = read_results(options.folder)
    return {
        "folder": str(options.folder),
        "files": [{"run": run, "path": str(path)} for run, path in results.files.items()],
        "notes": results.notes,
        "rows": [_describe(row) for row in results.rows],
    }


def _describe(row: TaskMetric) -> dict[str, Any]:
    return {
        "run": row.run,
        "task": row.task,
        "metric": row.metric,
        "value": row.value,
        "standard_error": row.error,
        "questions": row.samples,
        "difference": row.difference,
        "part": row.in_group,
    }


def _cells(row: TaskMetric) -> tuple[str, ...]:
    error = "" if row.error is None else f"± {row.error:.4f}"
    difference = "" if row.difference is None else f"{row.difference:+.4f}"
    return row.run, row.task, row.metric, f"{row.value:.4f}", error, difference


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with columns of one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


COMMAND = Command(
    "results",
    "What lm-eval measured with the evaluate.sh of an export: every run beside the untouched model.",
    add_results, show_results, needs_model=False, describe=describe_results, fields=RESULTS_FIELDS,
)  # fmt: skip
