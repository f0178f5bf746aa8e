"""Shapes of edits: what is drawn, how strong their settings are, and settings at other strengths."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from s2e_core import EditSettings, build_edit, extract
from s2e_core.measure.shapes import (
    LEAST_ALPHA,
    LEAST_GATE,
    MOST_ALPHA,
    MOST_RHO,
    SHARES,
    Shape,
    draw_shapes,
    reach,
    scaled,
    shape_settings,
)
from s2e_core.settings import Gate
from s2e_core.spec import KINDS
from tests.core.chain import EXAMPLES, TEXTS

SHAPES = {
    "elastic net": Shape(heads=3, neurons=17),
    "heads alone": Shape(heads=2),
    "neurons alone": Shape(neurons=9),
    "baked steering": Shape(mu=0.0),
    "baked steering of few": Shape(mu=0.0, size=20),
    "gated steering": Shape(mu=10.0),
    "gated steering of few": Shape(mu=100.0, size=11),
    "a sum": Shape(heads=2, neurons=30, mu=1.0, weight=0.25),
    "a sum with few": Shape(neurons=12, mu=10.0, size=15, weight=0.75),
}


@pytest.fixture(scope="module")
def extraction(llama):
    return extract(llama, EXAMPLES, texts=TEXTS)


def only(extraction, kind):
    """The extraction of a model that has components of one kind alone."""
    keep = extraction.spec.of_kind(kind)

    def picked(value, *names):
        return {name: tuple(getattr(value, name)[i] for i in keep) for name in names}

    spec = replace(extraction.spec, sites=tuple(extraction.spec.sites[i] for i in keep))
    scores, directions, inputs = extraction.scores, extraction.directions, extraction.token_inputs
    return replace(
        extraction,
        scores=replace(scores, spec=spec, **picked(scores, "g", "contributions", "keys", "weight_norms")),
        directions=replace(directions, spec=spec, norm=directions.norm[list(keep)], **picked(directions, "unit")),
        token_inputs=replace(inputs, spec=spec, **picked(inputs, "on", "off", "keys")),
    )


def without_harmless(extraction):
    inputs = extraction.token_inputs
    nothing = tuple(rows[:0] for rows in inputs.off)
    return replace(extraction, token_inputs=replace(inputs, off=nothing))


def reach_by_hand(extraction, edit, rows):
    """Root of the mean square of everything that is added, over that of the steering vectors."""
    added = sum(
        sum(float(row.float() @ edit.right[i]) ** 2 for row in rows[i]) / len(rows[i]) for i in range(len(rows))
    )
    steering = sum(float(norm) ** 2 for norm in extraction.directions.norm)
    return (added / steering) ** 0.5


# drawing


def as_tuple(shape):
    return (shape.heads, shape.neurons, shape.mu, shape.size, shape.weight)


def test_shapes_of_every_family_have_their_share_and_counts_that_the_model_has(extraction):
    shapes = draw_shapes(extraction, 40, 0)
    assert len(shapes) == len({as_tuple(shape) for shape in shapes}) == 40
    families = [shape.family for shape in shapes]
    assert {family: families.count(family) for family in SHARES} == {f: round(40 * s) for f, s in SHARES.items()}
    heads, neurons = (extraction.spec.n_components(kind) for kind in KINDS)
    for shape in shapes:
        assert 0 <= shape.heads <= heads and 0 <= shape.neurons <= neurons
        assert shape.size is None or LEAST_GATE <= shape.size < heads + neurons
        assert ("elastic" in shape.family) == bool(shape.heads or shape.neurons)
        assert ("steering" in shape.family) == (shape.mu is not None)
        assert 0 < shape.weight < 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 10, 11])
def test_as_many_shapes_are_drawn_as_were_asked_for(extraction, count):
    assert len(draw_shapes(extraction, count, 0)) == count
    assert len(draw_shapes(extraction, count, 0, gates=False)) == count
    assert len(draw_shapes(without_harmless(extraction), count, 0)) == count


def test_the_same_seed_gives_the_same_shapes_and_another_seed_others(extraction):
    drawn = [[as_tuple(shape) for shape in draw_shapes(extraction, 20, seed)] for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_an_extraction_lacks_is_not_drawn(extraction):
    assert {s.family for s in draw_shapes(extraction, 12, 0, gates=False)} == {"elastic net"}
    assert {s.family for s in draw_shapes(without_harmless(extraction), 12, 0)} == {"elastic net", "baked steering"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_one_kind_of_components_is_never_asked_for_the_other(extraction, kind):
    one_kind = only(extraction, kind)
    shapes = draw_shapes(one_kind, 16, 0)
    assert {shape.family for shape in shapes} == set(SHARES)
    assert all(getattr(shape, other) == 0 for shape in shapes for other in KINDS if other != kind)
    for shape in shapes:
        settings = shape_settings(one_kind, shape, 0.5)
        if settings is not None:
            assert reach(one_kind, build_edit(one_kind, settings)).on == pytest.approx(0.5, rel=0.01)


# strength


def test_the_reach_is_that_computed_by_hand(extraction):
    for shape in SHAPES.values():
        edit, inputs = build_edit(extraction, shape_settings(extraction, shape, 0.6)), extraction.token_inputs
        reached = reach(extraction, edit)
        assert reached.on == pytest.approx(reach_by_hand(extraction, edit, inputs.on), rel=1e-3)
        assert reached.off == pytest.approx(reach_by_hand(extraction, edit, inputs.off), rel=1e-3)


def test_baked_steering_of_gamma_1_reaches_what_steering_adds(extraction):
    edit = build_edit(extraction, EditSettings(None, None, 0.5, gate=Gate(1.0)))
    assert reach(extraction, edit).on == pytest.approx(1.0, abs=0.05)


def test_the_reach_needs_texts(extraction):
    edit = build_edit(extraction, EditSettings(0.3, 0.3, 0.5))
    with pytest.raises(ValueError, match="no token inputs"):
        reach(replace(extraction, token_inputs=None), edit)


@pytest.mark.parametrize("strength", [0.05, 0.5, 2.0, 30.0])
@pytest.mark.parametrize("name", SHAPES)
def test_settings_of_every_family_have_the_reach_that_was_asked_for(extraction, name, strength):
    shape = SHAPES[name]
    settings = shape_settings(extraction, shape, strength)
    edit = build_edit(extraction, settings)
    assert settings.family == shape.family
    assert reach(extraction, edit).on == pytest.approx(strength, rel=0.005)
    if shape.mu is None:
        assert (edit.count("heads"), edit.count("neurons")) == (shape.heads, shape.neurons)
    for rho in (settings.rho_attn, settings.rho_mlp):
        assert rho is None or 0 < rho <= MOST_RHO * 1.001
    if settings.has_elastic_net:
        assert LEAST_ALPHA <= settings.alpha <= MOST_ALPHA


def test_the_parts_of_a_sum_have_their_weights(extraction):
    for name in ("a sum", "a sum with few"):
        shape = SHAPES[name]
        settings = shape_settings(extraction, shape, 0.8)
        net = reach(extraction, build_edit(extraction, replace(settings, gate=None))).on
        alone = EditSettings(None, None, 0.5, strength=settings.strength, gate=settings.gate)
        gate = reach(extraction, build_edit(extraction, alone)).on
        assert net / (net + gate) == pytest.approx(shape.weight, abs=0.01)


def test_a_shape_that_changes_nothing_has_no_settings(extraction):
    silent = replace(extraction.scores, g=tuple(torch.zeros_like(g) for g in extraction.scores.g))
    assert shape_settings(replace(extraction, scores=silent), Shape(heads=1, neurons=1), 0.5) is None


@pytest.mark.parametrize("name", SHAPES)
def test_scaled_settings_are_the_same_edit_at_a_multiple_of_its_strength(extraction, name):
    settings = shape_settings(extraction, SHAPES[name], 0.5)
    edit, weaker = build_edit(extraction, settings), build_edit(extraction, scaled(settings, 0.3))
    for whole, part in zip(edit.right, weaker.right, strict=True):
        assert torch.allclose(0.3 * whole, part, rtol=1e-3, atol=1e-7)
    assert scaled(settings, 0.3).family == settings.family
