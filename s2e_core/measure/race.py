"""The race: every way to get a behaviour, chosen by the same rules and measured on the same held-out prompts.

Arms are the untouched model, a system prompt, steering, each family of edits, and a placebo. Knows the order of the
stages; how edits are screened, asked and measured is in `search.py`, `choosing.py` and `evaluate.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from s2e_core.errors import SettingsError
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages, in_steps
from s2e_core.values import ComponentScores, Edited, Extraction, Original, Prompted, Steered, Variant, WeightEdit

from .asking import Asker, ask_here
from .choosing import adjust_strengths, choose, pick_finalists
from .damage import next_token_kl
from .estimates import Estimate
from .evaluate import evaluate, neutral_answers, stoppable
from .evaluation import Evaluation
from .keeping import by_utility
from .matching import steering_at_kl
from .plan import Plan, Result
from .ranks import RankCorrelation, kl_ranks, margin_ranks
from .search import Bench, SearchPlans, ask_development, run_off, screen_stage, search_folder, search_plans
from .search_plan import SearchPlan
from .shapes import SHARES
from .shortlist import Screened, count_measurements, pick_shortlist
from .sweep import sweep_results
from .sweep_file import Sweep
from .trials import Arm, Trial, trial_variant

STEERING_ARM, PROMPT_ARM, PLACEBO_ARM = "steering", "system prompt", "placebo"
MATCHED_ARM = "steering at the edit's KL"
"""Steering as strong as the best edit by its KL on held-out harmless texts. Only measured if the KL decides."""
TEST_STEPS = 1000
"""Steps of the last stage in the progress of a race."""
GROUPS = (STEERING_ARM, *SHARES)
"""Arms within which the best is chosen: steering, and every family of edits."""


@dataclass(frozen=True, eq=False)
class Race:
    """The figures of all arms on held-out prompts, with what they rest on."""

    floor: float
    """Share of the untouched model's utility that every choice keeps on development prompts."""
    chosen: Mapping[str, Trial | None]
    """The choice of every group; None if nothing keeps the floor."""
    best: str | None
    """The family of the best edit by the run-off; None if no edit keeps the floor."""
    screened: tuple[Screened, ...]
    development: Sweep
    """The shortlist and steering on development prompts."""
    finals: Sweep
    """The run-off, by which everything is chosen."""
    arms: Mapping[str, Evaluation]
    """Every figure on held-out prompts, by arm; "original" first."""

    @property
    def lead(self) -> Estimate | None:
        """Attribute of the best edit minus that of steering, prompt by prompt; None unless there are both."""
        if self.best is None or STEERING_ARM not in self.arms:
            return None
        return self.arms[self.best].against[STEERING_ARM]

    @property
    def lead_at_kl(self) -> Estimate | None:
        """Attribute of the best edit minus that of steering with the same KL; None if there is no such steering."""
        if self.best is None or MATCHED_ARM not in self.arms:
            return None
        return self.arms[self.best].against[MATCHED_ARM]

    @property
    def rank_correlation(self) -> RankCorrelation:
        """Screened margin with sampled attribute, over the asked edits that keep the floor; 1 is the same order."""
        results = sweep_results(self.development)
        return margin_ranks(self.screened, results, self.floor, self.development.less_is_better)

    @property
    def kl_rank_correlation(self) -> RankCorrelation:
        """Screened KL with kept utility, over all asked edits; -1 if more KL always costs more utility."""
        return kl_ranks(self.screened, sweep_results(self.development))


