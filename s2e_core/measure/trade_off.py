"""Attribute against utility: which trials no other beats on both, and which is best if little utility may be lost.

Knows figures only.
"""

from __future__ import annotations

from collections.abc import Sequence

from .keeping import keeps
from .plan import Result
from .trials import Arm


def pareto_front(results: Sequence[Result], *, less_is_better: bool) -> tuple[int, ...]:
    """Indices of the trials that no other beats in attribute without losing utility, by rising utility."""
    front = [n for n, result in enumerate(results) if not any(_beats(o, result, less_is_better) for o in results)]
    return tuple(sorted(front, key=lambda n: results[n].kept.value))


def best_within(results: Sequence[Result], arm: Arm, floor: float, *, less_is_better: bool) -> int | None:
    """Index of the best trial of an arm that keeps `floor` of the utility by the rule of `keeps`, or None.

    If less is better, silence would be best, so at most `1 - floor` of the answers may be empty.
    """
    allowed = [n for n, result in enumerate(results) if result.trial.arm == arm and keeps(result, floor)]
    if less_is_better:
        allowed = [n for n in allowed if results[n].flaws["empty"].value <= 1 - floor]
    return max(allowed, key=lambda n: (_gain(results[n], less_is_better), results[n].kept.value), default=None)


def _gain(result: Result, less_is_better: bool) -> float:
    return -result.attribute.value if less_is_better else result.attribute.value


def _beats(one: Result, other: Result, less_is_better: bool) -> bool:
    """At least as good on both sides, and better on one."""
    gains = _gain(one, less_is_better), _gain(other, less_is_better)
    kept = one.kept.value, other.kept.value
    return gains[0] >= gains[1] and kept[0] >= kept[1] and (gains[0] > gains[1] or kept[0] > kept[1])
