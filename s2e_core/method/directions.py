"""Steering directions: the difference of the mean outputs of every projection.

Knows tensors and sites only. The projections are linear, so the direction at a projection's output follows from the
means of its inputs, v = W (xbar_positive - xbar_negative), and a bias cancels. The biases of experts do not cancel,
since the two sides' tokens are sent to different experts.
"""

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from s2e_core.values import ActivationMeans, SteeringDirections, WeightSource


@torch.no_grad()
def steering_directions(loaded: WeightSource, means: ActivationMeans) -> SteeringDirections:
    """v = mean_post(positive) - mean_post(negative) per site (README, step 1: direction), as unit direction and length.

    A site whose two means are equal gets a zero direction, and so no edit.
    """
    units, norms = [], []
    for site, (positive, negative) in enumerate(zip(means.positive, means.negative, strict=True)):
        v = project(loaded, site, positive - negative)  # (d,)
        if site in means.more:
            v = v + means.more[site].to(v.device)
        norm = torch.linalg.vector_norm(v)
        units.append(torch.where(norm > 0, v / norm, torch.zeros_like(v)).cpu())
        norms.append(norm.cpu())
    return SteeringDirections(spec=means.spec, unit=tuple(units), norm=torch.stack(norms), provenance=means.provenance)


def opposite(directions: SteeringDirections) -> SteeringDirections:
    """The directions of the opposite behaviour, -v; their provenance says so."""
    source = directions.provenance
    digest = hashlib.sha256(f"opposite {source.contrast_hash}".encode()).hexdigest()
    provenance = replace(source, contrast_name=f"{source.contrast_name}, the opposite", contrast_hash=digest)
    return replace(directions, unit=tuple(-unit for unit in directions.unit), provenance=provenance)


def project(loaded: WeightSource, site: int, captured: Tensor) -> Tensor:
    """Output W x, (..., d) in fp32, for captured inputs (..., n_inputs) and any extra output (..., d) after them."""
    first, outputs = 0, []
    for block in loaded.blocks(site):  # (d, n)
        x = captured[..., first : first + block.shape[1]]
        outputs.append(x.to(block) @ block.T)
        first += block.shape[1]
    if first < captured.shape[-1]:
        outputs.append(captured[..., first:].to(outputs[0]))
    return torch.stack(outputs).sum(dim=0)
