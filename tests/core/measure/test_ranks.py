"""Rank correlations by hand, and which edits of a race enter them."""

import random
from dataclasses import replace

import pytest

from s2e_core import EditSettings, load_behavior
from s2e_core.measure import (
    Answer,
    Estimate,
    Likelihood,
    Outcome,
    Plan,
    Race,
    Screened,
    Trial,
    spearman,
    spearman_interval,
    trial_key,
)
from s2e_core.measure.sweep_file import Sweep


def test_the_rank_correlation_of_five_pairs_by_hand():
    # Ranks 1 2 3 4 5 and 2 1 4 3 5: rho = 1 - 6 (1 + 1 + 1 + 1 + 0) / (5 * 24) = 0.8.
    assert spearman([1, 2, 3, 40, 500], [0.2, 0.1, 0.4, 0.3, 9]) == pytest.approx(0.8)
    assert spearman([1, 2, 3], [1, 8, 27]) == pytest.approx(1) and spearman([1, 2, 3], [3, 2, -1]) == pytest.approx(-1)


def test_equal_values_share_the_mean_of_their_ranks():
    # Ranks 1 2.5 2.5 4 and 1 2 3 4: covariance 4.5, squares 4.5 and 5, so rho = 4.5 / sqrt(4.5 * 5).
    assert spearman([10, 20, 20, 30], [1, 2, 3, 4]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


@pytest.mark.parametrize(
    ("a", "b"), [([1], [2]), ([1, 2], [1, 2, 3]), ([1, 1], [1, 2]), ([1, float("inf")], [1, 2]), ([], [])]
)
def test_pairs_without_a_rank_correlation_are_refused(a, b):
    with pytest.raises(ValueError):
        spearman(a, b)


# the race: edit n of five has these figures, the last two as numbers of answers that say "yes"

MARGINS, KLS = (0.1, 0.2, 0.3, 0.4, 0.5), (0.01, 0.02, 0.03, 0.04, 0.05)
ATTRIBUTE, UTILITY = (1, 3, 2, 4, 0), (4, 4, 4, 4, 1)


def likelihood(margin, kl):
    return Likelihood(*(Estimate(value, value, value, 4) for value in (margin, margin, kl)))


def edit(n):
    return Trial(EditSettings(0.1 * (n + 1), None, 0.5))


def screened():
    edits = [Screened(edit(n), likelihood(MARGINS[n], KLS[n]), 0) for n in range(5)]
    never_asked = Screened(Trial(EditSettings(0.9, 0.9, 0.9)), likelihood(9, 9), 0)
    return (Screened(Trial(gamma=0.4), likelihood(0.9, 0.9)), never_asked, *edits)


def answered(trial, attribute, utility):
    """A trial that answers so many of four prompts of each side with yes."""
    texts = ["yes" if n < count else "perhaps" for count in (attribute, utility) for n in range(4)]
    return Outcome(trial, tuple(Answer(text, 1) for text in texts))


def race(kind="source"):
    rows = tuple({"prompt": f"Is it day {n}?", "kind": "source", "phrases": ["yes"]} for n in range(4))
    attribute = rows if kind == "source" else tuple({**row, "kind": kind} for row in rows)
    plan = Plan(replace(load_behavior("tone"), attribute=attribute, utility=rows))
    edits = [answered(edit(n), ATTRIBUTE[n], UTILITY[n]) for n in range(5)]
    outcomes = (answered(Trial(), 1, 4), answered(Trial(gamma=0.4), 4, 2), *edits)
    if kind == "length":
        outcomes = tuple(
            replace(o, answers=tuple(Answer(a.text, 1 + a.text.count("yes")) for a in o.answers)) for o in outcomes
        )
    sweep = Sweep(
        "mood", "Mood", "development", 1, 1.0, 0, 9, plan.less_is_better, "float32", None, plan.questions(), outcomes
    )
    return Race(0.97, {}, None, screened(), sweep, sweep, {})


def test_the_margin_is_compared_over_the_asked_edits_that_keep_the_floor():
    found = race().rank_correlation  # ranks 1 2 3 4 and 1 3 2 4; the fifth edit keeps a quarter of the utility
    assert found.count == 4 and found.value == pytest.approx(0.8)


def test_where_the_divergence_decides_those_within_its_bound_are_compared(monkeypatch):
    monkeypatch.setattr("s2e_core.measure.plan.MOST_ERROR", -1.0)  # as if hardly any utility prompt were answered
    made = race()
    kl = {trial_key(edit(n)): Estimate(value, value, value, 4) for n, value in enumerate((0.01, 0.2, 0.03, 0.05, 0.06))}
    found = replace(made, development=replace(made.development, kl=kl)).rank_correlation
    assert found.count == 3 and found.value == pytest.approx(1.0)  # edits 0, 2 and 3: attribute 1, 2 and 4


def test_fewer_tokens_count_as_more_attribute():
    assert race("length").rank_correlation.value == pytest.approx(-0.8)


def test_the_kl_is_compared_over_all_asked_edits():
    found = race().kl_rank_correlation  # ranks 1 2 3 4 5 and 3.5 3.5 3.5 3.5 1
    assert found.count == 5 and found.value == pytest.approx(-5 / (10 * 5) ** 0.5)


def test_too_few_pairs_and_equal_values_have_none():
    made = race()
    few = replace(made, screened=made.screened[:4])
    assert few.rank_correlation.count == few.kl_rank_correlation.count == 2
    assert few.rank_correlation.value is None and few.kl_rank_correlation.value is None
    equal = replace(made, screened=made.screened[:6])
    assert equal.kl_rank_correlation.value is None and equal.rank_correlation.value == pytest.approx(0.8)
    assert replace(made, screened=()).rank_correlation.count == 0


def test_the_interval_of_a_rank_correlation_contains_it_and_narrows_with_pairs():
    rng = random.Random(1)
    a = [rng.random() for _ in range(200)]
    b = [x + rng.random() for x in a]
    few, many = spearman_interval(a[:20], b[:20]), spearman_interval(a, b)
    assert few.low <= few.value <= few.high and few.count == 20
    assert many.value == pytest.approx(spearman(a, b)) and many.high - many.low < few.high - few.low
    assert spearman_interval(a, a).low == pytest.approx(1, abs=1e-6)
