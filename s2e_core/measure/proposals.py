"""Which edits to try next: Optuna's TPE over how many heads, how many neurons and how large a change.

Knows scores, settings and the figures of earlier trials; no model, no prompt and no file. The same seed and the same
figures give the same proposals.

Two of the dials do the same: with the threshold tau = rho * alpha, lambda = c * (|g| / tau - 1) for
c = strength * alpha / (1 - alpha), so an edit is its two thresholds and one gain c. The search proposes the thresholds
as counts and the gain as the size of the edit relative to the weights: both mean the same for every model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from s2e_core.method import build_edit, rho_for_count, summarize
from s2e_core.settings import EditSettings
from s2e_core.spec import KINDS, Kind
from s2e_core.values import ComponentScores, Extraction

from .plan import Result
from .trials import Trial

SMALLEST, LARGEST = 0.02, 0.3
"""Range of |dW| / |W| of the proposed edits: from hardly noticed to nearly always broken."""
LEAST_ALPHA, MOST_ALPHA = 0.05, 0.95
MOST_RHO = 1.5
LEAST_STRENGTH, MOST_STRENGTH = 0.05, 3.0
"""Range of the dials; an edit that needs more is not proposed."""
CONSTRAINT = "utility lost beyond the floor"
STARTUP_TRIALS = 12
"""Number of random proposals before TPE can distinguish good from bad."""
PATIENCE = 4
"""Number of draws per requested proposal before the search counts as exhausted."""


class Proposals:
    """Edits to try, chosen by the figures of earlier ones: the most attribute with at least `floor` utility kept."""

    def __init__(
        self,
        extraction: Extraction,
        *,
        floor: float,
        less_is_better: bool,
        seed: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        direction: Literal["minimize", "maximize"] = "minimize" if less_is_better else "maximize"
        self._study = optuna.create_study(sampler=sampler, direction=direction)
        self._extraction, self._floor = extraction, floor
        self._space = search_space(extraction.scores)
        self._known: set[tuple[float | None, ...]] = set()
        self._waiting: list[tuple[optuna.Trial, Trial]] = []

    def learn(self, result: Result) -> None:
        """Take the figures of an edit that was not proposed here into account."""
        settings = result.trial.settings
        params = None if settings is None else settings_to_params(self._extraction, settings)
        if settings is not None and params is not None:
            self._known.add(_key(settings))
            constraints = {CONSTRAINT: self._floor - result.kept.value}
            study_trial = optuna.trial.create_trial(
                params=params, distributions=self._space, value=result.attribute.value, constraints=constraints
            )
            self._study.add_trial(study_trial)

    def ask(self, count: int) -> tuple[Trial, ...]:
        """Up to `count` edits that change something and were not proposed before; fewer if there are no more."""
        trials: list[Trial] = []
        for _ in range(PATIENCE * count):
            if len(trials) == count:
                break
            draw = self._study.ask(self._space)
            settings = params_to_settings(self._extraction, draw.params)
            if settings is None or _key(settings) in self._known:
                self._study.tell(draw, state=TrialState.FAIL)
                continue
            self._known.add(_key(settings))
            trials.append(Trial(settings))
            self._waiting.append((draw, trials[-1]))
        return tuple(trials)

    def tell(self, results: Sequence[Result]) -> None:
        """The figures of all trials of the last `ask`, in any order; other trials among them are ignored."""
        result_of = {id(result.trial): result for result in results}
        for draw, trial in self._waiting:
            result = result_of[id(trial)]
            draw.set_constraint(CONSTRAINT, self._floor - result.kept.value)
            self._study.tell(draw, result.attribute.value)
        self._waiting = []


def search_space(scores: ComponentScores) -> dict[str, BaseDistribution]:
    """The space that is searched; a kind that the model does not have is never switched on."""
    counts = {kind: scores.spec.n_components(kind) for kind in KINDS}
    present = [kind for kind in KINDS if counts[kind]]
    choices = ["both", *present] if len(present) > 1 else present
    numbers: dict[str, BaseDistribution] = {kind: IntDistribution(1, counts[kind], log=True) for kind in present}
    return {
        "kinds": CategoricalDistribution(choices),
        **numbers,
        "size": FloatDistribution(SMALLEST, LARGEST, log=True),
    }


def params_to_settings(extraction: Extraction, params: Mapping[str, Any]) -> EditSettings | None:
    """The dials at which `heads` and `neurons` of the strongest components pass and |dW| / |W| is `size`.

    Strength is 1 if alpha and rho stay in their range with it. None if nothing passes, or if the size needs a strength
    out of range.
    """
    half = 0.5  # at this alpha the gain c is 1, and rho is twice the threshold
    scores = extraction.scores
    rhos = {kind: rho_for_count(scores, kind, int(params[kind]), half) for kind in _kinds(params["kinds"])}
    unit = EditSettings(rhos.get("heads"), rhos.get("neurons"), half)
    size = summarize(scores, build_edit(extraction, unit)).relative_size
    if not size:
        return None
    gain = float(params["size"]) / size
    least = max(LEAST_ALPHA, max(rhos.values()) * half / MOST_RHO)
    pure = gain / (1 + gain)  # the alpha that gives the gain with strength 1
    alpha = _round(min(MOST_ALPHA, max(least, pure)))
    rhos = {kind: _round(rho * half / alpha) for kind, rho in rhos.items()}
    strength = 1.0 if least <= pure <= MOST_ALPHA else _round(gain * (1 - alpha) / alpha)
    if not LEAST_STRENGTH <= strength <= MOST_STRENGTH:
        return None
    return EditSettings(rhos.get("heads"), rhos.get("neurons"), alpha, strength=strength)


def settings_to_params(extraction: Extraction, settings: EditSettings) -> dict[str, Any] | None:
    """The point of the search space that is nearest to an edit; None if the edit changes nothing."""
    edit = build_edit(extraction, settings)
    counts = {kind: edit.count(kind) for kind in KINDS}
    on = [kind for kind in KINDS if counts[kind]]
    if not on:
        return None
    present = [kind for kind in KINDS if extraction.spec.n_components(kind)]
    size = min(LARGEST, max(SMALLEST, summarize(extraction.scores, edit).relative_size))
    return {
        "kinds": on[0] if len(on) == 1 else "both",
        **{kind: max(1, counts[kind]) for kind in present},
        "size": size,
    }


def _kinds(choice: str) -> tuple[Kind, ...]:
    return tuple(kind for kind in KINDS if choice in ("both", kind))


def _round(value: float) -> float:
    """Four digits: near enough, and short enough to type."""
    return float(f"{value:.4g}")


def _key(settings: EditSettings) -> tuple[float | None, ...]:
    return settings.rho_attn, settings.rho_mlp, settings.alpha, settings.strength
