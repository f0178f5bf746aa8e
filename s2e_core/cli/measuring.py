"""What the commands that measure share: the plan, who answers, and what a person reads about prompts and resuming.

Knows options and the terminal; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from s2e_core.data import Behavior
from s2e_core.errors import SettingsError
from s2e_core.measure import (
    Arm,
    Asker,
    Plan,
    RayWorkers,
    Sweep,
    Trial,
    ask_here,
    steering_grid,
)
from s2e_core.model import LoadedModel

from .arguments import (
    OFF,
    PAPER,
)

ARMS: tuple[Arm, ...] = ("edit", "steering")


def to_rho(value: float | str | None) -> float | None:
    return None if value is None or value == OFF else float(value)


def to_steering_trials(gammas: str | Sequence[float] | None) -> tuple[Trial, ...]:
    if gammas is None or gammas == OFF:
        return ()
    return steering_grid() if gammas == PAPER else steering_grid([float(gamma) for gamma in gammas])


def read_plan(options: argparse.Namespace, behavior: Behavior) -> Plan:
    return Plan(
        behavior, options.split, options.prompts, options.prompts, options.samples, options.temperature, options.seed,
        options.max_new_tokens,
    )  # fmt: skip


def check_workers(options: argparse.Namespace) -> None:
    if options.workers is not None and options.ray is None:
        raise SettingsError("--workers is for --ray. Give --ray too, with the address of a cluster or without one.")


@contextmanager
def choose_asker(options: argparse.Namespace, loaded: LoadedModel) -> Iterator[Asker]:
    """This process, or with --ray the workers of a cluster."""
    if options.ray is None:
        yield ask_here
        return
    with RayWorkers(loaded, n_workers=options.workers or 2, address=options.ray or None) as workers:
        yield workers


def attribute_unit(run: Sweep) -> str:
    return "mean tokens, less is better" if run.less_is_better else "mean score, more is better"


def count_prompts(run: Sweep) -> str:
    counts = {side: len({q.prompt for q in run.questions if q.side == side}) for side in ("attribute", "utility")}
    return f"{counts['attribute']} attribute and {counts['utility']} utility prompts"


@contextmanager
def say_how_to_resume(path: Path | None) -> Iterator[None]:
    """Says how to resume if Ctrl+C ends the work."""
    try:
        yield
    except KeyboardInterrupt:
        if path is not None:
            print(f"The answers so far are kept in {path}; the same command resumes.", file=sys.stderr)
        raise
