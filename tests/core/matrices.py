"""A model that is only the matrices at its sites, for tests of the pure formulas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core import ActivationMeans
from s2e_core.spec import ModelSpec, Site
from s2e_core.values import Provenance

PROVENANCE = Provenance("matrices", None, "0", "contrast", "1")
Inputs = Sequence[Sequence[float]]


@dataclass(frozen=True, eq=False)
class Matrices:
    """A `WeightSource` with one matrix (d, n_inputs) per site."""

    spec: ModelSpec
    weights: tuple[Tensor, ...]

    def weight(self, site: int) -> Tensor:
        return self.weights[site]

    def blocks(self, site: int) -> Iterator[Tensor]:
        yield self.weights[site]

    @classmethod
    def of(cls, weight: Tensor, width: int = 1) -> Matrices:
        """One site: of neurons if the width is 1, else of heads."""
        d_model, n_inputs = weight.shape
        site = Site(0, "neurons" if width == 1 else "heads", "only", n_inputs // width, width)
        return cls(ModelSpec("matrices", 1, d_model, (site,)), (weight,))

    @classmethod
    def random(cls, seed: int = 0, n_layers: int = 3, d_model: int = 16) -> Matrices:
        """Layers with 4 heads of width 3 and with 10 neurons."""
        generator = torch.Generator().manual_seed(seed)
        sites, weights = [], []
        for layer in range(n_layers):
            sites += [Site(layer, "heads", f"{layer}.heads", 4, 3), Site(layer, "neurons", f"{layer}.neurons", 10, 1)]
            weights += [torch.randn(d_model, n, generator=generator) for n in (12, 10)]
        return cls(ModelSpec("matrices", n_layers, d_model, tuple(sites)), tuple(weights))

    def inputs(self, seed: int) -> list[list[float]]:
        """Random mean inputs for every site."""
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(site.n_inputs, generator=generator).tolist() for site in self.spec.sites]


def activation_means(source: Matrices, positive: Inputs, negative: Inputs) -> ActivationMeans:
    plus, minus = (tuple(torch.tensor(x) for x in side) for side in (positive, negative))
    return ActivationMeans(source.spec, plus, minus, 1, 1, 1, PROVENANCE)
