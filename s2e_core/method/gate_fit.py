"""The closed form of baked and gated steering: the vector c of a site whose product with the input says when to steer.

Knows tensors only. Related: conditional steering by a second direction (CAST, Lee et al., arXiv 2409.05907), and edits
that are silent on harmless inputs (AlphaSteer, arXiv 2506.07022; AlphaEdit, arXiv 2410.02355).
"""

from __future__ import annotations

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
    rows, weights, targets = weighted_rows(on, off, mu)
    ridge = RIDGE * float((weights @ rows.square()).mean())
    if not ridge:
        return on.new_zeros(on.shape[1], dtype=torch.float32)
    wide = rows.shape[1] > rows.shape[0]
    return (solve_dual if wide else solve_primal)(rows, weights, targets, ridge).float()


def weighted_rows(on: Tensor, off: Tensor, mu: float) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (rows, n), their weights (rows,) and targets 1 and 0 (rows,) of the least-squares problem, fp64."""
    off = off[:0] if mu == 0 else off
    rows = torch.cat([on, off]).double()
    weights, targets = rows.new_full((len(rows),), mu / max(len(off), 1)), rows.new_zeros(len(rows))
    weights[: len(on)], targets[: len(on)] = 1 / max(len(on), 1), 1
    return rows, weights, targets


def solve_primal(rows: Tensor, weights: Tensor, targets: Tensor, ridge: float) -> Tensor:
    """(X^T W X + eps I)^-1 X^T W y: a system as large as the number of inputs."""
    weighted = rows * weights.unsqueeze(1)
    gram = rows.T @ weighted
    gram.diagonal().add_(ridge)
    return _solve(gram, weighted.T @ targets)


def solve_dual(rows: Tensor, weights: Tensor, targets: Tensor, ridge: float) -> Tensor:
    """X^T (X X^T + eps W^-1)^-1 y, the same vector: a system as large as the number of rows."""
    gram = rows @ rows.T
    gram.diagonal().add_(ridge / weights)
    return rows.T @ _solve(gram, targets)


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


def _solve(matrix: Tensor, targets: Tensor) -> Tensor:
    return torch.cholesky_solve(targets.unsqueeze(1), torch.linalg.cholesky(matrix)).squeeze(1)
