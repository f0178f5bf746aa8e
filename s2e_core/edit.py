"""From scores to the weight edit: the elastic net, the selection, and the formula that changes a weight.

Knows tensors and sites only. Everything a slider does happens here, without a model and without a matrix product.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import SettingsError
from .types import Component, ComponentScores, EditSettings, Kind, Selection, SteeringDirections, WeightEdit


def elastic_net(g: Tensor, rho: float, alpha: float) -> Tensor:
    """lambda = sign(g) * max(|g| - rho * alpha, 0) / (rho * (1 - alpha)), elementwise (method, step 3).

    The maximiser of g * lambda - rho * (alpha * |lambda| + (1 - alpha) / 2 * lambda^2): threshold rho * alpha, gain
    1 / (rho * (1 - alpha)). Raises SettingsError unless rho > 0 and 0 <= alpha < 1.
    """
    if not rho > 0 or not 0 <= alpha < 1:
        raise SettingsError(f"The elastic net needs rho > 0 and 0 <= alpha < 1, got rho = {rho} and alpha = {alpha}.")
    return g.sign() * (g.abs() - rho * alpha).clamp(min=0) / (rho * (1 - alpha))


def build_edit(scores: ComponentScores, directions: SteeringDirections, settings: EditSettings) -> WeightEdit:
    """dW_i = lambda_i * u_i * k_i^T for every component, all of a site in one outer product (method, steps 1 to 3)."""
    strengths = tuple(_site_strength(scores, site, settings) for site in range(len(scores.spec.sites)))
    right = tuple((s.unsqueeze(1) * keys).flatten() for s, keys in zip(strengths, scores.keys, strict=True))
    return WeightEdit(scores.spec, directions.unit, right, strengths, settings, scores.provenance)


def edited_weight(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """weight + outer(left, right), added in fp32 and cast once back to the weight's dtype.

    `weight` is (d, n_inputs) in (out, in) order, `left` (d,), `right` (n_inputs,). Columns whose `right` is zero keep
    every bit.
    """
    return torch.addr(weight.float(), left.to(weight.device), right.to(weight.device)).to(weight.dtype)


def rho_for_count(scores: ComponentScores, kind: Kind, count: int, alpha: float) -> float:
    """The rho at which the `count` components of a kind with the largest |g| pass the threshold rho * alpha.

    The threshold lies half way between the last that passes and the first that does not; ties pass together or not at
    all. Raises SettingsError for alpha = 0, where every component passes.
    """
    if not 0 < alpha < 1:
        raise SettingsError("With alpha = 0 every component passes; choose an alpha above 0 to limit their number.")
    sizes = [scores.g[i] for i in scores.spec.of_kind(kind)]
    strongest = torch.cat(sizes).abs().sort(descending=True).values if sizes else torch.zeros(1)
    inside = float(strongest[count - 1]) if count > 0 else 1.0
    outside = float(strongest[count]) if count < len(strongest) else 0.0
    if count == 0:
        inside = max(1.0, outside)
    # Never exactly zero: a rho must be positive, and all-zero scores pass nothing anyway.
    return max((inside + outside) / 2, 1e-6) / alpha


@dataclass(frozen=True, eq=False)
class EditSummary:
    """The size of an edit in counts and relative to the weights it changes (all ratios of Frobenius norms)."""

    n_heads: int
    n_neurons: int
    n_layers: int
    """Layers with at least one changed component."""
    relative_size: float
    """|dW| / |W| over all sites of the model."""
    largest_change: float
    """The largest |dW_i| / |W_i| of a single component."""


def relative_changes(scores: ComponentScores, edit: WeightEdit) -> tuple[Tensor, ...]:
    """|dW_i| / |W_i| per site (n_components,): |lambda_i|, since u_i and k_i have length 1, over the block's norm."""
    return tuple(
        torch.where(norms > 0, lam.abs() * keys.norm(dim=1) / norms.clamp(min=1e-30), 0.0)
        for lam, keys, norms in zip(edit.strength, scores.keys, scores.weight_norms, strict=True)
    )


def summarize(scores: ComponentScores, edit: WeightEdit) -> EditSummary:
    """Counts and relative sizes. Components are disjoint blocks, so squared norms add up."""
    change = sum(float(right.square().sum()) for right in edit.right)
    weight = sum(float(norms.square().sum()) for norms in scores.weight_norms)
    return EditSummary(
        n_heads=edit.count("heads"),
        n_neurons=edit.count("neurons"),
        n_layers=len({edit.spec.sites[i].layer for i in edit.edited_sites()}),
        relative_size=(change / weight) ** 0.5 if weight else 0.0,
        largest_change=max((float(ratio.max()) for ratio in relative_changes(scores, edit)), default=0.0),
    )


def _site_strength(scores: ComponentScores, site: int, settings: EditSettings) -> Tensor:
    """lambda_i of one site (n_components,), with selection and multipliers applied."""
    g, keys = scores.g[site], scores.keys[site]
    rho = settings.rho(scores.spec.sites[site].kind)
    if rho is None:
        return torch.zeros_like(g)
    lam = elastic_net(g, rho, settings.alpha)
    lam = _select(lam, g / (rho * (1 - settings.alpha)), site, scores.spec.sites[site].layer, settings.selection)
    for component, factor in settings.strengths.items():
        if component.site == site:
            lam[component.index] *= factor
    # A component that reads nothing along v (k_i = 0) cannot be edited, whatever its g.
    return torch.where(keys.any(dim=1), lam * settings.strength, 0.0)


def _select(lam: Tensor, waived: Tensor, site: int, layer: int, selection: Selection) -> Tensor:
    """`lam` where the selection leaves the threshold in force, `waived` where a person chose the component."""
    if selection.layers is not None and not selection.layers[0] <= layer <= selection.layers[1]:
        lam = torch.zeros_like(lam)
    if selection.only is not None:
        lam = torch.where(_mask(selection.only, site, len(lam)), lam, 0.0)
    lam = torch.where(_mask(selection.included, site, len(lam)), waived, lam)
    return torch.where(_mask(selection.excluded, site, len(lam)), 0.0, lam)


def _mask(components: frozenset[Component], site: int, size: int) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[[c.index for c in components if c.site == site]] = True
    return mask
