"""Which of the measured trials enter the run-off, and which of those is the choice.

Knows figures, floors and luck; no model and no prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from .keeping import by_utility, divergence, keeps, keeps_safely, loss
from .matching import strength_factor
from .plan import Result
from .shapes import scaled
from .suggest import KL_BOUND
from .trade_off import best_within
from .trials import Arm, Trial, trial_key

ARMS: tuple[Arm, Arm] = ("edit", "steering")
"""Arms in which the best is chosen, each to be compared with the other."""
WEAKER = 0.85
"""Factor on the strength at which a finalist that may lose too much is tried again."""
BACK_OFF = (0.7, 0.5)
"""Factors at which an edit that lost too much is tried again before the run-off."""
STRONGER = 1.15
"""Factor at which the best finalist is tried as well: the strengths that were tried are far apart."""
AIM = 0.9
"""Share of the bound of KL that a strength is brought to where the KL decides."""
LEAST_STEP = 1.05
"""Factor on a strength below which it is not worth another measurement."""
Group = TypeVar("Group", bound=Hashable)


def pick_finalists(
    measured: Sequence[Result], arm: Arm, floor: float, near: float, most: int, less_is_better: bool
) -> tuple[Trial, ...]:
    """Up to `most` trials of an arm for the run-off.

    They are the best down to `near`, which may keep more than it seems to, the same a little weaker and a little
    stronger; then the best at the floor and the best well above it, which keeps the floor more surely; then the next
    best down to `near`. If none comes near, it is the one that keeps most, at half its strength.
    """
    rest, finalists = list(measured), list[Trial]()
    for bar in (near, floor, floor + (1 - floor) * 2 / 3, *[near] * most):
        place = best_within(rest, arm, bar, less_is_better=less_is_better)
        if place is not None and len(finalists) < most:
            finalists.append(rest.pop(place).trial)
            if len(finalists) == 1 < most:
                finalists.append(scale_trial(finalists[0], WEAKER))
            if len(finalists) == 2 < most:
                finalists.append(scale_trial(finalists[0], STRONGER))
    if not finalists:
        mine = [result for result in measured if result.trial.arm == arm]
        finalists = [scale_trial(min(mine, key=lambda r: loss(r, floor)).trial, BACK_OFF[-1])] if mine else []
    return tuple(finalists)


def pick_weaker(
    measured: Sequence[Result], floor: float, near: float, most: int, less_is_better: bool
) -> tuple[Trial, ...]:
    """Up to `most` edits that lost too much, weaker: they may keep the floor and still have gained enough.

    For every family it is the one with the largest gain for what it lost, at each of BACK_OFF of its strength.
    """
    untouched = next(result for result in measured if result.trial.arm == "original").attribute.value
    sign = -1 if less_is_better else 1

    def worth(result: Result) -> float:
        return sign * (result.attribute.value - untouched) / loss(result, floor)

    best = dict[str, Result]()
    for result in measured:
        if result.trial.settings is None or keeps(result, near) or loss(result, floor) <= 0 or worth(result) <= 0:
            continue
        known = best.get(result.trial.settings.family)
        if known is None or worth(result) > worth(known):
            best[result.trial.settings.family] = result
    ranked = sorted(best.values(), key=worth, reverse=True)
    return tuple(scale_trial(result.trial, factor) for factor in BACK_OFF for result in ranked)[:most]


def scale_trial(trial: Trial, factor: float) -> Trial:
    """The same steering or edit at `factor` times its strength."""
    if trial.settings is None:
        return Trial(gamma=round((trial.gamma or 0.0) * factor, 3))
    return Trial(scaled(trial.settings, factor))


def adjust_strengths(
    latest: Sequence[Trial],
    measured: Sequence[Result],
    chosen: Mapping[Group, Trial | None],
    group_of: Callable[[Trial], Group],
) -> tuple[Trial, ...]:
    """What the run-off asks next: of every group the choice a little stronger, or without one the latest ones weaker.

    Where the KL decides, the choice and what exceeds the bound are brought near it.
    """
    known = {trial_key(result.trial): result for result in measured}
    weaker = [trial for trial in latest if group_of(trial) in chosen]
    factors = [(trial, _weaker(known[trial_key(trial)], chosen[group_of(trial)] is None)) for trial in weaker]
    factors += [(choice, _stronger(known[trial_key(choice)])) for choice in chosen.values() if choice is not None]
    return tuple(scale_trial(trial, factor) for trial, factor in factors if factor != 1)


def _weaker(result: Result, is_needed: bool) -> float:
    """Factor on the strength of a finalist that may lose too much; 1 if it is not asked again."""
    if not by_utility(result) and divergence(result) > KL_BOUND:
        return _to_bound(result)
    return WEAKER if is_needed else 1.0


def _stronger(result: Result) -> float:
    """Factor on the strength of a choice; 1 if it is near the bound."""
    if by_utility(result):
        return STRONGER
    factor = _to_bound(result)
    return factor if factor >= LEAST_STEP else 1.0


def _to_bound(result: Result) -> float:
    """The factor that should bring the KL near the bound."""
    return strength_factor(AIM * KL_BOUND, divergence(result))


def choose(measured: Sequence[Result], arm: Arm, floor: float, less_is_better: bool) -> Trial | None:
    """The best of an arm that keeps the floor safely, else the best that keeps it at all, else None.

    A trial that is chosen for lying just above the floor lies below it on other prompts half of the time.
    """
    safe = [result for result in measured if keeps_safely(result, floor)]
    for among in (safe, measured):
        place = best_within(among, arm, floor, less_is_better=less_is_better)
        if place is not None:
            return among[place].trial
    return None
