"""The closed form of baked and gated steering: the vector c of a site whose product with the input says when to steer.

Knows tensors only. Related: conditional steering by a second direction (CAST, Lee et al., arXiv 2409.05907), and edits
that are silent on harmless inputs (AlphaSteer, arXiv 2506.07022; AlphaEdit, arXiv 2410.02355).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

RIDGE = 1e-3
"""Ridge of the fit as a share of the mean square of an input."""


@torch.no_grad()
def fit_gate(on: Tensor, off: Tensor, mu: float) -> Tensor:
    """c = (S_on + mu S_off + eps I)^-1 m_on, fp32 (n,); see README, the families of edits.

    It minimises E_on[(c . x - 1)^2] + mu E_off[(c . x)^2] + eps |c|^2, where `on` (N, n) and `off` (M, n) are inputs x,
    S = E[x x^T], m = E[x], and eps is RIDGE times the mean diagonal of S_on + mu S_off. With mu = 0 it is steering
    baked into the weights: c . x is about 1 for every input. Inputs that are all zero give c = 0.
    """
    return fit_gates(on, off, [mu])[0]


@torch.no_grad()
def fit_gates(on: Tensor, off: Tensor, mus: Sequence[float]) -> Tensor:
    """`fit_gate` for every mu, fp32 (len(mus), n): the products of the inputs, which cost most, are computed once."""
    on, off = on.double(), off.double()
    wide = on.shape[1] > len(on) + len(off)
    solve = dual_solver(on, off) if wide else primal_solver(on, off)
    return torch.stack([solve(mu) for mu in mus]).float()


def primal_solver(on: Tensor, off: Tensor) -> Callable[[float], Tensor]:
    """From mu to (S_on + mu S_off + eps I)^-1 m_on, (n,): a system as large as the number of inputs."""
    s_on, s_off = on.T @ on / max(len(on), 1), off.T @ off / max(len(off), 1)
    m_on = on.sum(dim=0) / max(len(on), 1)

    def solve(mu: float) -> Tensor:
        matrix = s_on + mu * s_off
        ridge = RIDGE * matrix.diagonal().mean()
        return _solve(matrix, ridge.expand(len(matrix)), m_on)

    return solve


def dual_solver(on: Tensor, off: Tensor) -> Callable[[float], Tensor]:
    """From mu to X^T (X X^T + eps W^-1)^-1 y, the same vector: a system as large as the number of rows.

    W are the rows' weights 1 / N and mu / M, y their targets 1 and 0.
    """
    rows = torch.cat([on, off])
    gram, squares = rows @ rows.T, rows.square().mean(dim=1)
    targets = torch.cat([on.new_ones(len(on)), off.new_zeros(len(off))])

    def solve(mu: float) -> Tensor:
        n = len(rows) if mu else len(on)  # a weight of 0 has no inverse: such rows are left out
        weights = (targets / max(len(on), 1) + (1 - targets) * mu / max(len(off), 1))[:n]
        ridge = RIDGE * (weights @ squares[:n])
        return rows[:n].T @ _solve(gram[:n, :n], ridge / weights, targets[:n])

    return solve


def strongest_directions(inputs: Tensor, count: int) -> Tensor:
    """The `count` strongest input directions of `inputs` (N, n) as orthonormal rows (count, n), fp32.

    They are the eigenvectors of E[x x^T] with the largest eigenvalues; at most as many as `inputs` have directions.
    """
    rows = inputs.double()
    wide = rows.shape[1] > rows.shape[0]
    values, vectors = torch.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    known = values > 1e-12 * values[:1]  # the rest is noise of rounding: directions that no input has
    values, vectors = values[known], vectors[:, known]
    return ((rows.T @ vectors / values.sqrt()) if wide else vectors).T.float()


def silence(right: Tensor, inputs: Tensor, count: int) -> Tensor:
    """`right` (n,) without its part along the `count` strongest directions of harmless `inputs` (N, n).

    Only inputs that the edit reads count, so that it stays on its components, and at least one direction is left.
    """
    used = right.nonzero().squeeze(1)
    count = min(count, len(used) - 1)
    if count < 1:
        return right
    directions = strongest_directions(inputs[:, used], count)
    kept = right.clone()
    kept[used] -= (right[used] @ directions.T) @ directions
    return kept


def _solve(matrix: Tensor, ridge: Tensor, targets: Tensor) -> Tensor:
    """(matrix + diag(ridge))^-1 targets; 0 without a ridge, where all inputs are zero."""
    if not bool(ridge.any()):
        return torch.zeros_like(targets)
    factor = torch.linalg.cholesky(matrix + ridge.diag())
    return torch.cholesky_solve(targets.unsqueeze(1), factor).squeeze(1)
