"""Chance: intervals, permutations and the random direction, against plain loops and on models without a behaviour."""

from __future__ import annotations

import random
import sys

import pytest
import torch

from s2e_core import Example, extract
from s2e_core.data import contrast_set
from s2e_core.errors import ContrastDataError
from s2e_core.measure import mean
from s2e_core.why import chance, example_means, isotropic_band, isotropic_share
from s2e_core.why.chance import GRID, label_weights
from tests.core.chain import MANY
from tests.families import in_memory, tiny_model
from tests.reference import cosine, length, reference


@pytest.fixture(scope="module")
def means(llama):
    return example_means(llama, MANY)


def test_the_means_of_the_examples_average_to_those_of_the_extraction(llama, means):
    extraction = extract(llama, MANY)
    for inputs, positive, negative in zip(
        means.inputs, extraction.means.positive, extraction.means.negative, strict=True
    ):
        torch.testing.assert_close(inputs[: means.n_positive].mean(dim=0), positive, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(inputs[means.n_positive :].mean(dim=0), negative, atol=1e-6, rtol=1e-5)
    found = chance(llama, means, draws=20)
    for ours, theirs in zip(found.g, extraction.scores.g, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


DRAWS, SEED = 3, 5


def by_chance(loaded, means):
    """Plain loops: per permutation and site, (|v|, g) of the swapped examples, and |g| along the swapped remainders."""
    rows = label_weights(len(means.examples), means.n_positive, DRAWS, SEED)[:, DRAWS + 1 :]
    truth = reference(loaded, means.examples[: means.n_positive], means.examples[means.n_positive :])
    single = [reference(loaded, [example], [example]) for example in means.examples]
    swapped, along = [], []
    for row in range(DRAWS):
        sides = [[n for n, w in enumerate(rows[s, row].tolist()) if w] for s in (0, 1)]
        assert len(sides[0]) == means.n_positive and not set(sides[0]) & set(sides[1])
        swapped.append(
            [
                (length(site.v), site.g)
                for site in reference(loaded, *([means.examples[n] for n in side] for side in sides))
            ]
        )
        found = []
        for index, site in enumerate(truth):
            weight = torch.cat(site.weights, dim=1)
            rest = [
                single[n][index].positive - (site.positive if n < means.n_positive else site.negative)
                for n in range(len(means.examples))
            ]
            v = weight @ (
                sum(rest[n] for n in sides[0]) / len(sides[0]) - sum(rest[n] for n in sides[1]) / len(sides[1])
            )
            x = ((site.positive + site.negative) / 2).split(site.weights[0].shape[1])
            found.append([abs(cosine(v, w @ part)) for w, part in zip(site.weights, x, strict=True)])
        along.append(found)
    return truth, swapped, along


@pytest.fixture(scope="module")
def loops(llama):
    few = contrast_set(MANY.positive[:4], MANY.negative[:3], name="few")
    means = example_means(llama, few)
    return chance(llama, means, draws=DRAWS, seed=SEED), *by_chance(llama, means)


def test_the_permutation_test_is_that_of_swapped_examples(loops):
    found, truth, swapped, _ = loops
    for index, site in enumerate(truth):
        for i, g in enumerate(site.g):
            beyond = sum(abs(sites[index][0] * sites[index][1][i]) >= abs(length(site.v) * g) for sites in swapped)
            assert float(found.p[index][i]) == pytest.approx((1 + beyond) / (1 + DRAWS))


def test_expected_false_selections_are_counted_along_the_remainders(llama, loops):
    found, _, _, along = loops
    for kind in ("heads", "neurons"):
        values = [[g for i in llama.spec.of_kind(kind) for g in sites[i]] for sites in along]
        for threshold in (0.0, 0.1, 0.35, 0.9):
            counted = sum(g > threshold for one in values for g in one) / DRAWS
            assert found.expected_false(kind, threshold) == pytest.approx(counted)
        assert found.expected_false(kind, 1.0) == 0 and len(found.false_counts[kind]) == GRID + 1
        above = [
            sum(float(g > found.band[i][n]) for i in llama.spec.of_kind(kind) for n, g in enumerate(sites[i]))
            for sites in along
        ]
        assert found.beyond[kind] == pytest.approx(sum(above) / DRAWS) and sum(above) > 0
        assert min(map(max, values)) - 1e-5 <= found.largest[kind] <= max(map(max, values)) + 1e-5
    for index, band in enumerate(found.band):
        by_hand = torch.tensor([sites[index] for sites in along]).quantile(0.95, dim=0)
        torch.testing.assert_close(band, by_hand.float(), atol=1e-4, rtol=1e-3)


def test_the_interval_contains_the_score_and_is_narrower_with_more_examples(llama, means):
    found = chance(llama, means)
    few = contrast_set(MANY.positive[:3], MANY.negative[:3], name="few")
    wide = chance(llama, example_means(llama, few))
    for low, g, high in zip(found.low, found.g, found.high, strict=True):
        assert bool(((low <= g) & (g <= high)).all())

    def width(c):
        return torch.cat([high - low for low, high in zip(c.low, c.high, strict=True)]).mean()

    assert float(width(found)) < float(width(wide))


def test_without_a_behaviour_as_many_pass_as_the_level_says():
    """20 random models with random labels; the shares are averaged by model, since components depend on each other."""
    by_test, by_band, by_sphere, surplus = [], [], [], {"heads": [], "neurons": []}
    for seed in range(20):
        loaded = in_memory(tiny_model("llama", seed=seed, vocab_size=320, num_hidden_layers=2))
        rng = random.Random(seed)
        texts = [Example("Say", "".join(rng.choices("abcdefgh ", k=12))) for _ in range(60)]
        found = chance(loaded, example_means(loaded, contrast_set(texts[:30], texts[30:], name="none")), draws=99)
        g = torch.cat(found.g).abs()
        by_test.append(float((torch.cat(found.p) <= 0.05).float().mean()))
        by_band.append(float((g > torch.cat(found.band)).float().mean()))
        by_sphere.append(float((g > isotropic_band(loaded.spec.d_model)).float().mean()))
        assert sum(found.beyond.values()) / len(g) == pytest.approx(0.05, abs=0.001)
        for kind, values in surplus.items():
            above = sum(int((found.g[site].abs() > 0.3).sum()) for site in loaded.spec.of_kind(kind))
            values.append(above - found.expected_false(kind, 0.3))
    test, band, sphere = map(mean, (by_test, by_band, by_sphere))
    assert test.low <= 0.05 <= test.high < 0.15
    for kind, most in (("heads", 0.5), ("neurons", 2.5)):  # of 1.3 heads and 12 neurons that are expected
        falsely = mean(surplus[kind])
        assert falsely.low <= 0 <= falsely.high and falsely.high - falsely.low < 2 * most, kind
    assert band.low <= 0.06 <= band.high < sphere.low  # the remainders lack the direction itself: a little too narrow


def test_a_behaviour_is_beyond_chance(llama):
    """The same counts as above, but sides that differ in every example: many more pass than the level says."""
    sides = [[Example(f"How are you, {n}?", answer) for n in range(12)] for answer in ("Great! Great!", "no, 0 no no")]
    found = chance(llama, example_means(llama, contrast_set(*sides, name="mood")), draws=99)
    assert float((torch.cat(found.p) <= 0.05).float().mean()) > 0.4


def test_one_example_a_side_is_refused(llama):
    with pytest.raises(ContrastDataError, match="at least two a side"):
        example_means(llama, contrast_set(MANY.positive[:1], MANY.negative, name="one"))


def test_a_model_that_needs_more_memory_reads_fewer_examples(llama, monkeypatch):
    monkeypatch.setattr(sys.modules["s2e_core.why.example_means"], "MOST_BYTES", 1)
    means = example_means(llama, MANY)
    assert (means.n_positive, len(means.examples), means.n_left_out) == (8, 16, 4)


@pytest.mark.parametrize("d", [2, 3, 16, 160])
def test_the_isotropic_share_is_that_of_random_directions(d):
    generator = torch.Generator().manual_seed(d)
    directions = torch.nn.functional.normalize(torch.randn(40000, d, generator=generator), dim=1)
    for threshold in (0.05, 0.2, 0.5):
        drawn = float((directions[:, 0].abs() > threshold).float().mean())
        assert isotropic_share(threshold, d) == pytest.approx(drawn, abs=0.012)


def test_the_isotropic_share_in_three_dimensions_is_the_rest_of_the_interval():
    """Archimedes: on the sphere every height is equally likely, so P(|cos| > t) = 1 - t."""
    for threshold in (0.1, 0.25, 0.9):
        assert isotropic_share(threshold, 3) == pytest.approx(1 - threshold, abs=1e-6)
    assert isotropic_share(0, 3) == 1 and isotropic_share(1, 3) == 0
    assert isotropic_band(3, 0.05) == pytest.approx(0.95, abs=1e-6)


def test_experts_and_their_biases_are_read_too():
    loaded = in_memory(tiny_model("gpt_oss", vocab_size=320))
    extraction = extract(loaded, MANY)
    found = chance(loaded, example_means(loaded, MANY), draws=5)
    for ours, theirs in zip(found.g, extraction.scores.g, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
