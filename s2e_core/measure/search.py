"""Find a good edit within a budget, and the steering strength it has to beat, on prompts reserved for choosing.

Knows plans, sweeps and the order of the stages; which edits are asked is in `shortlist.py`, which trials enter the
run-off and which is chosen in `choosing.py`, how they are asked in `sweep.py`.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from s2e_core.data import behavior_gate_texts
from s2e_core.errors import BehaviorError, SweepError
from s2e_core.method import capture_token_inputs, extract
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.values import OUTLIERS, ActivationMeans, ContrastSet, Extraction

from .asking import Asker, ask_here
from .choosing import ARMS, adjust_strengths, choose, pick_finalists, pick_weaker
from .evaluate import stoppable
from .harmless import with_divergence
from .own_pairs import own_pairs
from .plan import Plan, Result
from .screen_file import load_screened, save_screened
from .screening import open_screen, screen_texts, split_contrast
from .search_plan import Found, SearchPlan
from .shortlist import Screened, count_measurements, pick_shortlist, screen_shapes
from .sweep import sweep, sweep_results
from .sweep_file import Sweep
from .trials import Trial, trial_key

NEW_SEEDS = 1_000_000
"""Distance between the seeds of two stages, so that no stage draws the same random numbers again."""
ROUNDS = 4
"""Most times that strengths are adjusted in the run-off."""
Adjust = Callable[[Sequence[Trial], Sequence[Result]], Sequence[Trial]]
"""From the latest finalists and all figures to what is asked next."""


def find_edit(
    loaded: LoadedModel,
    extraction: Extraction,
    plan: SearchPlan,
    *,
    path: Path | None = None,
    asker: Asker = ask_here,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Found:
    """The edit, and the steering strength, with the most attribute at the floor or more of the untouched utility.

    1. By likelihood, on better and worse answers of the model itself to development prompts (or, if its answers do not
       differ, on examples that the direction was not made from) and on harmless texts: `n_trials` edits of all families
       in rounds, the better half on more texts, at the levels of KL that steering has.
    2. Development split, `prompts` of each side, one answer each: the untouched model, the steering strengths, the
       current edit and the `shortlist` best of the screen; of those that lose too much, the most promising again at
       less strength. Here a trial may lie below the floor by one standard error of a share, since so few prompts
       cannot tell.
    3. Whole development split, `samples` answers each with new random seeds: the `finalists` of either arm, one of them
       also a little weaker, and the current edit. The best of many trials is partly lucky, and here it must be good
       again. Per arm the best is chosen whose kept utility is above the floor by one standard error, or, if there is
       none, at the floor at least; where shares of utility cannot be told, the KL on harmless texts decides (`keeps`).
       As long as it is chosen anew, an arm's choice is asked again a little stronger; if none keeps the floor, its
       finalists at less strength.
    4. Test split, of the attribute whole or `held_out` prompts, `samples` answers each with new random seeds: the
       untouched model and the two that were chosen. Nothing is chosen by these figures: they are what to report.

    Both arms pass through the same stages and rules. `asker` says who answers; `progress` counts answers, and each
    measurement of the screen as one. `path` is a folder for the files of the sweeps: a search that was stopped resumes
    from there, since the same seed gives the same screen. Raises Cancelled if `stop` is set or `progress` raises it,
    SweepError for files of another model or other random seeds, ContrastDataError if a side has too few examples to
    keep one of them for the screen.
    """
    first = plan.development()
    plans, fixed = search_plans(first, plan), plan.fixed_trials()
    stages = plans.stages(progress, plan, plan.n_asked)
    less_is_better = first.less_is_better
    with search_folder(path) as folder:
        bench = Bench(loaded, extraction, folder, asker, stages, stop)
        screened = screen_stage(bench, plan)
        development = ask_development(bench, plan, (*fixed, *pick_shortlist(screened, plan.shortlist)))
        measured = sweep_results(development)
        bars = plan.floor, plan.near, plan.finalists
        again = [t for arm in ARMS for t in pick_finalists(measured, arm, *bars, less_is_better)]
        adjust = partial(_adjust, floor=plan.floor, less_is_better=less_is_better)
        finals = run_off(bench, plans.finals, _with_current(again, plan), adjust)
        edit, steering = (choose(sweep_results(finals), arm, plan.floor, less_is_better) for arm in ARMS)
        choices = [trial for trial in (edit, steering) if trial is not None]
        held_out = bench.ask("test", plans.test, (Trial(), *choices)) if plans.test and choices else None
    stages.finish()
    return Found(plan.floor, development, held_out, edit, steering, finals, screened)


def _adjust(
    latest: Sequence[Trial], measured: Sequence[Result], *, floor: float, less_is_better: bool
) -> Sequence[Trial]:
    chosen = {arm: choose(measured, arm, floor, less_is_better) for arm in ARMS}
    return adjust_strengths(latest, measured, chosen, lambda trial: trial.arm)


def _with_current(finalists: Sequence[Trial], plan: SearchPlan) -> list[Trial]:
    current = None if plan.current is None else Trial(plan.current)
    known = {trial_key(trial) for trial in finalists}
    return [*finalists, *([current] if current is not None and trial_key(current) not in known else [])]


def screen_stage(bench: Bench, plan: SearchPlan) -> tuple[Screened, ...]:
    """Stage 1, or what its file has."""
    if not plan.n_trials:
        return ()
    path, about = bench.folder / "screen.json", _about_screen(bench, plan)
    known = load_screened(path, about, bench.loaded.spec)
    if known is not None:
        return known
    screened = _screen(bench, plan)
    try:
        save_screened(path, about, screened)
    except OSError as error:
        raise SweepError(f"The folder {path.parent.name} cannot be written ({error.strerror}). Make room.") from error
    return screened


def _about_screen(bench: Bench, plan: SearchPlan) -> dict[str, Any]:
    """What the figures of a screen depend on."""
    contrast, extraction = plan.contrast or plan.behavior.contrast, bench.extraction
    return {
        "version": 2,
        "provenance": extraction.provenance.to_json(),
        "examples": contrast.content_hash,
        "texts": behavior_gate_texts(plan.behavior).content_hash,
        "gates": extraction.token_inputs is not None,
        "outliers": extraction.outliers,
        "trials": [plan.n_trials, plan.shortlist, plan.seed],
        "number format": str(bench.loaded.dtype),
    }


def _screen(bench: Bench, plan: SearchPlan) -> tuple[Screened, ...]:
    loaded, extraction, show = bench.loaded, bench.extraction, stoppable(bench.stop, bench.stages.of("screen"))
    listen = bench.listen("screen")
    gates = extraction.token_inputs is not None
    texts = behavior_gate_texts(plan.behavior)
    if not gates:  # the reach of an edit is measured on texts, too
        extraction = replace(extraction, token_inputs=capture_token_inputs(loaded, texts, progress=listen))
    pairs, fitted = own_pairs(loaded, plan.development(), plan.seed + 3 * NEW_SEEDS, stop=bench.stop), extraction
    if pairs is None:
        pairs, fitted = _held_out_pairs(bench, plan, extraction, listen)
    against = open_screen(loaded, screen_texts(loaded, pairs, texts.probes, progress=listen))
    return screen_shapes(
        loaded, extraction, fitted, against, n_shapes=plan.n_trials, most=plan.shortlist, gates=gates, seed=plan.seed,
        progress=show,
    )  # fmt: skip


def _held_out_pairs(
    bench: Bench, plan: SearchPlan, extraction: Extraction, progress: Progress
) -> tuple[ContrastSet, Extraction]:
    """A fifth of the examples, and the extraction made without them, unless it comes from elsewhere anyway."""
    contrast = plan.contrast or plan.behavior.contrast
    fit, held_out = split_contrast(contrast)
    if extraction.provenance.contrast_hash != contrast.content_hash:
        return held_out, extraction
    outliers = extraction.means.outliers if isinstance(extraction.means, ActivationMeans) else OUTLIERS
    again = extract(bench.loaded, fit, outliers=outliers, progress=progress)
    return held_out, replace(again, token_inputs=extraction.token_inputs)


@dataclass(frozen=True, eq=False)
class SearchPlans:
    """What each stage asks."""

    development: Plan
    finals: Plan
    test: Plan | None
    """None if the behaviour has no prompts that play no part in the choice."""

    def stages(self, progress: Progress | None, plan: SearchPlan, n_asked: int) -> Stages:
        return Stages(
            progress,
            screen=count_measurements(plan.n_trials, plan.shortlist) if plan.n_trials else 0,
            development=n_asked * len(self.development.questions()),
            finals=(2 + 2 * plan.finalists) * len(self.finals.questions()),
            test=3 * len(self.test.questions()) if self.test else 0,
        )


def search_plans(development: Plan, plan: SearchPlan) -> SearchPlans:
    samples = plan.samples if development.temperature else 1
    whole = replace(development, n_attribute=None, n_utility=None, samples=samples)
    finals = replace(whole, seed=development.seed + NEW_SEEDS)
    seed = development.seed + 2 * NEW_SEEDS
    test = replace(whole, split="test", n_attribute=plan.held_out, seed=seed)
    return SearchPlans(development, finals, _held_out_plan(test, finals))


@dataclass(frozen=True, eq=False)
class Bench:
    """What every stage asks with."""

    loaded: LoadedModel
    extraction: Extraction
    folder: Path
    asker: Asker
    stages: Stages
    stop: threading.Event | None

    def ask(self, stage: str, plan: Plan, trials: Sequence[Trial]) -> Sweep:
        """All answers of the trials; those in the stage's file are not asked again, nor is their KL measured."""
        path, progress = self.folder / f"{stage}.jsonl", self.stages.of(stage)
        asked = sweep(
            self.loaded, self.extraction, plan, trials,
            path=path, asker=self.asker, progress=progress, stop=self.stop,
        )  # fmt: skip
        return with_divergence(self.loaded, self.extraction, plan.behavior, asked, path, self.listen(stage))

    def listen(self, stage: str) -> Progress:
        """A progress that hears a stop and counts no step."""
        show = stoppable(self.stop, self.stages.of(stage))
        return lambda *_: show(0, 1)


