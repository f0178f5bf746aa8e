"""Try many settings on the same questions, many of them in every batch, so that a grid is one run of one model.

Knows trials, plans and the file of a sweep; how the model answers is in `asking.py`, what an answer is worth in
`plan.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

import torch

from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import ComponentScores, SteeringDirections

from .asking import ask
from .plan import Answer, Plan, Question, Result, Share, results
from .sweep_file import Sweep, empty_sweep, sweep_file, with_answers
from .trials import Trial, trial_variant

BLOCK = 16
"""Trials that are asked together: they have all their answers at the same time, and figures from then on."""


def sweep(
    loaded: LoadedModel,
    scores: ComponentScores,
    directions: SteeringDirections,
    plan: Plan,
    trials: Sequence[Trial],
    *,
    path: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Sweep:
    """Ask every trial every question of the plan, many trials in one batch on one copy of the weights.

    The untouched model is put first where it is missing: utility is relative to it. With a `path` every answer is
    written there at once, and what the file already holds is not asked again. `progress` counts answers. Raises
    Cancelled where `stop` is set or `progress` raises it, SweepError where the file belongs to another sweep.
    """
    trials, questions = with_original(trials), plan.questions()

    def answers(missing: Sequence[Share]) -> Generator[list[tuple[Share, Answer]]]:
        variants = [trial_variant(trial, scores, directions) for trial in trials]
        yield from ask(loaded, variants, plan, questions, missing, stop=stop)

    return fill(scores, plan, trials, answers, dtype=loaded.dtype, path=path, progress=progress)


def fill(
    scores: ComponentScores,
    plan: Plan,
    trials: Sequence[Trial],
    answers: Callable[[Sequence[Share]], Generator[list[tuple[Share, Answer]]]],
    *,
    dtype: torch.dtype,
    path: Path | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """The sweep of these trials, whoever answers: `answers` is given the shares that the file at `path` lacks."""
    begun = empty_sweep(plan, scores.provenance, dtype)
    with sweep_file(path, begun, trials, scores.spec) as file:
        shares = in_order(len(trials), begun.questions)
        missing = [share for share in shares if share not in file.held]
        if progress is not None:
            progress(len(file.held), len(shares))
        with closing(answers(missing)) as answered:  # what it holds is freed where `progress` stops the sweep
            for batch in answered:
                file.add(batch)
                if progress is not None:
                    progress(len(file.held), len(shares))
    return with_answers(begun, trials, file.held)


def in_order(n_trials: int, questions: Sequence[Question]) -> list[Share]:
    """All shares, a block of trials after the other; within a block by the length of the prompts.

    So a batch holds few prompts of about one length under many trials: little padding, and few dice to throw.
    """
    by_length = sorted(range(len(questions)), key=lambda q: (len(str(questions[q].row["prompt"])), q))
    blocks = (range(first, min(first + BLOCK, n_trials)) for first in range(0, n_trials, BLOCK))
    return [Share(t, q) for block in blocks for q in by_length for t in block]


def with_original(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """The trials with the untouched model among them."""
    known = any(trial.arm == "original" for trial in trials)
    return tuple(trials) if known else (Trial(), *trials)


def sweep_results(made: Sweep) -> tuple[Result, ...]:
    """The figures of every trial of a sweep."""
    return results(made.questions, made.outcomes)
