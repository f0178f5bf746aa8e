"""Which of the measured trials deserve a second look, and which of those is the choice.

Knows figures, floors and luck; no model and no prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .estimates import Z
from .plan import Result
from .trade_off import best_within
from .trials import Arm, Trial

ARMS: tuple[Arm, Arm] = ("edit", "steering")
"""What is chosen in: the best of each is measured beside the other's."""
WEAKER = 0.85
"""Share of its strength at which a finalist that may lose too much is tried again."""


def finalists_of(
    measured: Sequence[Result], arm: Arm, floor: float, near: float, most: int, less_is_better: bool
) -> tuple[Trial, ...]:
    """Up to `most` trials of an arm that deserve a second look.

    The best down to `near`, which may keep more than it seemed, and the same a little weaker; then the best at the
    floor and the best well above it, which keeps the floor more surely; what is left is filled up from the best down
    to `near`.
    """
    left, picked = list(measured), list[Trial]()
    for bar in (near, floor, floor + (1 - floor) * 2 / 3, *[near] * most):
        place = best_within(left, arm, bar, less_is_better=less_is_better)
        if place is not None and len(picked) < most:
            picked.append(left.pop(place).trial)
            if len(picked) == 1 < most:
                picked.append(weaker(picked[0]))
    return tuple(picked)


def weaker(trial: Trial) -> Trial:
    """The same steering or edit at WEAKER of its strength."""
    if trial.settings is None:
        return Trial(gamma=round((trial.gamma or 0.0) * WEAKER, 3))
    return Trial(replace(trial.settings, strength=round(trial.settings.strength * WEAKER, 4)))


def weakened(
    latest: Sequence[Trial], measured: Sequence[Result], floor: float, less_is_better: bool
) -> tuple[Trial, ...]:
    """The latest finalists at WEAKER of their strength, those of the arms of which none keeps the floor."""
    failed = [arm for arm in ARMS if choose(measured, arm, floor, less_is_better) is None]
    return tuple(weaker(trial) for trial in latest if trial.arm in failed)


def choose(measured: Sequence[Result], arm: Arm, floor: float, less_is_better: bool) -> Trial | None:
    """The best of an arm that keeps the floor with one standard error to spare, else that keeps it at all, else None.

    A trial that is chosen for lying just above the floor lies below it on other prompts half of the time.
    """
    safe = [r for r in measured if r.kept.value - (r.kept.value - r.kept.low) / Z >= floor]
    for among in (safe, measured):
        place = best_within(among, arm, floor, less_is_better=less_is_better)
        if place is not None:
            return among[place].trial
    return None
