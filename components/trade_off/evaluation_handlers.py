"""Measuring the edit on the page in full: (store, session, fields) to progress and then the figures; and their CSV.

Knows the core's evaluation, the store and the work folder; no page. Nothing is kept of a run that is stopped.
"""

from __future__ import annotations

import csv
import math
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from components.shared import texts
from components.shared.session import Session
from components.shared.store import ModelStore
from components.shared.work import Work
from s2e_core import Edited, SettingsError, Steered, SweepError, Variant, evaluate
from s2e_core.measure import EVALUATION_COLUMNS, Evaluation, Plan
from s2e_core.progress import Progress

from .evaluated import EDIT, STEERING, Evaluated, InFull, in_full
from .evaluation_table import csv_rows
from .handlers import check_measurable, whole
from .run import STATUS_SECONDS

NEUTRAL = 60
"""Utility prompts whose answers divergence and perplexity are measured on, at most."""


class Ticked(NamedTuple):
    """How far a run has come."""

    done: int
    total: int
    """Answers and texts; 0 before anything is known."""
    seconds: float


class EvaluationRequest(NamedTuple):
    """The fields of the page from which the edit is measured in full."""

    prompts: float | None
    steered: bool
    """True if activation steering is measured too."""
    gamma: float | None


def evaluated(store: ModelStore, session: Session, request: EvaluationRequest) -> Iterator[Ticked | InFull]:
    """Progress, in the end the figures. Closing the iterator stops the model within a token or so."""
    check_measurable(store, session)
    if session.edit.is_empty:
        raise SettingsError(texts.NOTHING_EDITED)
    count = whole(request.prompts, "prompts", 2, store.limits.sweep_prompts)
    strength = _gamma(request.gamma) if request.steered else None
    loaded, behavior = store.model(session.model), store.behavior(session.behavior)
    variants: dict[str, Variant] = {EDIT: Edited(session.edit)}
    if strength is not None:
        variants[STEERING] = Steered(session.scored.directions, strength)
    plan = Plan(behavior, "test", count, count)
    stop, began = threading.Event(), time.monotonic()

    def stage(progress: Progress) -> tuple[Evaluation, ...]:
        return evaluate(
            loaded, plan, list(variants.values()), labels=list(variants),
            n_neutral=min(NEUTRAL, count), progress=progress, stop=stop,
        )  # fmt: skip

    work: Work[tuple[Evaluation, ...]] = Work(stage)
    shown, total = 0.0, 0
    try:
        with closing(work.ticks()) as ticks:
            for done, total in ticks:
                now = time.monotonic()
                if now - shown > STATUS_SECONDS:
                    shown = now
                    yield Ticked(done, total, now - began)
    finally:
        stop.set()
    yield in_full(session, behavior, work.result, strength, total=total, seconds=time.monotonic() - began)


def evaluation_file(store: ModelStore, kept: Evaluated, session: Session) -> Path:
    """The figures as CSV, in the columns of the command line. Raises SweepError where nothing is measured."""
    full = kept.of(session)
    if full is None:
        raise SweepError("Nothing has been measured in full here yet. Press Measure in full first.")
    store.work.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=store.work)) / f"steer2edit-{full.place.behavior}-in-full.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([EVALUATION_COLUMNS, *csv_rows(full)])
    return path


def _gamma(gamma: float | None) -> float:
    if gamma is None or not math.isfinite(gamma):
        raise SettingsError("The field γ of the comparison is empty. Type a number there, or leave steering out.")
    return float(gamma)
