"""Steering directions by hand and by property."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from s2e_core import steering_directions
from s2e_core.method import opposite
from tests.core.matrices import Matrices, activation_means

WEIGHT = torch.tensor([[1.0, 0.0], [0.0, 2.0]])


def test_the_direction_is_the_weight_times_the_difference_of_the_means():
    source = Matrices.of(WEIGHT)
    directions = steering_directions(source, activation_means(source, [[4.0, 3.0]], [[1.0, 1.0]]))
    assert torch.equal(directions.norm, torch.tensor([5.0]))  # v = (1 * 3, 2 * 2) = (3, 4)
    torch.testing.assert_close(directions.unit[0], torch.tensor([0.6, 0.8]))


def test_equal_sides_give_zero_and_never_nan():
    source = Matrices.of(WEIGHT)
    directions = steering_directions(source, activation_means(source, [[1.0, 3.0]], [[1.0, 3.0]]))
    assert not directions.unit[0].any()
    assert not directions.norm.any()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_an_error_where_it_comes_in_and_no_score_of_zero(value):
    source = Matrices.of(WEIGHT)
    with pytest.raises(ValueError, match="ActivationMeans has a value that is not finite"):
        activation_means(source, [[1.0, value]], [[1.0, 3.0]])
    directions = steering_directions(source, activation_means(source, [[1.0, 2.0]], [[1.0, 3.0]]))
    with pytest.raises(ValueError, match="SteeringDirections has a value that is not finite"):
        replace(directions, unit=(torch.tensor([value, 0.0]),))


def test_swapped_sides_turn_every_direction_round():
    source = Matrices.random()
    plus, minus = source.inputs(1), source.inputs(2)
    directions = steering_directions(source, activation_means(source, plus, minus))
    swapped = steering_directions(source, activation_means(source, minus, plus))
    assert torch.equal(directions.norm, swapped.norm)
    for one, other in zip(directions.unit, swapped.unit, strict=True):
        assert torch.equal(one, -other)
        torch.testing.assert_close(torch.linalg.vector_norm(one), torch.tensor(1.0))


def test_the_opposite_of_directions_is_that_of_swapped_sides_and_says_so():
    source = Matrices.random()
    plus, minus = source.inputs(1), source.inputs(2)
    directions = steering_directions(source, activation_means(source, plus, minus))
    turned, swapped = opposite(directions), steering_directions(source, activation_means(source, minus, plus))
    for one, other in zip(turned.unit, swapped.unit, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(turned.norm, directions.norm)
    assert turned.provenance.contrast_name == f"{directions.provenance.contrast_name}, the opposite"
    assert turned.provenance.contrast_hash not in ("", directions.provenance.contrast_hash)


def test_what_both_sides_share_does_not_count():
    source = Matrices.random()
    plus, minus, shared = source.inputs(1), source.inputs(2), source.inputs(3)
    directions = steering_directions(source, activation_means(source, plus, minus))
    moved = [[(a + b).tolist() for a, b in zip(map(torch.tensor, side), map(torch.tensor, shared), strict=True)]
             for side in (plus, minus)]  # fmt: skip
    same = steering_directions(source, activation_means(source, *moved))
    torch.testing.assert_close(torch.stack(directions.unit), torch.stack(same.unit), rtol=1e-4, atol=1e-5)


def test_a_difference_of_one_millionth_still_has_a_direction():
    source = Matrices.of(WEIGHT)
    directions = steering_directions(source, activation_means(source, [[1e-6, 0.0]], [[0.0, 0.0]]))
    torch.testing.assert_close(directions.unit[0], torch.tensor([1.0, 0.0]))
