"""Find a good edit within a budget, and the steering strength it has to beat, on prompts kept apart for choosing.

Knows plans, sweeps and the order of the stages; which edit to try next is in `proposals.py`, which to look at again and
to choose in `choosing.py`, how answers are made and kept in `sweep.py`.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

from s2e_core.data import Behavior
from s2e_core.errors import BehaviorError, SettingsError, SweepError
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.values import ComponentScores, SteeringDirections

from .choosing import ARMS, chosen, finalists_of, weakened
from .plan import Plan, results
from .proposals import Proposals
from .sweep import sweep, sweep_results
from .sweep_file import Sweep
from .trials import PAPER_GAMMA, Trial, steering_grid

BATCH = 8
"""Edits proposed together: large enough to fill a batch of the model, small enough to learn from the earlier ones."""
FRESH_DICE = 1_000_000
"""Between the seeds of two stages, so that none of them throws the same dice again."""
ROUNDS = 4
"""How often the finalists of an arm are weakened before none of them is said to keep the floor."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found, and all that it rests on."""

    floor: float
    """Share of the untouched model's utility that had to be kept."""
    development: Sweep
    """Every trial on the prompts that the search was steered by."""
    held_out: Sweep | None
    """The untouched model and what was chosen, on prompts that played no part in choosing: the figures to report.

    None where nothing keeps the floor, or the behaviour has no prompts apart from those chosen on.
    """
    edit: Trial | None
    """The chosen edit, None where no edit keeps the floor."""
    steering: Trial | None
    """The chosen steering strength, None where none keeps the floor."""
    finals: Sweep | None = None
    """The finalists on the whole development split with fresh dice: what the choice was made by."""


def find_edit(
    loaded: LoadedModel,
    scores: ComponentScores,
    directions: SteeringDirections,
    behavior: Behavior,
    *,
    floor: float = 0.97,
    n_trials: int = 48,
    seed: int = 0,
    gammas: Sequence[float] = PAPER_GAMMA,
    prompts: int = 60,
    finalists: int = 5,
    samples: int = 2,
    temperature: float = 1.0,
    max_new_tokens: int | None = None,
    path: Path | None = None,
    progress: Progress | None = None,
    seen: Callable[[Sweep], None] | None = None,
    stop: threading.Event | None = None,
) -> Found:
    """The edit, and the steering strength, with the most attribute at `floor` or more of the untouched utility.

    1. Development split, `prompts` of each side, one answer each: the untouched model, the steering strengths, the
       behaviour's suggested settings and `n_trials` edits, which TPE proposes by the figures of the earlier ones.
       Here a trial may lie below the floor by one standard error of a share, since so few prompts cannot tell.
    2. Whole development split, `samples` answers each with fresh dice: the `finalists` of either arm, one of them also
       a little weaker. The best of many trials is partly lucky; here luck does not count again. Per arm the best is
       chosen whose kept utility is above the floor by one standard error, or, where none is, at the floor at least.
       Where none of an arm keeps the floor, its finalists are asked again at less strength.
    3. Whole test split, `samples` answers each with fresh dice: the untouched model and the two that were chosen.
       Nothing is chosen by these figures: they are what to report.

    Both arms pass through the same stages and rules. `seen` gets the sweep of stage 1 after every batch; `progress`
    counts answers. `path` is a folder for the files of the three sweeps: a search that was stopped goes on from there,
    since the same seed and the same answers give the same proposals. Raises Cancelled where `stop` is set or `progress`
    raises it, SettingsError for a floor or budget out of range, SweepError for files of another model or other dice.
    """
    _check(floor, n_trials, prompts, finalists)
    asked = Plan(
        behavior, n_attribute=prompts, n_utility=prompts, temperature=temperature, seed=seed,
        max_new_tokens=max_new_tokens,
    )  # fmt: skip
    plans = _plans(asked, samples)
    fixed = (Trial(), *steering_grid(dict.fromkeys((*gammas, behavior.gamma))), Trial(behavior.settings))
    stages, less_is_better = plans.stages(progress, len(fixed) + n_trials, finalists), asked.less_is_better
    with _folder(path) as folder:
        bench = _Bench(loaded, scores, directions, folder, stages, stop)
        near = floor - sqrt(floor * (1 - floor) / prompts)
        proposals = Proposals(scores, directions, floor=near, less_is_better=less_is_better, seed=seed)
        development = _explore(bench, asked, fixed, proposals, n_trials, seen)
        looked = sweep_results(development)
        again = [t for arm in ARMS for t in finalists_of(looked, arm, floor, near, finalists, less_is_better)]
        finals = _run_off(bench, plans.finals, again, floor)
        edit, steering = (chosen(sweep_results(finals), arm, floor, less_is_better) for arm in ARMS)
        picked = [trial for trial in (edit, steering) if trial is not None]
        held_out = bench.ask("test", plans.test, (Trial(), *picked)) if plans.test and picked else None
    stages.finish()
    return Found(floor, development, held_out, edit, steering, finals)


