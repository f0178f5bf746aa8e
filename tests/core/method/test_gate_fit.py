"""The closed form of a gate for one site: by hand, against plain loops, and by what it minimises."""

import math

import numpy as np
import pytest
import torch

from s2e_core.method import fit_gate
from s2e_core.method.gate_fit import RIDGE, dual_solver, fit_gates, primal_solver, silence, strongest_directions

SHAPES = [(40, 30, 12), (9, 7, 25), (8, 8, 16), (30, 1, 6), (1, 1, 5), (20, 0, 6)]
"""Tokens of the behaviour, harmless tokens, inputs: more rows than inputs, fewer, as many."""


def inputs(n_on, n_off, n, seed=0):
    """Rows of both kinds with means that are not zero, of sizes that differ by input."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(n, generator=generator) * 3 + 0.1
    on = (torch.randn(n_on, n, generator=generator) + 0.7) * scale
    return on, (torch.randn(n_off, n, generator=generator) - 0.2) * scale


def slow_fit(on, off, mu):
    """The definition with double loops: S, m and the ridge, entry by entry, and a solution by numpy."""
    on, off = on.double().tolist(), off.double().tolist()
    n = len(on[0])
    matrix, right = np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        right[i] = math.fsum(x[i] for x in on) / len(on)
        for j in range(n):
            matrix[i, j] = math.fsum(x[i] * x[j] for x in on) / len(on)
            if mu and off:
                matrix[i, j] += mu * math.fsum(x[i] * x[j] for x in off) / len(off)
    epsilon = RIDGE * math.fsum(matrix[i, i] for i in range(n)) / n
    return torch.from_numpy(np.linalg.solve(matrix + epsilon * np.eye(n), right)), epsilon


def objective(c, on, off, mu, epsilon):
    loss = (on.double() @ c - 1).square().mean() + epsilon * c.square().sum()
    return float(loss + mu * (off.double() @ c).square().mean() if len(off) else loss)


def close(actual, expected, tolerance=1e-5):
    error, size = (actual.double() - expected.double()).abs().max(), expected.double().abs().max()
    assert error <= tolerance * size.clamp_min(1e-9)


def test_a_gate_by_hand():
    on, off = torch.tensor([[1.0, 0.0], [1.0, 2.0]]), torch.tensor([[0.0, 1.0]])
    # S_on = (1, 1; 1, 2), m = (1, 1). With mu = 2 the matrix is (1, 1; 1, 4), and the ridge 0.001 * 5 / 2.
    a, b, e = 1.0, 4.0, 0.0025
    determinant = (a + e) * (b + e) - 1
    close(fit_gate(on, off, 2.0), torch.tensor([(b + e - 1) / determinant, (a + e - 1) / determinant]))
    e = 0.0015  # baked: harmless texts do not matter
    determinant = (1 + e) * (2 + e) - 1
    close(fit_gate(on, off, 0.0), torch.tensor([(1 + e) / determinant, e / determinant]))


@pytest.mark.parametrize("mu", [0.0, 0.3, 10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_gate_equals_the_slow_double_loop(shape, mu):
    on, off = inputs(*shape)
    found = fit_gate(on, off, mu)
    assert found.dtype == torch.float32 and found.shape == (shape[2],)
    close(found, slow_fit(on, off, mu)[0])


@pytest.mark.parametrize("mu", [0.0, 0.3, 10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_both_systems_give_the_same_vector(shape, mu):
    on, off = (side.double() for side in inputs(*shape, seed=1))
    close(primal_solver(on, off)(mu), dual_solver(on, off)(mu), 1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_many_gates_at_once_are_those_one_by_one(shape):
    on, off = inputs(*shape)
    mus = (0.0, 0.3, 10.0, 0.0)
    assert torch.equal(fit_gates(on, off, mus), torch.stack([fit_gate(on, off, mu) for mu in mus]))


@pytest.mark.parametrize("mu", [0.0, 1.0, 30.0])
def test_no_step_in_any_direction_lowers_the_objective(mu):
    for shape in ((30, 20, 8), (6, 9, 20)):
        on, off = inputs(*shape, seed=2)
        _, epsilon = slow_fit(on, off, mu)
        found = fit_gate(on, off, mu).double()
        least = objective(found, on, off, mu, epsilon)
        steps = torch.randn(60, shape[2], generator=torch.Generator().manual_seed(3)).double()
        for size in (1e-3, 0.1, 1.0):
            assert all(objective(found + size * step, on, off, mu, epsilon) > least for step in steps)


def test_the_rows_given_twice_or_in_another_order_give_the_same_gate():
    on, off = inputs(12, 9, 7)
    expected = fit_gate(on, off, 1.0)
    close(fit_gate(torch.cat([on, on]), off.flip(0), 1.0), expected)


@pytest.mark.parametrize("n", [6, 60])
def test_baked_steering_fires_everywhere_if_the_inputs_contain_a_constant(n):
    on, off = inputs(40, 40, n)
    on[:, 0] = off[:, 0] = 5.0
    product = on @ fit_gate(on, off, 0.0)
    assert (product - 1).abs().max() < 0.05
    assert abs(float(product.mean()) - 1) < 0.01


def test_a_stricter_gate_is_more_silent_on_harmless_inputs_and_still_fires():
    on, off = inputs(200, 200, 10)
    gates = [fit_gate(on, off, mu) for mu in (0.0, 0.3, 3.0, 30.0)]
    silent = [float((off @ c).square().mean()) for c in gates]
    assert silent == sorted(silent, reverse=True) and silent[-1] < 0.05 * silent[0]
    assert all(float((on @ c).mean()) > float((off @ c).mean()) for c in gates[1:])


@pytest.mark.parametrize(("n_on", "n_off"), [(4, 3), (2, 1)])
def test_inputs_that_are_zero_get_exactly_no_weight(n_on, n_off):
    assert not fit_gate(torch.zeros(n_on, 3), torch.zeros(n_off, 3), 1.0).any()
    on, off = inputs(n_on, n_off, 3)
    on[:, 1] = off[:, 1] = 0
    found = fit_gate(on, off, 1.0)
    assert found[1] == 0 and found[0] and found[2]
    assert not fit_gate(on[:0], off, 1.0).any()  # nothing to fire on


def test_a_gate_of_inputs_in_bfloat16_is_solved_in_double_precision():
    on, off = (side.bfloat16() for side in inputs(20, 20, 8))
    close(fit_gate(on, off, 1.0), slow_fit(on.float(), off.float(), 1.0)[0])


@pytest.mark.parametrize("size", [1e-25, 1e12])
def test_very_small_and_very_large_inputs_only_scale_the_gate(size):
    on, off = inputs(10, 10, 15)
    close(fit_gate(on * size, off * size, 1.0) * size, fit_gate(on, off, 1.0), 1e-4)


@pytest.mark.parametrize("shape", [(12, 8, 6), (4, 3, 12)])
def test_an_extreme_strictness_is_finite_and_the_limit_of_its_neighbours(shape):
    on, off = inputs(*shape)
    close(fit_gate(on, off, 1e-60), fit_gate(on, off, 0.0))
    assert fit_gate(on, off, 1e60).isfinite().all()
    assert float((off @ fit_gate(on, off, 1e60)).abs().max()) < 1e-3


# --- silence


def plain_silence(right, harmless, count):
    used = right.nonzero().flatten()
    _, values, rows = np.linalg.svd(harmless[:, used].double().numpy(), full_matrices=False)
    strongest = torch.from_numpy(rows[: min(count, len(used) - 1)][values[: min(count, len(used) - 1)] > 1e-6])
    kept = right.double().clone()
    for direction in strongest:
        kept[used] -= (kept[used] @ direction) * direction
    return kept


@pytest.mark.parametrize("count", [1, 3, 7, 100])
@pytest.mark.parametrize("shape", [(30, 8), (5, 20), (9, 9)])
def test_silence_equals_a_plain_svd(shape, count):
    generator = torch.Generator().manual_seed(count)
    harmless = torch.randn(*shape, generator=generator)
    right = torch.randn(shape[1], generator=generator)
    close(silence(right, harmless, count), plain_silence(right, harmless, count))
    right[::3] = 0
    silent = silence(right, harmless, count)
    close(silent, plain_silence(right, harmless, count))
    assert not silent[::3].any()


def test_the_directions_are_orthonormal_and_strongest_first():
    for shape in ((30, 8), (5, 20)):
        harmless = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
        found = strongest_directions(harmless, 4)
        close(found @ found.T, torch.eye(4))
        strength = (harmless @ found.T).square().sum(dim=0)
        assert (strength.diff() < 0).all()


@pytest.mark.parametrize("rows", [3, 50])
def test_directions_that_no_harmless_input_has_are_left_alone(rows):
    """Whether there are more rows than inputs or fewer: what is silent anyway loses nothing."""
    harmless = torch.zeros(rows, 10)
    harmless[:, 2] = torch.arange(1.0, rows + 1)
    right = torch.arange(1.0, 11)
    expected = right.clone()
    expected[2] = 0
    torch.testing.assert_close(silence(right, harmless, 8), expected)
    assert strongest_directions(harmless, 8).shape == (1, 10)
    assert torch.equal(silence(right, torch.zeros(rows, 10), 5), right)


def test_one_direction_at_least_is_left_and_an_empty_edit_stays_empty():
    harmless = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert silence(torch.ones(4), harmless, 99).norm() > 1e-3
    one = torch.tensor([0.0, 2.0, 0.0, 0.0])
    assert torch.equal(silence(one, harmless, 3), one)
    assert not silence(torch.zeros(4), harmless, 3).any()
