"""Steering directions: the difference of the mean outputs of every projection.

Knows tensors and sites only. The projections are linear, so the direction at a projection's output follows from the
means of its inputs, v = W (xbar_positive - xbar_negative), and a bias cancels; the biases of experts do not, since
other tokens are sent to other experts.
"""

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from s2e_core.values import ActivationMeans, SteeringDirections, WeightSource


@torch.no_grad()
def steering_directions(loaded: WeightSource, means: ActivationMeans) -> SteeringDirections:
    """v = mean_post(positive) - mean_post(negative) per site (method, step 0), as unit vector and length.

    A site whose two means are equal gets a zero direction, hence no edit.
    """
    units, norms = [], []
    for site, (positive, negative) in enumerate(zip(means.positive, means.negative, strict=True)):
        v = projected(loaded, site, positive - negative)  # (d,)
        if site in means.more:
            v = v + means.more[site].to(v.device)
        norm = torch.linalg.vector_norm(v)
        units.append(torch.where(norm > 0, v / norm, torch.zeros_like(v)).cpu())
        norms.append(norm.cpu())
    return SteeringDirections(spec=means.spec, unit=tuple(units), norm=torch.stack(norms), provenance=means.provenance)


def opposite(directions: SteeringDirections) -> SteeringDirections:
    """The same directions the other way round, for the opposite behaviour; their provenance says so."""
    given = directions.provenance
    digest = hashlib.sha256(f"opposite {given.contrast_hash}".encode()).hexdigest()
    provenance = replace(given, contrast_name=f"{given.contrast_name}, the opposite", contrast_hash=digest)
    return replace(directions, unit=tuple(-unit for unit in directions.unit), provenance=provenance)


def projected(loaded: WeightSource, site: int, captured: Tensor) -> Tensor:
    """W x, (..., d) in fp32, of inputs (..., n_inputs) of one site, plus what stands behind them, (..., d), if any."""
    first, written = 0, []
    for block in loaded.blocks(site):  # (d, n)
        x = captured[..., first : first + block.shape[1]]
        written.append(x.to(block) @ block.T)
        first += block.shape[1]
    if first < captured.shape[-1]:
        written.append(captured[..., first:].to(written[0]))
    return torch.stack(written).sum(dim=0)
