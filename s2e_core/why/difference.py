"""How two checkpoints of one architecture differ, per head and neuron, and whether one direction explains it.

Knows two sources of weights for the same sites; no file. A base with its LoRA adapter is such a pair as soon as a
library has merged it. One projection's difference is in memory at a time, and one (d, d) matrix for the shared u.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.errors import S2EError
from s2e_core.progress import Progress
from s2e_core.spec import Component, Kind, ModelSpec
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
    units: tuple[Tensor, ...]
    """Left singular vector of the largest of them, of either sign; zero if nothing changed. Per site: (d,)."""
    rank_one: Tensor
    """Share of |dW|^2 that the best rank-1 matrix of each site explains, 0 if nothing changed: (sites,)."""
    shared: float
    """Share of all squared change that one output direction u, the same for all sites, explains; 0 without change."""
    shared_direction: Tensor
    """That direction u: (d,)."""
    before: float
    """Norm |W| of the first model's weights over all sites."""

    @property
    def total(self) -> float:
        """Norm |dW| over all sites."""
        return sum(float(change.double().square().sum()) for change in self.changes) ** 0.5

    @property
    def each_rank_one(self) -> float:
        """Share of all squared change that one rank-1 matrix for every site explains; 0 without change."""
        squares = torch.tensor([float(change.double().square().sum()) for change in self.changes])
        return float((squares * self.rank_one).sum() / squares.sum()) if float(squares.sum()) > 0 else 0.0

    @property
    def changed(self) -> tuple[int, ...]:
        """Indices in `spec.sites` of the sites that changed."""
        return tuple(i for i, change in enumerate(self.changes) if bool(change.any()))

    @property
    def relative_size(self) -> float:
        """|dW| / |W| over all sites."""
        return self.total / self.before if self.before else 0.0

    def count(self, kind: Kind) -> int:
        """Number of components of one kind that changed."""
        return sum(int((self.changes[i] > 0).sum()) for i in self.spec.of_kind(kind))

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

    Raises S2EError if the models have other sites or a change is beyond fp32, Cancelled if `progress` raises it.
    """
    spec = first.spec
    _check_same_sites(first, second)
    gram = torch.zeros(spec.d_model, spec.d_model, dtype=torch.float64)
    changes, relative, spectra, units, shares, weights = [], [], [], [], [], 0.0
    for index, site in enumerate(spec.sites):
        own = torch.zeros_like(gram)
        norms: list[tuple[Tensor, Tensor]] = []
        for a, b in zip(first.blocks(index), second.blocks(index), strict=True):  # (d, n)
            delta = (b.cpu() - a.cpu()).double()
            own += delta @ delta.T
            norms.append((_block_norms(delta, site.width), _block_norms(a.cpu().double(), site.width)))
        change, before = (torch.cat(parts) for parts in zip(*norms, strict=True))
        if not bool(change.float().isfinite().all()):
            raise S2EError(
                f"The change of {site.name} is too large to be compared, or contains values that are not finite. "
                "Choose a checkpoint or an adapter whose weights are those of a model that works."
            )
        changes.append(change.float())
        weights += float(before.square().sum())
        relative.append(torch.where(before > 0, change / before.clamp(min=1e-30), 0.0).float())
        squares, vectors = _squared_singular(own)
        spectra.append(squares[:N_SINGULAR].sqrt().float())
        units.append(vectors[:, 0].float())
        shares.append(float(squares[0] / squares.sum()) if float(squares.sum()) > 0 else 0.0)
        gram += own
        if progress is not None:
            progress(index + 1, len(spec.sites))
    squares, vectors = _squared_singular(gram)
    whole = float(squares.sum())
    return WeightDifference(
        spec, tuple(changes), tuple(relative), tuple(spectra), tuple(units), torch.tensor(shares),
        float(squares[0]) / whole if whole > 0 else 0.0, vectors[:, 0].float(), weights**0.5,
    )  # fmt: skip


@torch.no_grad()
def change_along(
    first: WeightSource, second: WeightSource, units: Sequence[Tensor], *, progress: Progress | None = None
) -> tuple[Tensor, ...]:
    """What of the difference lies along directions: u^T dW. Per site: (k, n_inputs), fp64, for k rows of `units`.

    `units` are unit directions or zero, per site: (k, d). `progress` counts sites. Raises S2EError if the models have
    other sites, Cancelled if `progress` raises it.
    """
    _check_same_sites(first, second)
    found = []
    for index, rows in enumerate(units):
        parts = [
            rows.double() @ (b.cpu().double() - a.cpu().double())
            for a, b in zip(first.blocks(index), second.blocks(index), strict=True)
        ]
        found.append(torch.cat(parts, dim=1))
        if progress is not None:
            progress(index + 1, len(units))
    return tuple(found)


def _check_same_sites(first: WeightSource, second: WeightSource) -> None:
    spec, other = first.spec, second.spec
    if not spec.same_sites(other):
        raise S2EError(
            f"The two models have other heads and neurons: {spec.model_type} with {spec.n_layers} layers of width "
            f"{spec.d_model}, and {other.model_type} with {other.n_layers} of width {other.d_model}. "
            "Choose two checkpoints of one architecture and size."
        )


def _squared_singular(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Squared singular values of dW from dW dW^T (d, d), the largest first, and its left singular vectors (d, d).

    They are the eigenvalues, whatever the number of inputs. A weight that did not change needs no decomposition.
    """
    if not bool(gram.any()):
        return torch.zeros(len(gram), dtype=gram.dtype), torch.zeros_like(gram)
    values, vectors = torch.linalg.eigh(gram)
    return values.flip(0).clamp(min=0), vectors.flip(1)


def _block_norms(matrix: Tensor, width: int) -> Tensor:
    return torch.linalg.vector_norm(matrix.unflatten(1, (-1, width)), dim=(0, 2))