@dataclass(frozen=True, eq=False)
class _Plans:
    """What each stage asks."""

    development: Plan
    finals: Plan
    test: Plan | None
    """None where the behaviour has no prompts that nothing was chosen on."""

    def stages(self, progress: Progress | None, n_trials: int, finalists: int) -> Stages:
        return Stages(
            progress,
            development=n_trials * len(self.development.questions()),
            finals=(1 + 2 * finalists) * len(self.finals.questions()),
            test=3 * len(self.test.questions()) if self.test else 0,
        )


def _plans(development: Plan, samples: int) -> _Plans:
    whole = replace(development, n_attribute=None, n_utility=None, samples=samples if development.temperature else 1)
    finals = replace(whole, seed=development.seed + FRESH_DICE)
    test = replace(whole, split="test", seed=development.seed + 2 * FRESH_DICE)
    return _Plans(development, finals, _apart(test, finals))


@dataclass(frozen=True, eq=False)
class _Bench:
    """What every stage asks with."""

    loaded: LoadedModel
    scores: ComponentScores
    directions: SteeringDirections
    folder: Path
    stages: Stages
    stop: threading.Event | None

    def ask(self, stage: str, plan: Plan, trials: Sequence[Trial]) -> Sweep:
        """All answers of the trials; those in the stage's file are not asked again."""
        return sweep(
            self.loaded, self.scores, self.directions, plan, trials,
            path=self.folder / f"{stage}.jsonl", progress=self.stages.of(stage), stop=self.stop,
        )  # fmt: skip


def _explore(
    bench: _Bench,
    plan: Plan,
    fixed: Sequence[Trial],
    proposals: Proposals,
    n_trials: int,
    seen: Callable[[Sweep], None] | None,
) -> Sweep:
    """Stage 1: what is tried in any case, then batch after batch of proposals."""
    trials = list(fixed)
    made = bench.ask("development", plan, trials)
    for result in sweep_results(made):
        proposals.learn(result)
    while True:
        if seen is not None:
            seen(made)
        new = proposals.ask(min(BATCH, len(fixed) + n_trials - len(trials)))
        if not new:
            return made
        trials += new
        made = bench.ask("development", plan, trials)
        proposals.tell(results(made.questions, (made.outcomes[0], *made.outcomes[-len(new) :])))


def _run_off(bench: _Bench, plan: Plan, finalists: Sequence[Trial], floor: float) -> Sweep:
    """Stage 2: the finalists, and weaker ones of an arm while none of its keeps the floor."""
    trials, latest = [Trial(), *finalists], tuple(finalists)
    finals = bench.ask("finals", plan, trials)
    for _ in range(ROUNDS):
        latest = weakened(latest, sweep_results(finals), floor, finals.less_is_better)
        if not latest:
            break
        trials += latest
        finals = bench.ask("finals", plan, trials)
    return finals


def _apart(test: Plan, development: Plan) -> Plan | None:
    """The test plan, or None where the behaviour has no prompts for it that nothing was chosen on."""
    try:
        prompts = {question.row["prompt"] for question in test.questions()}
    except BehaviorError:
        return None
    return None if prompts & {question.row["prompt"] for question in development.questions()} else test


def _check(floor: float, n_trials: int, prompts: int, finalists: int) -> None:
    if not 0 < floor <= 1:
        raise SettingsError(
            f"The floor is {floor:g}; it is the share of utility to keep, above 0 and at most 1 (0.97 is 97 %)."
        )
    if n_trials < 0 or finalists < 1 or prompts < 1:
        raise SettingsError(
            f"{n_trials} trials on {prompts} prompts with {finalists} finalists were asked for; the least are 0 "
            "trials, 1 prompt and 1 finalist."
        )


@contextmanager
def _folder(path: Path | None) -> Iterator[Path]:
    """The folder for the files, made where it is missing; without a path one that is gone afterwards."""
    if path is None:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(f"{path.name} is no folder to write to ({error.strerror}). Choose another folder.") from error
    yield path
