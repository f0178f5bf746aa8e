"""Find a good edit within a budget, and the steering strength it has to beat, on prompts reserved for choosing.

Knows plans, sweeps and the order of the stages; which edit to try next is in `proposals.py`, which trials enter the
run-off and which is chosen in `choosing.py`, how they are asked in `sweep.py`.
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
from s2e_core.values import Extraction

from .asking import Asker, ask_here
from .choosing import ARMS, choose, pick_finalists, weaken_failed
from .plan import Plan, results
from .proposals import Proposals
from .sweep import sweep, sweep_results
from .sweep_file import Sweep
from .trials import PAPER_GAMMA, Trial, steering_grid

BATCH = 8
"""Edits proposed together: large enough to fill a batch of the model, small enough to learn from the earlier ones."""
NEW_SEEDS = 1_000_000
"""Distance between the seeds of two stages, so that no stage draws the same random numbers again."""
ROUNDS = 4
"""Most times that the finalists of an arm are weakened before none of them is reported to keep the floor."""


@dataclass(frozen=True, eq=False)
class Found:
    """The edit and the steering strength that a search found, with all answers that the choice is based on."""

    floor: float
    """Share of the untouched model's utility that had to be kept."""
    development: Sweep
    """Every trial on the development prompts, which guide the search."""
    held_out: Sweep | None
    """The untouched model and what was chosen, on prompts that played no part in choosing: the figures to report.

    None if nothing keeps the floor, or if the behaviour has no other prompts than those.
    """
    edit: Trial | None
    """The chosen edit, None if no edit keeps the floor."""
    steering: Trial | None
    """The chosen steering strength, None if none keeps the floor."""
    finals: Sweep | None = None
    """The run-off: the finalists on the whole development split with new random seeds, by which the choice is made."""


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """How a search is done: what must be kept, how much is tried, and on how many prompts.

    Raises SettingsError for a floor or a budget out of range.
    """

    behavior: Behavior
    floor: float = 0.97
    """Share of the untouched model's utility that an edit must keep."""
    n_trials: int = 48
    """Number of edits that are proposed."""
    gammas: Sequence[float] = PAPER_GAMMA
    """Steering strengths of the baseline."""
    prompts: int = 60
    """Number of development prompts of each side that every trial is asked."""
    finalists: int = 5
    """Number of trials of each arm that are measured again."""
    samples: int = 2
    """Number of answers to each prompt in the run-off and on held-out prompts."""
    temperature: float = 1.0
    seed: int = 0
    max_new_tokens: int | None = None
    """Longest answer; None takes the behaviour's own."""

    def __post_init__(self) -> None:
        if not 0 < self.floor <= 1:
            raise SettingsError(
                f"The floor is {self.floor:g}; it is the share of utility to keep, above 0 and at most 1 "
                "(0.97 is 97 %)."
            )
        if self.n_trials < 0 or min(self.finalists, self.prompts, self.samples) < 1:
            raise SettingsError(
                f"{self.n_trials} trials on {self.prompts} prompts with {self.finalists} finalists and {self.samples} "
                "samples were requested; at least 0 trials, 1 prompt, 1 finalist and 1 sample are needed."
            )

    @property
    def near(self) -> float:
        """The floor less one standard error of a share: on few prompts a trial below the floor may still keep it."""
        return self.floor - sqrt(self.floor * (1 - self.floor) / self.prompts)

    def fixed_trials(self) -> tuple[Trial, ...]:
        """What is tried in any case: the untouched model, the steering strengths, the behaviour's suggested edit."""
        gammas = dict.fromkeys((*self.gammas, self.behavior.gamma))
        return (Trial(), *steering_grid(gammas), Trial(self.behavior.settings))

    def development(self) -> Plan:
        """The questions of stage 1."""
        return Plan(
            self.behavior, n_attribute=self.prompts, n_utility=self.prompts, temperature=self.temperature,
            seed=self.seed, max_new_tokens=self.max_new_tokens,
        )  # fmt: skip


