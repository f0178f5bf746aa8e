"""Steering directions: the difference of the mean outputs of every projection.

Knows tensors and sites only. The projections are linear, so the direction at a projection's output follows from the
means of its inputs, v = W (xbar_positive - xbar_negative), and a bias cancels.
"""

import torch

from .types import ActivationMeans, SteeringDirections, WeightSource


@torch.no_grad()
def steering_directions(loaded: WeightSource, means: ActivationMeans) -> SteeringDirections:
    """v = mean_post(positive) - mean_post(negative) per site (method, step 0), as unit vector and length.

    A site whose two means are equal gets a zero direction, hence no edit.
    """
    units, norms = [], []
    for site, (positive, negative) in enumerate(zip(means.positive, means.negative, strict=True)):
        weight = loaded.weight(site)  # (d, n_inputs)
        v = weight @ (positive - negative).to(weight.device)  # (d,)
        norm = torch.linalg.vector_norm(v)
        units.append(torch.where(norm > 0, v / norm, torch.zeros_like(v)).cpu())
        norms.append(norm.cpu())
    return SteeringDirections(spec=means.spec, unit=tuple(units), norm=torch.stack(norms), provenance=means.provenance)
