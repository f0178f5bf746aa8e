"""Component scores by hand, by property, and against the plain loops on real pretrained weights."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from s2e_core import (
    ComponentScores,
    EditSettings,
    Example,
    Extraction,
    SteeringDirections,
    build_edit,
    capture_means,
    component_scores,
    load_model,
    steering_directions,
)
from s2e_core.data import contrast_set
from s2e_core.values import MeanInputs
from tests.core.matrices import Inputs, Matrices, activation_means
from tests.reference import cosine, elastic_net, reference, unit

NEIGHBOUR = Path(__file__).resolve().parents[4] / "shared" / "models"
REAL_MODELS = Path(os.environ.get("S2E_REAL_MODELS", NEIGHBOUR))
HAPPY = tuple(
    Example(f"One day, {name}", f" was so happy and smiled. {end}")
    for name, end in (("Lily", "It was fun."), ("Tom", "He laughed."), ("Anna and Ben", "They played all day long."))
)
SAD = tuple(
    Example(f"One day, {name}", f" was so sad and cried. {end}")
    for name, end in (
        ("Lily", "It hurt."),
        ("Tom", "He lost his ball and could not find it."),
        ("the cat", "It was ill."),
    )
)


def scored(source: Matrices, plus: Inputs, minus: Inputs) -> tuple[SteeringDirections, ComponentScores]:
    means = activation_means(source, plus, minus)
    directions = steering_directions(source, means)
    return directions, component_scores(source, means, directions)


def test_neurons_by_hand():
    source = Matrices.of(torch.tensor([[3.0, -1.0, 0.0], [4.0, 0.0, 2.0]]))
    means = activation_means(source, [[1.5, -2.0, 1.0]], [[0.5, -2.0, 1.0]])  # v = w_0 * 1 = (3, 4), xbar = (1, -2, 1)
    directions = steering_directions(source, means)
    scores = component_scores(source, means, directions)
    torch.testing.assert_close(scores.g[0], torch.tensor([1.0, 0.6, 0.8]))  # w_1 opposes v, but its activation is < 0
    assert scores.keys[0].tolist() == [[1.0], [-1.0], [1.0]]
    torch.testing.assert_close(scores.weight_norms[0], torch.tensor([5.0, 1.0, 2.0]))
    torch.testing.assert_close(scores.contributions[0], torch.tensor([5.0, 1.2, 1.6]))


def test_heads_by_hand():
    weight = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]])  # two heads of width 2
    means = activation_means(Matrices.of(weight, 2), [[4.0, 4.0, 1.0, -1.0]], [[2.0, 4.0, 1.0, -3.0]])
    directions = steering_directions(Matrices.of(weight, 2), means)  # v = (2 + 2, 0), xbar = (3, 4, 1, -2)
    scores = component_scores(Matrices.of(weight, 2), means, directions)
    torch.testing.assert_close(scores.g[0], torch.tensor([0.6, -1.0]))  # W_0 xbar_0 = (3, 4), W_1 xbar_1 = (-2, 0)
    assert scores.keys[0].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_scores_are_cosines_and_keys_unit_rows():
    source = Matrices.random()
    plus, minus = source.inputs(1), source.inputs(2)
    directions, scores = scored(source, plus, minus)
    for i, site in enumerate(source.spec.sites):
        assert (scores.g[i].abs() <= 1).all()
        torch.testing.assert_close(scores.keys[i].norm(dim=1), torch.ones(site.n_components))
        xbar = (torch.tensor(plus[i]) + torch.tensor(minus[i])) / 2
        for j in range(site.n_components):
            block = slice(j * site.width, (j + 1) * site.width)
            w = source.weight(i)[:, block]
            assert scores.g[i][j].item() == pytest.approx(cosine(directions.unit[i], w @ xbar[block]), abs=1e-5)
            torch.testing.assert_close(scores.keys[i][j], unit(w.T @ directions.unit[i]), rtol=1e-4, atol=1e-5)


def test_scores_do_not_depend_on_the_scale_of_inputs_or_direction():
    source = Matrices.random()
    plus, minus = source.inputs(1), source.inputs(2)
    _, scores = scored(source, plus, minus)
    _, larger = scored(
        source, [[1000 * x for x in site] for site in plus], [[1000 * x for x in site] for site in minus]
    )
    for one, other in zip(scores.g, larger.g, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_neurons_score_depends_on_the_sign_of_its_mean_activation_only():
    source = Matrices.of(torch.tensor([[1.0, 0.0, 0.7], [0.0, 1.0, 0.7]]))
    directions, scores = scored(source, [[1.0, 0.0, 0.01]], [[-1.0, 0.0, 0.01]])  # v = (2, 0)
    _, other = scored(source, [[1.0, 0.0, -500.0]], [[-1.0, 0.0, -500.0]])
    torch.testing.assert_close(scores.g[0][2], -other.g[0][2])
    assert scores.g[0][2].item() == pytest.approx(0.5**0.5, abs=1e-6)


def test_swapped_sides_turn_scores_and_keys_round_and_keep_their_size():
    source = Matrices.random()
    plus, minus = source.inputs(1), source.inputs(2)
    _, scores = scored(source, plus, minus)
    _, swapped = scored(source, minus, plus)
    for i in range(len(source.spec.sites)):
        torch.testing.assert_close(scores.g[i], -swapped.g[i])
        torch.testing.assert_close(scores.keys[i], -swapped.keys[i])


def test_zero_vectors_score_zero_and_never_nan():
    weight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # neuron 1 writes nothing, neuron 2 is orthogonal to v
    _, scores = scored(Matrices.of(weight), [[3.0, 1.0, 1.0]], [[1.0, 1.0, 1.0]])  # v = (2, 0)
    assert scores.g[0].tolist() == [1.0, 0.0, 0.0]
    assert scores.keys[0].tolist() == [[1.0], [0.0], [0.0]]
    _, silent = scored(Matrices.of(weight), [[1.0, 0.0, 0.0]], [[-1.0, 0.0, 0.0]])  # xbar = 0
    assert silent.g[0].tolist() == [0.0, 0.0, 0.0]
    _, equal = scored(Matrices.of(weight), [[1.0, 1.0, 1.0]], [[1.0, 1.0, 1.0]])  # v = 0
    assert equal.g[0].tolist() == [0.0, 0.0, 0.0]
    assert not equal.keys[0].any()


def test_the_heatmap_grid_has_a_row_a_layer():
    source = Matrices.random()
    _, scores = scored(source, source.inputs(1), source.inputs(2))
    assert scores.grid("heads").shape == (3, 4)
    assert torch.equal(scores.grid("neurons")[2], scores.g[5])


@pytest.mark.parametrize("name", ["stories260K", "stories3M"])
def test_scores_and_edit_equal_the_plain_loops_on_real_weights(name):
    if not (REAL_MODELS / name).is_dir():
        pytest.skip(f"no pretrained model {name}; set S2E_REAL_MODELS to the folder that holds it")
    loaded = load_model(REAL_MODELS / name)
    means = capture_means(loaded, contrast_set(HAPPY, SAD, name="mood"))
    directions = steering_directions(loaded, means)
    scores = component_scores(loaded, means, directions)
    settings = EditSettings(rho_attn=0.2, rho_mlp=0.2, alpha=0.4)
    edit = build_edit(Extraction(means, directions, scores), settings)
    for i, expected in enumerate(reference(loaded, HAPPY, SAD)):
        torch.testing.assert_close(means.positive[i].double(), expected.positive, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close((directions.unit[i] * directions.norm[i]).double(), expected.v, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(scores.g[i].double(), torch.tensor(expected.g).double(), rtol=0, atol=1e-5)
        torch.testing.assert_close(scores.keys[i].double(), torch.stack(expected.keys), rtol=0, atol=1e-4)
        strengths = [elastic_net(g, 0.2, settings.alpha) for g in expected.g]
        torch.testing.assert_close(edit.strength[i].double(), torch.tensor(strengths).double(), rtol=0, atol=1e-4)
    assert 0 < edit.count("heads") < loaded.spec.n_components("heads")
    assert 0 < edit.count("neurons") < loaded.spec.n_components("neurons")


def test_mean_inputs_alone_give_the_scores_of_both_sides_means(llama):
    means = capture_means(llama, contrast_set(HAPPY, SAD, name="mood"))
    directions = steering_directions(llama, means)
    inputs = MeanInputs(llama.spec, means.mean, None, replace(means.provenance, contrast_hash="other"))
    whole, given = (component_scores(llama, given, directions) for given in (means, inputs))
    assert all(torch.equal(a, b) for a, b in zip(whole.g + whole.keys, given.g + given.keys, strict=True))
    assert whole.provenance.contrast_name == "mood"
    assert given.provenance.contrast_name == "mood, inputs of mood"
    assert given.provenance.contrast_hash not in ("other", whole.provenance.contrast_hash)