def run_race(
    loaded: LoadedModel,
    extraction: Extraction,
    plan: SearchPlan,
    *,
    path: Path | None = None,
    n_neutral: int | None = 60,
    asker: Asker = ask_here,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Race:
    """Screen, ask and choose within every group as `find_edit` does, then measure all arms on the whole test split.

    `n_neutral` is that of `evaluate`. The placebo is the best edit with its strengths moved to random components of the
    same kind. `path` is a folder for the files of the sweeps, from which a stopped race resumes. Raises SettingsError
    if the behaviour has no held-out prompts, Cancelled if `stop` is set or `progress` raises it.
    """
    first = plan.development()
    plans = search_plans(first, plan)
    require_test_plan(plan)
    stages = _stages(progress, plan, plans)
    with search_folder(path) as folder:
        bench = Bench(loaded, extraction, folder, asker, stages, stop)
        screened = screen_stage(bench, plan)
        shortlist = pick_shortlist(screened, plan.shortlist, by_family=True)
        development = ask_development(bench, plan, (*plan.fixed_trials(), *shortlist))
        finalists = _finalists(sweep_results(development), plan, first.less_is_better)
        adjust = partial(_adjust, floor=plan.floor, less_is_better=first.less_is_better)
        finals = run_off(bench, plans.finals, finalists, adjust)
    results = sweep_results(finals)
    chosen = {group: _choose(results, group, plan.floor, finals.less_is_better) for group in GROUPS}
    best = choose(results, "edit", plan.floor, finals.less_is_better)
    by_kl = not all(by_utility(result) for result in results)
    arms = measure_arms(
        loaded,
        extraction,
        plan,
        chosen,
        best,
        match=by_kl,
        n_neutral=n_neutral,
        progress=in_steps(stages.of("test"), TEST_STEPS),
        stop=stop,
    )
    stages.finish()
    return Race(plan.floor, chosen, None if best is None else group_of(best), screened, development, finals, arms)


def measure_arms(
    loaded: LoadedModel,
    extraction: Extraction,
    plan: SearchPlan,
    chosen: Mapping[str, Trial | None],
    best: Trial | None,
    *,
    match: bool,
    n_neutral: int | None = 60,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> dict[str, Evaluation]:
    """The last stage of a race alone: every figure of all arms on held-out prompts, by arm, "original" first.

    With `match` there is also steering as strong as the best edit by its KL on harmless texts of these prompts, so that
    the two can be compared at equal divergence. `n_neutral` is that of `evaluate`.
    """
    test, names = require_test_plan(plan), ("neutral", "match", "arms")
    stages = Stages(progress, **dict.fromkeys(names, TEST_STEPS))
    shown = {name: in_steps(stages.of(name), TEST_STEPS) for name in names}
    neutral = neutral_answers(loaded, test, n_neutral, progress=shown["neutral"], stop=stop)
    variants = race_variants(extraction, plan, chosen, best)
    if match and best is not None:
        watch = stoppable(stop, shown["match"])
        (divergence,) = next_token_kl(loaded, [trial_variant(best, extraction)], neutral, progress=watch)
        gamma = steering_at_kl(loaded, extraction.directions, divergence.value, neutral, progress=watch)
        if gamma is not None:
            variants[MATCHED_ARM] = Steered(extraction.directions, gamma)
    arms, labels = list(variants.values()), list(variants)
    figures = evaluate(loaded, test, arms, labels=labels, neutral=neutral, progress=shown["arms"], stop=stop)
    stages.finish()
    return {evaluation.label: evaluation for evaluation in figures}


def require_test_plan(plan: SearchPlan) -> Plan:
    """What the last stage asks. Raises SettingsError if the behaviour has no held-out prompts."""
    test = search_plans(plan.development(), plan).test
    if test is None:
        raise SettingsError(f"{plan.behavior.name} has no held-out prompts (split test), which a race needs. Add some.")
    return test


def _stages(progress: Progress | None, plan: SearchPlan, plans: SearchPlans) -> Stages:
    return Stages(
        progress,
        screen=count_measurements(plan.n_trials, plan.shortlist) if plan.n_trials else 0,
        development=plan.n_asked * len(plans.development.questions()),
        finals=(1 + plan.finalists * len(GROUPS)) * len(plans.finals.questions()),
        test=TEST_STEPS,
    )


def race_variants(
    extraction: Extraction, plan: SearchPlan, chosen: Mapping[str, Trial | None], best: Trial | None
) -> dict[str, Variant]:
    """What runs under the name of every arm."""
    variants: dict[str, Variant] = {"original": Original()}
    if plan.behavior.system_prompt:
        variants[PROMPT_ARM] = Prompted(plan.behavior.system_prompt)
    variants |= {group: trial_variant(trial, extraction) for group, trial in chosen.items() if trial is not None}
    if best is not None:
        edit = trial_variant(best, extraction)
        if isinstance(edit, Edited):
            variants[PLACEBO_ARM] = Edited(placebo(edit.edit, extraction.scores, plan.seed))
    return variants


def placebo(edit: WeightEdit, scores: ComponentScores, seed: int) -> WeightEdit:
    """An edit of as many heads and neurons, with the same strengths, but of random components along their own keys."""
    generator = torch.Generator().manual_seed(seed)
    strengths = list(edit.strength)
    for kind in ("heads", "neurons"):
        sites = [i for i, site in enumerate(edit.spec.sites) if site.kind == kind]
        if not sites:
            continue
        values = torch.cat([edit.strength[i] for i in sites])
        shuffled = values[torch.randperm(len(values), generator=generator)]
        parts = shuffled.split([len(edit.strength[i]) for i in sites])
        for i, part in zip(sites, parts, strict=True):
            strengths[i] = part
    right = tuple((s.unsqueeze(1) * keys).flatten() for s, keys in zip(strengths, scores.keys, strict=True))
    return replace(edit, right=right, strength=tuple(strengths))


def group_of(trial: Trial) -> str:
    """The group of a trial: its family, or steering."""
    return STEERING_ARM if trial.settings is None else trial.settings.family


def _arm(group: str) -> Arm:
    return "steering" if group == STEERING_ARM else "edit"


def _inside(results: Iterable[Result], group: str) -> list[Result]:
    return [r for r in results if r.trial.arm in ("edit", "steering") and group_of(r.trial) == group]


def _choose(results: Sequence[Result], group: str, floor: float, less_is_better: bool) -> Trial | None:
    return choose(_inside(results, group), _arm(group), floor, less_is_better)


def _finalists(measured: Sequence[Result], plan: SearchPlan, less_is_better: bool) -> list[Trial]:
    bars = plan.floor, plan.near, plan.finalists
    return [
        trial
        for group in GROUPS
        for trial in pick_finalists(_inside(measured, group), _arm(group), *bars, less_is_better)
    ]


def _adjust(
    latest: Sequence[Trial], measured: Sequence[Result], *, floor: float, less_is_better: bool
) -> Sequence[Trial]:
    chosen = {group: _choose(measured, group, floor, less_is_better) for group in GROUPS}
    return adjust_strengths(latest, measured, chosen, group_of)
