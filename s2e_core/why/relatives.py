"""The relatives of a component: which others write in nearly the same direction, or in the opposite one.

Knows weights and mean inputs; no forward pass. A neuron writes along its column, a head along its mean output;
both with the sign of what they write on average. One site's weight is read at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.spec import Component, Kind
from s2e_core.values import ActivationMeans, MeanInputs, WeightSource

from .interventions import component_weight

N_RELATIVES = 8


@dataclass(frozen=True, eq=False)
class Relative:
    """Another component, and the cosine of what both write on average."""

    component: Component
    kind: Kind
    cosine: float


@torch.no_grad()
def relatives(
    loaded: WeightSource, means: ActivationMeans | MeanInputs, component: Component, *, count: int = N_RELATIVES
) -> tuple[Relative, ...]:
    """The components whose mean outputs have the largest |cosine| with this one's, the largest first."""
    width = loaded.spec.sites[component.site].width
    columns = slice(component.index * width, (component.index + 1) * width)
    own = component_weight(loaded, component) @ means.mean[component.site][columns]
    length = torch.linalg.vector_norm(own)
    if not bool(length > 0):
        return ()
    found: list[Relative] = []
    for index, site in enumerate(loaded.spec.sites):
        cosines = _cosines(loaded, index, means.mean[index], own / length)
        if index == component.site:
            cosines[component.index] = 0.0
        for n in cosines.abs().topk(min(count, len(cosines))).indices.tolist():
            found.append(Relative(Component(index, n), site.kind, float(cosines[n])))
    return tuple(sorted(found, key=lambda one: -abs(one.cosine))[:count])


def _cosines(loaded: WeightSource, index: int, mean_input: Tensor, unit: Tensor) -> Tensor:
    """cos(unit, W_i xbar_i) of every component of a site: (n_components,); 0 where nothing is written."""
    width, first, parts = loaded.spec.sites[index].width, 0, []
    for block in loaded.blocks(index):  # (d, n)
        x = mean_input[first : first + block.shape[1]].to(block)
        along = ((unit.to(block) @ block) * x).unflatten(0, (-1, width)).sum(dim=1)
        if width == 1:
            lengths = torch.linalg.vector_norm(block, dim=0) * x.abs()
        else:
            outputs = torch.einsum("dnw,nw->nd", block.unflatten(1, (-1, width)), x.unflatten(0, (-1, width)))
            lengths = torch.linalg.vector_norm(outputs, dim=1)
        parts.append(torch.where(lengths > 0, along / lengths.clamp(min=1e-30), 0.0).cpu())
        first += block.shape[1]
    return torch.cat(parts)
