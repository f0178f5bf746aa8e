"""Reader for lm-eval's results: the runs of an `evaluate.sh` as one table, beside the untouched model's.

Knows the folders that the script writes and the format of `results_*.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s2e_core.errors import InteropError
from s2e_core.export import RUNS


@dataclass(frozen=True, eq=False)
class TaskMetric:
    """One metric of one task in one run."""

    run: str
    """Name of the run: a key of `RUNS`."""
    task: str
    metric: str
    """Name of the metric, followed by the filter of the answers in brackets if there is one."""
    value: float
    error: float | None
    """Standard error of the value; None if lm-eval computed none."""
    samples: int | None
    """Number of questions behind the value; None if the file does not say."""
    difference: float | None = None
    """Value minus the untouched model's; None if that was not measured on as many questions."""
    in_group: bool = False
    """True if the task is part of another one, such as a subject of MMLU."""


@dataclass(frozen=True, eq=False)
class EvaluationResults:
    """The newest results of every run that has any."""

    files: Mapping[str, Path]
    """File that was read, by run."""
    rows: tuple[TaskMetric, ...]
    notes: tuple[str, ...]
    """Sentences about what a person should know: older results, runs that cannot be compared."""


def read_results(folder: str | Path) -> EvaluationResults:
    """Read the results in the folder that an `evaluate.sh` wrote to, FOLDER/<run>/.../results_<date>.json.

    The newest file of a run counts. Raises InteropError if there is no file, or if one is damaged.
    """
    folder = Path(folder)
    found = {run: _newest_first(folder / run) for run in RUNS}
    files = {run: paths[0] for run, paths in found.items() if paths}
    if not files:
        raise InteropError(
            f"{folder} contains no results of lm-eval. Expected are files results_*.json in the folders "
            f"{', '.join(RUNS)}: give the folder that evaluate.sh wrote to."
        )
    measured = {run: _read(run, path) for run, path in files.items()}
    original = {(row.task, row.metric): row for row in measured.get("original", ())}
    rows = tuple(_compared(row, original.get((row.task, row.metric))) for rows in measured.values() for row in rows)
    return EvaluationResults(files, rows, tuple(_notes(found, rows, original)))


def _newest_first(folder: Path) -> list[Path]:
    """All results of one run. The name contains the date, so that it sorts; the folder between is the model's name."""
    return sorted(folder.rglob("results_*.json"), key=lambda path: (path.name, path), reverse=True)


def _read(run: str, path: Path) -> tuple[TaskMetric, ...]:
    try:
        rows = tuple(_rows(run, json.loads(path.read_text(encoding="utf-8"))))
        if not rows:
            raise ValueError("it has no metric")
        return rows
    except OSError as error:
        raise InteropError(f"{path} cannot be read ({error.strerror}). Check its permissions.") from error
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise InteropError(
            f"{path} is damaged, or not of lm-eval: an object with the metrics of every task was expected. Remove the "
            "file, or run evaluate.sh again."
        ) from error


def _rows(run: str, content: Mapping[str, Any]) -> Iterator[TaskMetric]:
    """Metrics are the keys "metric,filter" with a number; "metric_stderr,filter" is a number or "N/A"."""
    counts = content.get("n-samples", {})
    parts = {part for names in content.get("group_subtasks", {}).values() for part in names}
    for task, figures in content["results"].items():
        samples = counts[task]["effective"] if task in counts else figures.get("sample_len")
        for key, value in figures.items():
            name, comma, chosen = key.partition(",")
            if not comma or name.endswith("_stderr") or not _is_number(value):
                continue
            error = figures.get(f"{name}_stderr,{chosen}")
            metric = name if chosen in ("", "none") else f"{name} ({chosen})"
            error = float(error) if _is_number(error) else None
            yield TaskMetric(run, task, metric, float(value), error, samples, in_group=task in parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compared(row: TaskMetric, original: TaskMetric | None) -> TaskMetric:
    if row.run == "original" or original is None or original.samples != row.samples:
        return row
    return replace(row, difference=row.value - original.value)


def _notes(
    found: Mapping[str, list[Path]], rows: tuple[TaskMetric, ...], original: Mapping[tuple[str, str], TaskMetric]
) -> Iterator[str]:
    for run, paths in found.items():
        if len(paths) > 1:
            yield f"The run {run} has {len(paths)} results; the newest counts, {paths[0].name}."
    if not original:
        yield "The untouched model has no results, so that there are no differences. Run evaluate.sh to its end."
    others = [row for row in rows if (row.task, row.metric) in original]
    uneven = [row for row in others if row.samples != original[row.task, row.metric].samples]
    for run, task in dict.fromkeys((row.run, row.task) for row in uneven):
        yield f"{task} of the run {run} was measured on other questions than the untouched model's: no difference."
