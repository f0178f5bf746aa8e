"""Reliability against plain loops over single examples, and that strong data is called strong and noise weak."""

from random import Random

import pytest
import torch

from s2e_core import (
    ContrastDataError,
    Example,
    capture_means,
    component_scores,
    load_behavior,
    load_model,
    steering_directions,
)
from s2e_core.data import contrast_set
from s2e_core.method import capture_inputs, reliability
from tests.core.chain import EXAMPLES

WORDS = ("red", "blue", "green", "small", "large", "old", "new", "warm", "cold", "late", "soon", "round", "flat")


def contrast(positive, negative, n=12):
    sides = ([Example(f"Number {i}?", f"{text} {WORDS[(i * step) % 13]}.") for i in range(n)]
             for text, step in ((positive, 5), (negative, 7)))  # fmt: skip
    return contrast_set(*sides, name="made up")


STRONG = contrast("Yes, yes, with joy:", "42 17 99 38 21 80")
NOISE = contrast("It is", "It is")


def single(loaded, example):
    """One example's mean output per site."""
    mean = capture_inputs(loaded, [example]).mean
    return [loaded.weight(i) @ x for i, x in enumerate(mean)]


def test_accuracy_is_that_of_a_loop_over_held_out_examples(llama):
    made = contrast("It is quite", "It was so")
    outputs = [[single(llama, example) for example in side] for side in (made.positive, made.negative)]
    for site in range(len(llama.spec.sites)):
        shares = []
        for side, sign in ((0, 1), (1, -1)):
            right = 0
            for i in range(12):
                p, n = (torch.stack([o[site] for j, o in enumerate(s) if j % 3 != i % 3]).mean(0) for s in outputs)
                right += sign * float((outputs[side][i][site] - (p + n) / 2) @ (p - n)) > 0
            shares.append(right / 12)
        found = reliability(llama, made, folds=3, resamples=2)
        assert float(found.accuracy[site]) == pytest.approx(sum(shares) / 2, abs=1e-6)


def test_scores_are_those_of_the_chain_and_deviations_those_of_resampled_sets(llama):
    made = contrast("It is quite", "It was so", n=6)
    found = reliability(llama, made, resamples=4, seed=1)
    means = capture_means(llama, made)
    g = component_scores(llama, means, steering_directions(llama, means)).g
    for ours, theirs in zip(found.g, g, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    dice = torch.Generator().manual_seed(1)
    draws = [torch.randint(6, (4, 6), generator=dice) for _ in range(2)]
    resampled = []
    for b in range(4):
        sides = ([side[i] for i in draw[b]] for side, draw in zip((made.positive, made.negative), draws, strict=True))
        means = capture_means(llama, contrast_set(*sides, name="resampled"))
        resampled.append(component_scores(llama, means, steering_directions(llama, means)).g)
    for site, deviation in enumerate(found.g_deviation):
        expected = torch.stack([g[site] for g in resampled]).std(dim=0)
        torch.testing.assert_close(deviation, expected, atol=1e-3, rtol=0)


def test_sides_that_differ_are_separable_and_noise_is_said_to_be_weak(llama):
    strong, noise = reliability(llama, STRONG), reliability(llama, NOISE)
    assert float(strong.accuracy.median()) > 0.9 > float(noise.accuracy.median())
    assert float(strong.direction_cosine.median()) > float(noise.direction_cosine.median())
    assert noise.is_weak and "Weak data" in " ".join(noise.sentences())
    assert "fewer than 8" not in " ".join(noise.sentences())
    assert strong.noise("heads") < noise.noise("heads")
    assert not any("hardly separate" in sentence for sentence in strong.sentences())


def test_the_same_examples_on_both_sides_are_a_guess(gpt2):
    found = reliability(gpt2, contrast_set(EXAMPLES.positive, EXAMPLES.positive, name="same"))
    assert found.is_weak and "fewer than 8" in found.sentences()[1]
    assert all(bool(g.isfinite().all()) for g in (*found.g, *found.g_deviation))


def test_progress_counts_both_passes_and_few_examples_are_refused(llama):
    seen = []
    reliability(llama, EXAMPLES, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1] == (8, 8)
    with pytest.raises(ContrastDataError, match="at least two a side"):
        reliability(llama, contrast_set(EXAMPLES.positive[:1], EXAMPLES.negative, name="few"))


def test_the_deviations_are_a_heatmap(llama):
    found = reliability(llama, EXAMPLES, resamples=3)
    heads = llama.spec.sites[llama.spec.of_kind("heads")[0]].n_components
    assert found.grid("heads").shape == (llama.spec.n_layers, heads)


@pytest.fixture(scope="module")
def bundled():
    return load_model("bundled")


def drawn(name, n, seed, *, wrong=0.0):
    """n examples a side of a bundled behaviour, a share of them on the wrong side."""
    dice, whole = Random(seed), load_behavior(name).contrast
    positive, negative = dice.sample(whole.positive, n), dice.sample(whole.negative, n)
    k = round(wrong * n)
    return contrast_set(negative[:k] + positive[k:], positive[:k] + negative[k:], name=f"{name} {n} {wrong}")


@pytest.mark.parametrize("name", ["safety", "truthfulness", "tone", "reasoning"])
def test_good_data_of_the_bundled_model_is_not_weak_and_spoilt_labels_are(bundled, name):
    good = reliability(bundled, drawn(name, 16, 1))
    assert not good.is_weak, good.sentences()
    assert good.bar == 0.75 and good.separability >= 0.75
    mixed = reliability(bundled, drawn(name, 16, 2, wrong=0.5))  # as good as no labels at all
    assert mixed.is_weak and mixed.separability < good.separability
    assert any("hardly separate" in sentence for sentence in mixed.sentences())
    assert reliability(bundled, drawn(name, 16, 3, wrong=0.3)).is_weak


def test_fewer_examples_must_be_told_apart_better(bundled):
    few = reliability(bundled, drawn("safety", 9, 1))
    assert few.bar == pytest.approx(0.5 + 1 / 3) and few.separability > few.bar and not few.is_weak


def test_a_behaviour_that_a_quarter_of_the_sites_carries_is_separable_whatever_the_others_do(bundled):
    found = reliability(bundled, drawn("tone", 64, 1))
    assert float(found.accuracy.median()) < 0.9 < float(found.accuracy.max())
    assert found.separability == pytest.approx(float(found.accuracy.sort().values[-3:].mean()), abs=0.1)
    assert not found.is_weak
