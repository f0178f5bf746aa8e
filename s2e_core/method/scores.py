"""Component scores: how much every head and every neuron writes along its site's steering direction.

Knows tensors and sites only. Scores and keys depend on the contrast set alone: the dials of an edit are
applied to them later, without the model.
"""

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from s2e_core.values import ActivationMeans, ComponentScores, MeanInputs, Provenance, SteeringDirections, WeightSource


@torch.no_grad()
def component_scores(
    loaded: WeightSource, means: ActivationMeans | MeanInputs, directions: SteeringDirections
) -> ComponentScores:
    """g_i = cos(v, W_i xbar_i) (README, step 2: alignment) and k_i = W_i^T v / |W_i^T v| (README, step 3: key).

    xbar is the mean of the two sides' means; for directions from elsewhere, mean inputs without sides are enough. If
    W_i xbar_i or W_i^T v is zero, g or k is zero: no edit, never NaN.
    """
    per_site = []
    for index, (site, mean_input, unit) in enumerate(zip(means.spec.sites, means.mean, directions.unit, strict=True)):
        parts, first = [], 0
        for block in loaded.blocks(index):  # (d, n)
            x = mean_input[first : first + block.shape[1]]
            parts.append([tensor.cpu() for tensor in score_site(block, x, unit, site.width)])
            first += block.shape[1]
        per_site.append(tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    g, keys, weight_norms, contributions = zip(*per_site, strict=True)
    return ComponentScores(means.spec, g, keys, weight_norms, contributions, _provenance(means, directions))


def _provenance(means: ActivationMeans | MeanInputs, directions: SteeringDirections) -> Provenance:
    """That of the inputs, and of the directions too if they come from other examples."""
    inputs, source = means.provenance, directions.provenance
    if inputs.contrast_hash == source.contrast_hash:
        return inputs
    digest = hashlib.sha256(f"{source.contrast_hash} {inputs.contrast_hash}".encode()).hexdigest()
    return replace(
        inputs, contrast_name=f"{source.contrast_name}, inputs of {inputs.contrast_name}", contrast_hash=digest
    )


def score_site(weight: Tensor, mean_input: Tensor, unit: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One site's g (n,), keys (n, width), weight norms (n,) and mean contributions along `unit` (n,).

    n is the number of components in `weight`, all of the site or some of them. `weight` is (d, n * width) in (out, in)
    order, `mean_input` (n * width,), `unit` (d,).
    """
    mean_input, unit = mean_input.to(weight.device), unit.to(weight.device)
    blocks = weight.unflatten(1, (-1, width))  # (d, n, width)
    inputs = mean_input.unflatten(0, (-1, width))  # (n, width)
    along = (unit @ weight).unflatten(0, (-1, width))  # (n, width): W_i^T u
    keys = _divide(along, torch.linalg.vector_norm(along, dim=1, keepdim=True))
    weight_norms = torch.linalg.vector_norm(blocks, dim=(0, 2))  # (n,)
    contributions = (along * inputs).sum(dim=1)  # (n,): u . W_i xbar_i
    if width == 1:  # |w_n xbar_n| = |w_n| |xbar_n|: no (d, n) product is needed
        lengths = weight_norms * inputs.abs().squeeze(1)
    else:
        lengths = torch.linalg.vector_norm(torch.einsum("dnw,nw->nd", blocks, inputs), dim=1)
    g = _divide(contributions, lengths).clamp(-1, 1)  # rounding may exceed 1 by an ulp
    return g, keys, weight_norms, contributions


def _divide(value: Tensor, length: Tensor) -> Tensor:
    return torch.where(length > 0, value / length.where(length > 0, torch.ones_like(length)), 0.0)
