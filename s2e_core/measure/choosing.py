"""Which of the measured trials enter the run-off, and which of those is the choice.

Knows figures, floors and luck; no model and no prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from .estimates import Z
from .plan import Result
from .shapes import scaled
from .trade_off import best_within
from .trials import Arm, Trial

ARMS: tuple[Arm, Arm] = ("edit", "steering")
"""Arms in which the best is chosen, each to be compared with the other."""
WEAKER = 0.85
"""Factor on the strength at which a finalist that may lose too much is tried again."""
BACK_OFF = (0.7, 0.5)
"""Factors at which an edit that lost too much is tried again before the run-off."""
STRONGER = 1.15
"""Factor at which the best finalist is tried as well: the strengths that were tried are far apart."""


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
        finalists = [scale_trial(max(mine, key=lambda r: r.kept.value).trial, BACK_OFF[-1])] if mine else []
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
        return sign * (result.attribute.value - untouched) / (floor - result.kept.value)

    best = dict[str, Result]()
    for result in measured:
        if result.trial.settings is None or result.kept.value >= near or worth(result) <= 0:
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
    latest: Sequence[Trial], measured: Sequence[Result], floor: float, less_is_better: bool
) -> tuple[Trial, ...]:
    """What the run-off asks next: of every arm the choice a little stronger, or without one the latest ones weaker."""
    chosen = {arm: choose(measured, arm, floor, less_is_better) for arm in ARMS}
    weaker = [scale_trial(trial, WEAKER) for trial in latest if trial.arm in chosen and chosen[trial.arm] is None]
    return (*weaker, *(scale_trial(choice, STRONGER) for choice in chosen.values() if choice is not None))


def keeps_safely(result: Result, floor: float) -> bool:
    """Whether the kept utility is above the floor by one standard error."""
    return result.kept.value - (result.kept.value - result.kept.low) / Z >= floor


def choose(measured: Sequence[Result], arm: Arm, floor: float, less_is_better: bool) -> Trial | None:
    """The best of an arm that keeps the floor by one standard error, else the best that keeps it at all, else None.

    A trial that is chosen for lying just above the floor lies below it on other prompts half of the time.
    """
    safe = [result for result in measured if keeps_safely(result, floor)]
    for among in (safe, measured):
        place = best_within(among, arm, floor, less_is_better=less_is_better)
        if place is not None:
            return among[place].trial
    return None
