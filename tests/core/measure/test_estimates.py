"""Figures with intervals: against published values, plain loops, and the coverage they promise."""

import random
import time
from math import sqrt

import pytest
import torch

from s2e_core.measure import RESAMPLES, difference
from s2e_core.measure.estimates import SEED, estimate, kept_share, mean, ratio, share


def interval(figure):
    return figure.low, figure.high


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3: the Wilson score interval.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_a_share_has_the_published_wilson_interval(hits, count, low, high):
    figure = share([True] * hits + [False] * (count - hits))
    assert figure.value == pytest.approx(hits / count)
    assert interval(figure) == pytest.approx((low, high), abs=5e-5)
    assert figure.count == count


def test_silence_and_certainty_keep_an_interval():
    for n in (1, 5, 60):
        none, all_of_them = share([0] * n), share([1] * n)
        assert (none.value, none.low) == (0, 0) and none.high > 0
        assert (all_of_them.value, all_of_them.high) == (1, 1) and all_of_them.low < 1
        assert none.high == pytest.approx(1 - all_of_them.low)


def bootstrap_by_hand(columns, statistic):
    """Percentiles of a statistic over resamples of the rows, drawn with the module's own dice, by plain loops."""
    n = len(columns[0])
    drawn = torch.randint(n, (RESAMPLES, n), generator=torch.Generator().manual_seed(SEED)).tolist()
    found = sorted(statistic(*(sum(column[i] for i in rows) / n for column in columns)) for rows in drawn)

    def percentile(q):
        place = q * (len(found) - 1)
        below = int(place)
        return found[below] + (place - below) * (found[below + 1] - found[below])

    return percentile(0.025), percentile(0.975)


def test_the_bootstrap_equals_a_plain_loop():
    dice = random.Random(1)
    a = [dice.expovariate(1) for _ in range(37)]
    b = [value + dice.gauss(1, 0.3) for value in a]
    assert interval(mean(a)) == pytest.approx(bootstrap_by_hand([a], lambda x: x))
    assert interval(difference(a, b)) == pytest.approx(bootstrap_by_hand([a, b], lambda x, y: x - y))
    assert interval(ratio(a, b)) == pytest.approx(bootstrap_by_hand([a, b], lambda x, y: x / y))
    assert mean(a).value == pytest.approx(sum(a) / 37)
    assert difference(a, b).value == pytest.approx((sum(a) - sum(b)) / 37)
    assert ratio(a, b).value == pytest.approx(sum(a) / sum(b))
    assert {f.count for f in (mean(a), difference(a, b), ratio(a, b))} == {37}


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval():
    dice = random.Random(2)
    values = [dice.gauss(5, 2) for _ in range(400)]
    centre = sum(values) / 400
    half = 1.96 * sqrt(sum((v - centre) ** 2 for v in values) / 400) / sqrt(400)
    assert interval(mean(values)) == pytest.approx((centre - half, centre + half), abs=0.15 * half)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    dice = random.Random(3)
    shares = [share([dice.random() < 0.8 for _ in range(60)]) for _ in range(400)]
    means = [mean([dice.random() for _ in range(60)]) for _ in range(400)]
    assert 0.92 <= sum(f.low <= 0.8 <= f.high for f in shares) / 400 <= 0.98
    assert 0.91 <= sum(f.low <= 0.5 <= f.high for f in means) / 400 <= 0.98


@pytest.mark.parametrize("n", [20, 60, 200])
def test_rare_losses_are_within_the_interval_of_what_is_kept(n):
    dice = random.Random(5)
    drawn = []
    for _ in range(300):
        original = [float(dice.random() < 0.95) for _ in range(n)]
        drawn.append(kept_share([value * (dice.random() < 0.97) for value in original], original))
    assert sum(f.low <= 0.97 <= f.high for f in drawn) / 300 >= 0.93


def test_what_is_kept_is_the_ratio_with_an_interval_that_is_never_narrower():
    original = [1.0] * 9 + [0.0]
    lossless, lossy = kept_share(original, original), kept_share([1.0] * 6 + [0.0] * 4, original)
    half = 1.959964 * sqrt(1 / 10 / 10) / 0.9  # as if one of the ten had changed
    assert (lossless.value, lossless.count) == (1.0, 10)
    assert interval(lossless) == pytest.approx((1 - half, 1 + half))
    drawn = ratio([1.0] * 6 + [0.0] * 4, original)
    assert lossy.value == drawn.value and lossy.low <= drawn.low and drawn.high <= lossy.high
    assert kept_share([0.0, 0.0], [1.0, 1.0]).low == 0.0


