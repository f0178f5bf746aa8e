"""From scores to the weight edit: the elastic net, the selection, and the formula that changes a weight.

Knows tensors and sites only. Everything a slider does happens here, without a model and without a matrix product.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from s2e_core.errors import SettingsError
from s2e_core.settings import EditSettings
from s2e_core.spec import Component, Kind
from s2e_core.values import ComponentScores, Extraction, WeightEdit

_BITS = MappingProxyType({2: torch.int16, 4: torch.int32, 8: torch.int64})
"""Integer type of the same size by the bytes of a number."""


def elastic_net(g: Tensor, rho: float, alpha: float) -> Tensor:
    """lambda = sign(g) * max(|g| - rho * alpha, 0) / (rho * (1 - alpha)), elementwise (README, step 4: strength).

    The maximiser of g * lambda - rho * (alpha * |lambda| + (1 - alpha) / 2 * lambda^2): threshold rho * alpha, gain
    1 / (rho * (1 - alpha)). Raises SettingsError unless rho > 0 and 0 <= alpha < 1.
    """
    if not rho > 0 or not 0 <= alpha < 1:
        raise SettingsError(f"The elastic net needs rho > 0 and 0 <= alpha < 1, got rho = {rho} and alpha = {alpha}.")
    return g.sign() * (g.abs() - rho * alpha).clamp(min=0) / (rho * (1 - alpha))


def edited_mask(scores: ComponentScores, settings: EditSettings) -> tuple[Tensor, ...]:
    """True for the components that the settings select, whatever their strength. Per site: (n_components,), bool.

    The one rule of the selection: |g| above the threshold rho * alpha, within `layers` and `only`; or `included`;
    never `excluded`, and nothing of a kind that is off. Raises SettingsError if the selection names a component that
    the model does not have.
    """
    selection, sites = settings.selection, scores.spec.sites
    sizes = [site.n_components for site in sites]
    included, excluded = _membership(selection.included, sizes), _membership(selection.excluded, sizes)
    only = _membership(selection.only or frozenset(), sizes)
    first, last = selection.layers or (0, scores.spec.n_layers - 1)
    masks = []
    for i, site in enumerate(sites):
        rho = settings.rho(site.kind)
        restricted = selection.only is not None and i not in only
        if rho is None or restricted or not first <= site.layer <= last:
            mask = torch.zeros(site.n_components, dtype=torch.bool)
        else:
            mask = scores.g[i].abs() > rho * settings.alpha
            if i in only:
                mask &= only[i]
        if rho is not None and i in included:
            mask |= included[i]
        if i in excluded:
            mask &= ~excluded[i]
        masks.append(mask)
    return tuple(masks)


def build_edit(extraction: Extraction, settings: EditSettings) -> WeightEdit:
    """dW_i = lambda_i * u * k_i^T for every component, all of a site in one outer product (README, step 5: edit).

    Raises SettingsError if the settings name a component that the model does not have.
    """
    scores = extraction.scores
    sizes = [site.n_components for site in scores.spec.sites]
    for component in settings.strengths:
        _check_exists(component, sizes)
    included = _membership(settings.selection.included, sizes)
    masks = edited_mask(scores, settings)
    strengths = tuple(_site_strength(scores, i, settings, mask, included.get(i)) for i, mask in enumerate(masks))
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
    """Relative size |dW| / |W| over all sites of the model."""
    largest_change: float
    """Largest |dW_i| / |W_i| of a single component."""


def relative_changes(scores: ComponentScores, edit: WeightEdit) -> tuple[Tensor, ...]:
    """|dW_i| / |W_i|: |lambda_i|, since u and k_i have length 1, over the block's norm. Per site: (n_components,)."""
    return tuple(
        torch.where(norms > 0, lam.abs() * keys.norm(dim=1) / norms.clamp(min=1e-30), 0.0)
        for lam, keys, norms in zip(edit.strength, scores.keys, scores.weight_norms, strict=True)
    )


def summarize(scores: ComponentScores, edit: WeightEdit) -> EditSummary:
    """Counts and relative sizes of an edit. Components are disjoint blocks, so their squared norms add up."""
    change = sum(float(right.square().sum()) for right in edit.right)
    weight = sum(float(norms.square().sum()) for norms in scores.weight_norms)
    return EditSummary(
        n_heads=edit.count("heads"),
        n_neurons=edit.count("neurons"),
        n_layers=len({edit.spec.sites[i].layer for i in edit.edited_sites()}),
        relative_size=(change / weight) ** 0.5 if weight else 0.0,
        largest_change=max((float(ratio.max()) for ratio in relative_changes(scores, edit)), default=0.0),
    )


def _site_strength(
    scores: ComponentScores, site: int, settings: EditSettings, edited: Tensor, included: Tensor | None
) -> Tensor:
    """lambda_i of one site (n_components,) with its multipliers; `edited` and `included` are (n_components,), bool."""
    g, keys = scores.g[site], scores.keys[site]
    rho = settings.rho(scores.spec.sites[site].kind)
    if rho is None:
        return torch.zeros_like(g)
    lam = elastic_net(g, rho, settings.alpha)
    if included is not None:  # what is included by hand has no threshold
        lam = torch.where(included, g / (rho * (1 - settings.alpha)), lam)
    for component, factor in settings.strengths.items():
        if component.site == site:
            lam[component.index] *= factor
    # A component that reads nothing along v (k_i = 0) cannot be edited, whatever its g.
    return torch.where(edited & keys.any(dim=1), lam * settings.strength, 0.0)


def _check_exists(component: Component, sizes: list[int]) -> None:
    """A negative index would silently mean another component, and a site beyond the last one none at all."""
    site, index = component
    if not 0 <= site < len(sizes) or not 0 <= index < sizes[site]:
        raise SettingsError(
            f"The settings name component {index} of site {site}, which this model does not have: its {len(sizes)} "
            "sites and their components are counted from 0."
        )


def _membership(components: frozenset[Component], sizes: list[int]) -> dict[int, Tensor]:
    """True for the components, by the index of every site that has some of them: (n_components,), bool."""
    masks: dict[int, Tensor] = {}
    for component in components:
        _check_exists(component, sizes)
        if component.site not in masks:
            masks[component.site] = torch.zeros(sizes[component.site], dtype=torch.bool)
        masks[component.site][component.index] = True
    return masks
