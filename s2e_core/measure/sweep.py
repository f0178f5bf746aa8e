"""Try many settings on the same questions, many of them in every batch: a grid is one run of one model.

Knows trials, plans and the file of a sweep; how the model answers is in `asking.py`, how answers are judged in
`plan.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import Extraction

from .asking import Asker, ask_here
from .plan import Plan, Question, Result, Share, results
from .sweep_file import Sweep, add_answers, empty_sweep, sweep_file
from .trials import Trial, trial_key

BLOCK = 16
"""Number of trials that are asked together: they are complete, and have figures, at the same time."""


def sweep(
    loaded: LoadedModel,
    extraction: Extraction,
    plan: Plan,
    trials: Sequence[Trial],
    *,
    path: Path | None = None,
    asker: Asker = ask_here,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Sweep:
    """Ask every trial every question of the plan, many trials in one batch on one copy of the weights.

    The untouched model is put first if it is missing: utility is relative to it. With a `path` every answer is written
    there at once, and what the file already contains is not asked again. `asker` says who answers, such as
    `RayWorkers`; `progress` counts answers. Raises Cancelled if `stop` is set or `progress` raises it, SweepError if
    the file belongs to another sweep.
    """
    trials = add_original(trials)
    started = empty_sweep(plan, extraction.provenance, loaded.dtype, extraction.outliers)
    with sweep_file(path, started, trials, extraction.spec) as file:
        shares = order_shares(len(trials), started.questions)
        missing = [share for share in shares if share not in file.answers]
        if progress is not None:
            progress(len(file.answers), len(shares))
        batches = asker(loaded, extraction, plan, trials, missing, stop)
        with closing(batches):  # frees what the iterator uses if `progress` stops the sweep
            for batch in batches:
                file.add(batch)
                if progress is not None:
                    progress(len(file.answers), len(shares))
    return replace(add_answers(started, trials, file.answers), kl=file.kl)


def order_shares(n_trials: int, questions: Sequence[Question]) -> list[Share]:
    """All shares, one block of trials after the other; within a block by the length of the prompts.

    So a batch contains few prompts of about one length for many trials: little padding, and few random numbers.
    """
    by_length = sorted(range(len(questions)), key=lambda q: (len(str(questions[q].row["prompt"])), q))
    blocks = (range(first, min(first + BLOCK, n_trials)) for first in range(0, n_trials, BLOCK))
    return [Share(t, q) for block in blocks for q in by_length for t in block]


def add_original(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """The trials with the untouched model, which comes first if it is missing."""
    has_original = any(trial.arm == "original" for trial in trials)
    return tuple(trials) if has_original else (Trial(), *trials)


def sweep_results(sweep: Sweep) -> tuple[Result, ...]:
    """The figures of every trial of a sweep, with its KL where that was measured."""
    figures = results(sweep.questions, sweep.outcomes)
    return tuple(replace(one, kl=sweep.kl.get(trial_key(one.trial))) for one in figures)