def test_scores_that_no_prompt_tells_apart_may_differ_on_the_next():
    half = 1.959964 * sqrt(1 / 10 / 10)  # as if one of the ten had changed
    same, apart = difference([0.4] * 10, [0.4] * 10), difference([1] * 10, [0] * 10)
    assert (same.value, *interval(same)) == pytest.approx((0, -half, half))
    assert (apart.value, *interval(apart)) == pytest.approx((1, 1 - half, 1))
    one = difference([1] * 5 + [0] * 5, [1] * 4 + [0] * 6)
    assert interval(one) == pytest.approx((0.1 - half, 0.1 + max(half, 0.2)))
    two = [1] * 6 + [0] * 4, [1] * 4 + [0] * 6
    assert interval(difference(*two)) == pytest.approx(bootstrap_by_hand(two, lambda x, y: x - y))
    assert interval(difference([0.5], [0.5])) == (-1, 1)


@pytest.mark.parametrize("n", [20, 60])
def test_rare_changes_are_within_the_interval_of_a_difference(n):
    dice = random.Random(6)
    drawn = []
    for _ in range(300):
        before = [float(dice.random() < 0.5) for _ in range(n)]
        drawn.append(difference([1.0 if dice.random() < 0.04 else value for value in before], before))
    assert sum(f.low <= 0.02 <= f.high for f in drawn) / 300 >= 0.93


def test_pairing_narrows_the_interval_where_prompts_are_hard_for_both():
    dice = random.Random(4)
    a = [dice.gauss(0, 1) for _ in range(80)]
    b = [value + dice.gauss(0.1, 0.1) for value in a]
    shuffled = dice.sample(b, len(b))
    paired, unpaired = difference(a, b), difference(a, shuffled)
    assert paired.value == pytest.approx(unpaired.value)
    assert (paired.high - paired.low) < 0.3 * (unpaired.high - unpaired.low)


def test_the_right_kind_of_interval_is_chosen():
    assert interval(estimate([1, 0, 1, 1])) == interval(share([1, 0, 1, 1]))
    assert interval(estimate([True, False])) == interval(share([True, False]))
    assert interval(estimate([1, 0, 0.5])) == interval(mean([1, 0, 0.5]))


def test_one_value_and_equal_values_are_their_own_interval():
    for values in ([0.3], [0.1] * 120):
        figure = mean(values)
        assert figure.low == pytest.approx(values[0]) == figure.high
        assert figure.low <= figure.value <= figure.high
    assert interval(difference([40.0] * 7, [40.0] * 7)) == (0, 0)  # numbers of tokens, which nothing bounds
    assert interval(ratio([0.7] * 7, [0.7] * 7)) == pytest.approx((1, 1))


def test_the_same_values_give_the_same_interval():
    assert interval(mean([0.2, 0.9, 0.4])) == interval(mean([0.2, 0.9, 0.4]))


def test_a_ratio_to_little_stays_finite():
    figure = ratio([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0])  # many resamples lack the one success
    assert figure.value == 1 and 0 <= figure.low <= 1 <= figure.high < float("inf")


@pytest.mark.parametrize(
    "figure", [share, mean, estimate, lambda v: difference(v, v), lambda v: ratio(v, v), lambda v: kept_share(v, v)]
)
def test_nothing_cannot_be_estimated(figure):
    with pytest.raises(ValueError, match="empty"):
        figure([])
    with pytest.raises(ValueError, match="finite"):
        figure([1.0, float("nan")])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="2 and 1"):
        difference([1, 2], [1])
    with pytest.raises(ValueError, match="0 is not defined"):
        ratio([1, 1], [0, 0])
    with pytest.raises(ValueError, match="0 or 1"):
        share([0.5])


def test_an_interval_takes_little_time():
    values = [i / 120 for i in range(120)]
    mean(values)  # makes the resamples
    began = time.perf_counter()
    for _ in range(20):
        mean(values)
    assert (time.perf_counter() - began) / 20 < 0.01  # about 0.3 ms on an idle machine
