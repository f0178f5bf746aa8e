"""How two checkpoints of one architecture differ, per head and neuron, and whether one direction explains it.

Knows two sources of weights for the same sites; no file. A base with its LoRA adapter is such a pair as soon as a
library has merged it. One projection's difference is in memory at a time, and one (d, d) matrix for the shared u.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.errors import S2EError
from s2e_core.progress import Progress
from s2e_core.spec import Component, ModelSpec
from s2e_core.values import WeightSource

N_SINGULAR = 16
"""Number of singular values that are kept of every projection."""


@dataclass(frozen=True, eq=False)
class WeightDifference:
    """The difference dW of every projection, second minus first."""

    spec: ModelSpec
    changes: tuple[Tensor, ...]
    """Frobenius norm |dW_i| of every component. Per site: (n_components,)."""
    relative: tuple[Tensor, ...]
    """Relative change |dW_i| / |W_i|, 0 where the first weight is 0. Per site: (n_components,)."""
    spectrum: tuple[Tensor, ...]
    """Largest singular values of dW, the largest first. Per site: (at most N_SINGULAR,)."""
    rank_one: Tensor
    """Share of |dW|^2 that the best rank-1 matrix of each site explains, 0 if nothing changed: (sites,)."""
    shared: float
    """Share of all squared change that one output direction u, the same for all sites, explains; 0 without change."""
    shared_direction: Tensor
    """That direction u: (d,)."""

    @property
    def total(self) -> float:
        """Norm |dW| over all sites."""
        return sum(float(change.square().sum()) for change in self.changes) ** 0.5

    def largest(self, count: int) -> tuple[Component, ...]:
        """The components that changed most relative to their weights, the most first; unchanged ones are left out."""
        flat = torch.cat(self.relative)
        places = [Component(i, n) for i, values in enumerate(self.relative) for n in range(len(values))]
        order = flat.topk(min(count, len(flat))).indices.tolist()
        return tuple(places[n] for n in order if float(flat[n]) > 0)


@torch.no_grad()
def weight_difference(
    first: WeightSource, second: WeightSource, *, progress: Progress | None = None
) -> WeightDifference:
    """Compare the weights of all sites. `progress` counts sites.

    Raises S2EError if the models have other sites, Cancelled if `progress` raises it.
    """
    spec = first.spec
    if not spec.same_sites(second.spec):
        raise S2EError(
            f"The two models have other heads and neurons: {spec.model_type} with {spec.n_layers} layers of width "
            f"{spec.d_model}, and {second.spec.model_type} with {second.spec.n_layers} of width {second.spec.d_model}. "
            "Choose two checkpoints of one architecture and size."
        )
    gram = torch.zeros(spec.d_model, spec.d_model, dtype=torch.float64)
    changes, relative, spectra, shares = [], [], [], []
    for index, site in enumerate(spec.sites):
        own = torch.zeros_like(gram)
        norms: list[tuple[Tensor, Tensor]] = []
        for a, b in zip(first.blocks(index), second.blocks(index), strict=True):  # (d, n)
            delta = (b.cpu() - a.cpu()).double()
            own += delta @ delta.T
            norms.append((_block_norms(delta, site.width), _block_norms(a.cpu().double(), site.width)))
        change, before = (torch.cat(parts) for parts in zip(*norms, strict=True))
        changes.append(change.float())
        relative.append(torch.where(before > 0, change / before.clamp(min=1e-30), 0.0).float())
        # The squared singular values of dW are the eigenvalues of dW dW^T, whatever the number of inputs.
        squares = torch.linalg.eigvalsh(own).flip(0).clamp(min=0)
        spectra.append(squares[:N_SINGULAR].sqrt().float())
        shares.append(float(squares[0] / squares.sum()) if float(squares.sum()) > 0 else 0.0)
        gram += own
        if progress is not None:
            progress(index + 1, len(spec.sites))
    values, vectors = torch.linalg.eigh(gram)
    whole = float(values.clamp(min=0).sum())
    return WeightDifference(
        spec, tuple(changes), tuple(relative), tuple(spectra), torch.tensor(shares),
        float(values[-1]) / whole if whole > 0 else 0.0, vectors[:, -1].float(),
    )  # fmt: skip


def _block_norms(matrix: Tensor, width: int) -> Tensor:
    return torch.linalg.vector_norm(matrix.unflatten(1, (-1, width)), dim=(0, 2))