def ask_development(bench: Bench, plan: SearchPlan, trials: Sequence[Trial]) -> Sweep:
    """Stage 2, with the most promising of the edits that lose too much once more at less strength."""
    first = plan.development()
    development = bench.ask("development", first, trials)
    bars = plan.floor, plan.near, plan.n_weaker
    known = {trial_key(trial) for trial in trials}
    weaker = pick_weaker(sweep_results(development), *bars, first.less_is_better)
    new = [trial for trial in weaker if trial_key(trial) not in known]
    return bench.ask("development", first, (*trials, *new)) if new else development


def run_off(bench: Bench, plan: Plan, finalists: Sequence[Trial], adjust: Adjust) -> Sweep:
    """The finalists, and in up to ROUNDS rounds what `adjust` makes of the latest ones by the figures so far.

    No trial is asked twice: a finalist may be a weaker form of another.
    """
    trials, latest = [Trial(), *finalists], tuple(finalists)
    finals = bench.ask("finals", plan, trials)
    for _ in range(ROUNDS):
        known = {trial_key(trial) for trial in trials}
        new = {trial_key(trial): trial for trial in adjust(latest, sweep_results(finals))}
        latest = tuple(trial for key, trial in new.items() if key not in known)
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
def search_folder(path: Path | None) -> Iterator[Path]:
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
