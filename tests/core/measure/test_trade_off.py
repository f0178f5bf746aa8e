"""Which trial is best: against brute force over random figures, with ties and in both directions."""

from __future__ import annotations

import random

import pytest

from s2e_core import EditSettings
from s2e_core.measure import Estimate, Result, Trial, best_within, pareto_front

EDIT, STEERING, ORIGINAL = Trial(EditSettings(0.3, 0.3, 0.5)), Trial(gamma=0.5), Trial()


def figure(value):
    return Estimate(value, value - 0.1, value + 0.1, 10)


def result(attribute, kept, trial=EDIT, empty=0.0):
    plain = figure(0.5)
    return Result(trial, figure(attribute), plain, figure(kept), plain, {"empty": figure(empty)}, {}, {})


def random_results(seed, count=25):
    """Figures of few different values, so that many are tied."""
    dice = random.Random(seed)
    arms = (EDIT, EDIT, STEERING, ORIGINAL)
    return [result(dice.randint(0, 6) / 6, dice.randint(0, 6) / 6, dice.choice(arms)) for _ in range(count)]


def gain(one, less_is_better):
    return -one.attribute.value if less_is_better else one.attribute.value


@pytest.mark.parametrize("less_is_better", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_the_front_holds_exactly_the_trials_that_nobody_beats(seed, less_is_better):
    found = random_results(seed)
    expected = set()
    for n, one in enumerate(found):
        beaten = False
        for other in found:
            better_attribute = gain(other, less_is_better) > gain(one, less_is_better)
            same_attribute = gain(other, less_is_better) == gain(one, less_is_better)
            better_kept = other.kept.value > one.kept.value
            same_kept = other.kept.value == one.kept.value
            beaten |= (better_attribute and (better_kept or same_kept)) or (same_attribute and better_kept)
        if not beaten:
            expected.add(n)
    front = pareto_front(found, less_is_better=less_is_better)
    assert set(front) == expected
    assert [found[n].kept.value for n in front] == sorted(found[n].kept.value for n in front)


def test_along_the_front_more_utility_is_paid_with_less_of_the_attribute():
    found = random_results(3)
    points = [(found[n].kept.value, found[n].attribute.value) for n in pareto_front(found, less_is_better=False)]
    assert all(a <= b and x >= y for (a, x), (b, y) in zip(points, points[1:], strict=False))


@pytest.mark.parametrize("less_is_better", [False, True])
@pytest.mark.parametrize("arm", ["edit", "steering", "original"])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_within_a_floor_is_the_best_of_its_arm_that_keeps_enough(seed, arm, less_is_better):
    found = random_results(seed)
    for floor in (0.0, 0.5, 0.97, 1.0):
        allowed = [one for one in found if one.trial.arm == arm and one.kept.value >= floor]
        best = best_within(found, arm, floor, less_is_better=less_is_better)
        if not allowed:
            assert best is None
            continue
        assert found[best] in allowed
        top = max(gain(one, less_is_better) for one in allowed)
        assert gain(found[best], less_is_better) == top
        assert found[best].kept.value == max(one.kept.value for one in allowed if gain(one, less_is_better) == top)


def test_nothing_is_best_where_nothing_keeps_enough_or_was_tried():
    assert best_within([result(0.9, 0.5)], "edit", 0.97, less_is_better=False) is None
    assert best_within([], "edit", 0.0, less_is_better=False) is None
    assert pareto_front([], less_is_better=False) == ()


def test_silence_is_not_the_shortest_answer():
    silent, brief, long = result(2.0, 1.0, empty=0.5), result(40.0, 1.0, empty=0.02), result(60.0, 1.0)
    assert best_within([silent, brief, long], "edit", 0.97, less_is_better=True) == 1
    assert best_within([silent], "edit", 0.97, less_is_better=True) is None
    assert best_within([silent], "edit", 0.5, less_is_better=True) == 0
    assert best_within([silent, brief, long], "edit", 0.97, less_is_better=False) == 2
