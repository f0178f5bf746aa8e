"""From scores to the weight edit: the elastic net, the selection, and the formula that changes a weight.

Knows tensors and sites only. Everything a slider does happens here, without a model and without a matrix product.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from s2e_core.errors import SettingsError
from s2e_core.settings import EditSettings, Selection
from s2e_core.spec import Component, Kind
from s2e_core.values import ComponentScores, Extraction, WeightEdit

_BITS = MappingProxyType({2: torch.int16, 4: torch.int32, 8: torch.int64})
"""Bytes of a number -> the integers of the same size."""


def elastic_net(g: Tensor, rho: float, alpha: float) -> Tensor:
    """lambda = sign(g) * max(|g| - rho * alpha, 0) / (rho * (1 - alpha)), elementwise (method, step 3).

    The maximiser of g * lambda - rho * (alpha * |lambda| + (1 - alpha) / 2 * lambda^2): threshold rho * alpha, gain
    1 / (rho * (1 - alpha)). Raises SettingsError unless rho > 0 and 0 <= alpha < 1.
    """
    if not rho > 0 or not 0 <= alpha < 1:
        raise SettingsError(f"The elastic net needs rho > 0 and 0 <= alpha < 1, got rho = {rho} and alpha = {alpha}.")
    return g.sign() * (g.abs() - rho * alpha).clamp(min=0) / (rho * (1 - alpha))


def build_edit(extraction: Extraction, settings: EditSettings) -> WeightEdit:
    """dW_i = lambda_i * u_i * k_i^T for every component, all of a site in one outer product (method, steps 1 to 3).

    Raises SettingsError where the settings name a component that the model does not have.
    """
    scores = extraction.scores
    sizes = [site.n_components for site in scores.spec.sites]
    for component in settings.strengths:
        _check_exists(component, sizes)
    masks = _site_masks(settings.selection, sizes)
    strengths = tuple(_site_strength(scores, site, settings, mask) for site, mask in enumerate(masks))
    right = tuple((s.unsqueeze(1) * keys).flatten() for s, keys in zip(strengths, scores.keys, strict=True))
    return WeightEdit(scores.spec, extraction.directions.unit, right, strengths, settings, scores.provenance)


def edited_weight(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """weight + outer(left, right), added in fp32 and cast once back to the weight's dtype.

    `weight` is (d, n_inputs) in (out, in) order, `left` (d,), `right` (n_inputs,). Columns whose `right` is zero keep
    every bit.
    """
    left, right = left.to(weight.device), right.to(weight.device)
    bits = _BITS[weight.itemsize]
    old, new = weight.view(bits), torch.addr(weight.float(), left, right).to(weight.dtype).view(bits)
    # Adding 0 would turn a stored -0 into +0. Choosing by bits takes a third of the time of torch.where.
    edited = (right != 0).to(bits).neg_()
    return new.bitwise_xor_(old).bitwise_and_(edited).bitwise_xor_(old).view(weight.dtype)


def rho_for_count(scores: ComponentScores, kind: Kind, count: int, alpha: float) -> float:
    """The rho at which the `count` components of a kind with the largest |g| pass the threshold rho * alpha.

    The threshold lies half way between the last that passes and the first that does not; ties pass together or not at
    all. Raises SettingsError for alpha = 0, where every component passes.
    """
    if not 0 < alpha < 1:
        raise SettingsError("With alpha = 0 every component passes; choose an alpha above 0 to limit their number.")
    g = torch.cat([scores.g[i] for i in scores.spec.of_kind(kind)]).abs()
    count = min(count, len(g))
    strongest = [1.0, *g.topk(min(count + 1, len(g))).values.tolist(), 0.0]  # |g| never exceeds 1
    # Never exactly zero: a rho must be positive, and components with g = 0 pass no threshold anyway.
    return max((strongest[count] + strongest[count + 1]) / 2, 1e-6) / alpha


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


@dataclass(frozen=True, eq=False)
class _SiteMask:
    """One site's part of a selection, each (n_components,) and bool; None where it restricts nothing."""

    only: Tensor | None
    included: Tensor
    excluded: Tensor


def _site_strength(scores: ComponentScores, site: int, settings: EditSettings, mask: _SiteMask) -> Tensor:
    """lambda_i of one site (n_components,), with selection and multipliers applied."""
    g, keys, layer = scores.g[site], scores.keys[site], scores.spec.sites[site].layer
    rho = settings.rho(scores.spec.sites[site].kind)
    if rho is None:
        return torch.zeros_like(g)
    lam = elastic_net(g, rho, settings.alpha)
    layers = settings.selection.layers
    if layers is not None and not layers[0] <= layer <= layers[1]:
        lam = torch.zeros_like(lam)
    if mask.only is not None:
        lam = torch.where(mask.only, lam, 0.0)
    lam = torch.where(mask.included, g / (rho * (1 - settings.alpha)), lam)  # chosen by hand: no threshold
    lam = torch.where(mask.excluded, 0.0, lam)
    for component, factor in settings.strengths.items():
        if component.site == site:
            lam[component.index] *= factor
    # A component that reads nothing along v (k_i = 0) cannot be edited, whatever its g.
    return torch.where(keys.any(dim=1), lam * settings.strength, 0.0)


def _check_exists(component: Component, sizes: list[int]) -> None:
    """A number below 0 would mean another component, and a site too many none at all, without a word."""
    site, index = component
    if not 0 <= site < len(sizes) or not 0 <= index < sizes[site]:
        raise SettingsError(
            f"The settings name component {index} of site {site}, which this model does not have: its {len(sizes)} "
            "sites and their components are counted from 0."
        )


def _site_masks(selection: Selection, sizes: list[int]) -> list[_SiteMask]:
    only = [None] * len(sizes) if selection.only is None else _membership(selection.only, sizes)
    included, excluded = _membership(selection.included, sizes), _membership(selection.excluded, sizes)
    return [_SiteMask(*masks) for masks in zip(only, included, excluded, strict=True)]


def _membership(components: frozenset[Component], sizes: list[int]) -> list[Tensor]:
    masks = [torch.zeros(size, dtype=torch.bool) for size in sizes]
    for component in components:
        _check_exists(component, sizes)
        masks[component.site][component.index] = True
    return masks
