"""Which edits to try next: Optuna's TPE over how many heads, how many neurons and how large a change.

Knows scores, settings and the figures it is told; no model, no prompt and no file. The same seed and the same figures
give the same proposals.

Two of the dials do the same. Where tau = rho * alpha is the threshold, lambda = c * (|g| / tau - 1) with
c = strength * alpha / (1 - alpha), so that an edit is its two thresholds and one gain c. The thresholds are searched as
counts and the gain as the size of the edit relative to the weights, which mean the same for every model and behaviour.
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
"""|dW| / |W| of the proposed edits: from hardly noticed to nearly always broken."""
LEAST_ALPHA, MOST_ALPHA = 0.05, 0.95
MOST_RHO = 1.5
LEAST_STRENGTH, MOST_STRENGTH = 0.05, 3.0
"""How far the dials are turned; what would need more is not proposed."""
CONSTRAINT = "utility lost beyond the floor"
STARTUP_TRIALS = 12
"""Random proposals before TPE has seen enough to tell good from bad."""
PATIENCE = 4
"""Proposals drawn for each one that is new and changes something, before the search counts as exhausted."""


class Proposals:
    """Edits to try, chosen by what the earlier ones gave: the most attribute with at least `floor` utility kept."""

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
        """The figures of an edit that was not proposed here but is worth knowing."""
        settings = result.trial.settings
        params = None if settings is None else params_of(self._extraction, settings)
        if settings is not None and params is not None:
            self._known.add(_key(settings))
            constraints = {CONSTRAINT: self._floor - result.kept.value}
            told = optuna.trial.create_trial(
                params=params, distributions=self._space, value=result.attribute.value, constraints=constraints
            )
            self._study.add_trial(told)

    def ask(self, count: int) -> tuple[Trial, ...]:
        """Up to `count` edits that change something and were not proposed before; fewer where none are left."""
        asked: list[Trial] = []
        for _ in range(PATIENCE * count):
            if len(asked) == count:
                break
            drawn = self._study.ask(self._space)
            settings = settings_of(self._extraction, drawn.params)
            if settings is None or _key(settings) in self._known:
                self._study.tell(drawn, state=TrialState.FAIL)
                continue
            self._known.add(_key(settings))
            asked.append(Trial(settings))
            self._waiting.append((drawn, asked[-1]))
        return tuple(asked)

    def tell(self, results: Sequence[Result]) -> None:
        """The figures of what was asked, in the order of the asking; other trials among them are passed over."""
        found = {id(result.trial): result for result in results}
        for drawn, trial in self._waiting:
            result = found[id(trial)]
            drawn.set_constraint(CONSTRAINT, self._floor - result.kept.value)
            self._study.tell(drawn, result.attribute.value)
        self._waiting = []


def search_space(scores: ComponentScores) -> dict[str, BaseDistribution]:
    """What an edit is searched over; a kind that the model lacks is never switched on."""
    counts = {kind: scores.spec.n_components(kind) for kind in KINDS}
    present = [kind for kind in KINDS if counts[kind]]
    choices = ["both", *present] if len(present) > 1 else present
    numbers: dict[str, BaseDistribution] = {kind: IntDistribution(1, counts[kind], log=True) for kind in present}
    return {
        "kinds": CategoricalDistribution(choices),
        **numbers,
        "size": FloatDistribution(SMALLEST, LARGEST, log=True),
    }


def settings_of(extraction: Extraction, params: Mapping[str, Any]) -> EditSettings | None:
    """The dials at which so many of the strongest components pass and |dW| / |W| is `size`.

    Strength is 1 where that needs no alpha or rho out of reach. None where nothing passes, or where the size would need
    a strength out of reach.
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
    pure = gain / (1 + gain)  # the alpha at which the gain needs no strength
    alpha = _rounded(min(MOST_ALPHA, max(least, pure)))
    wanted = {kind: _rounded(rho * half / alpha) for kind, rho in rhos.items()}
    strength = 1.0 if least <= pure <= MOST_ALPHA else _rounded(gain * (1 - alpha) / alpha)
    if not LEAST_STRENGTH <= strength <= MOST_STRENGTH:
        return None
    return EditSettings(wanted.get("heads"), wanted.get("neurons"), alpha, strength=strength)


def params_of(extraction: Extraction, settings: EditSettings) -> dict[str, Any] | None:
    """Where an edit lies in the search space, as near as the space allows; None where it changes nothing."""
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


def _rounded(value: float) -> float:
    """Four digits: what a person can type, and near enough."""
    return float(f"{value:.4g}")


def _key(settings: EditSettings) -> tuple[float | None, ...]:
    return settings.rho_attn, settings.rho_mlp, settings.alpha, settings.strength