def find_edit(
    loaded: LoadedModel,
    extraction: Extraction,
    plan: SearchPlan,
    *,
    path: Path | None = None,
    asker: Asker = ask_here,
    progress: Progress | None = None,
    seen: Callable[[Sweep], None] | None = None,
    stop: threading.Event | None = None,
) -> Found:
    """The edit, and the steering strength, with the most attribute at the floor or more of the untouched utility.

    1. Development split, `prompts` of each side, one answer each: the untouched model, the steering strengths, the
       behaviour's suggested settings and `n_trials` edits, which TPE proposes by the figures of the earlier ones.
       Here a trial may lie below the floor by one standard error of a share, since so few prompts cannot tell.
    2. Whole development split, `samples` answers each with new random seeds: the `finalists` of either arm, one of them
       also a little weaker. The best of many trials is partly lucky, and here it must be good again. Per arm the best
       is chosen whose kept utility is above the floor by one standard error, or, if there is none, at the floor at
       least. If none of an arm keeps the floor, its finalists are asked again at less strength.
    3. Whole test split, `samples` answers each with new random seeds: the untouched model and the two that were chosen.
       Nothing is chosen by these figures: they are what to report.

    Both arms pass through the same stages and rules. `asker` says who answers; `seen` gets the sweep of stage 1 after
    every batch; `progress` counts answers. `path` is a folder for the files of the three sweeps: a search that was
    stopped resumes from there, since the same seed and the same answers give the same proposals. Raises Cancelled if
    `stop` is set or `progress` raises it, SweepError for files of another model or other random seeds.
    """
    first = plan.development()
    plans, fixed = _plans(first, plan.samples), plan.fixed_trials()
    stages = plans.stages(progress, len(fixed) + plan.n_trials, plan.finalists)
    less_is_better = first.less_is_better
    with _folder(path) as folder:
        bench = _Bench(loaded, extraction, folder, asker, stages, stop)
        proposals = Proposals(extraction, floor=plan.near, less_is_better=less_is_better, seed=plan.seed)
        development = _explore(bench, first, fixed, proposals, plan.n_trials, seen)
        measured = sweep_results(development)
        bars = plan.floor, plan.near, plan.finalists
        again = [t for arm in ARMS for t in pick_finalists(measured, arm, *bars, less_is_better)]
        finals = _run_off(bench, plans.finals, again, plan.floor)
        edit, steering = (choose(sweep_results(finals), arm, plan.floor, less_is_better) for arm in ARMS)
        choices = [trial for trial in (edit, steering) if trial is not None]
        held_out = bench.ask("test", plans.test, (Trial(), *choices)) if plans.test and choices else None
    stages.finish()
    return Found(plan.floor, development, held_out, edit, steering, finals)


@dataclass(frozen=True, eq=False)
class _Plans:
    """What each stage asks."""

    development: Plan
    finals: Plan
    test: Plan | None
    """None if the behaviour has no prompts that play no part in the choice."""

    def stages(self, progress: Progress | None, n_trials: int, finalists: int) -> Stages:
        return Stages(
            progress,
            development=n_trials * len(self.development.questions()),
            finals=(1 + 2 * finalists) * len(self.finals.questions()),
            test=3 * len(self.test.questions()) if self.test else 0,
        )


def _plans(development: Plan, samples: int) -> _Plans:
    whole = replace(development, n_attribute=None, n_utility=None, samples=samples if development.temperature else 1)
    finals = replace(whole, seed=development.seed + NEW_SEEDS)
    test = replace(whole, split="test", seed=development.seed + 2 * NEW_SEEDS)
    return _Plans(development, finals, _held_out_plan(test, finals))


@dataclass(frozen=True, eq=False)
class _Bench:
    """What every stage asks with."""

    loaded: LoadedModel
    extraction: Extraction
    folder: Path
    asker: Asker
    stages: Stages
    stop: threading.Event | None

    def ask(self, stage: str, plan: Plan, trials: Sequence[Trial]) -> Sweep:
        """All answers of the trials; those in the stage's file are not asked again."""
        return sweep(
            self.loaded, self.extraction, plan, trials,
            path=self.folder / f"{stage}.jsonl", asker=self.asker, progress=self.stages.of(stage), stop=self.stop,
        )  # fmt: skip


def _explore(
    bench: _Bench,
    plan: Plan,
    fixed: Sequence[Trial],
    proposals: Proposals,
    n_trials: int,
    seen: Callable[[Sweep], None] | None,
) -> Sweep:
    """Stage 1: the fixed trials, then batch after batch of proposals."""
    trials = list(fixed)
    development = bench.ask("development", plan, trials)
    for result in sweep_results(development):
        proposals.learn(result)
    while True:
        if seen is not None:
            seen(development)
        batch = proposals.ask(min(BATCH, len(fixed) + n_trials - len(trials)))
        if not batch:
            return development
        trials += batch
        development = bench.ask("development", plan, trials)
        outcomes = development.outcomes
        proposals.tell(results(development.questions, (outcomes[0], *outcomes[-len(batch) :])))


def _run_off(bench: _Bench, plan: Plan, finalists: Sequence[Trial], floor: float) -> Sweep:
    """Stage 2: the finalists, and weaker ones of every arm of which none keeps the floor."""
    trials, latest = [Trial(), *finalists], tuple(finalists)
    finals = bench.ask("finals", plan, trials)
    for _ in range(ROUNDS):
        latest = weaken_failed(latest, sweep_results(finals), floor, finals.less_is_better)
        if not latest:
            break
        trials += latest
        finals = bench.ask("finals", plan, trials)
    return finals


def _held_out_plan(test: Plan, development: Plan) -> Plan | None:
    """The test plan, or None if the behaviour has no test prompts besides those of the choice."""
    try:
        prompts = {question.row["prompt"] for question in test.questions()}
    except BehaviorError:
        return None
    return None if prompts & {question.row["prompt"] for question in development.questions()} else test


@contextmanager
def _folder(path: Path | None) -> Iterator[Path]:
    """The folder for the files, created if it does not exist; without a path a temporary one."""
    if path is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(
            f"The folder {path.name} cannot be written ({error.strerror}). Choose another folder."
        ) from error
    yield path
