"""From scores to the weight edit: the elastic net, what is added to it, and the formula that changes a weight.

Knows tensors and sites only. Everything a slider does happens here, without a model and without a matrix product.
"""

from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from s2e_core.errors import SettingsError
from s2e_core.settings import EditSettings
from s2e_core.spec import Kind, ModelSpec
from s2e_core.values import ComponentScores, Extraction, WeightEdit

from .gate import gate_masks, gate_vectors, needed_inputs
from .gate_fit import silence
from .selection import check_exists, elastic_mask, membership

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


def edited_mask(extraction: Extraction, settings: EditSettings) -> tuple[Tensor, ...]:
    """True for the components that the settings select, whatever their strength. Per site: (n_components,), bool.

    The one rule of the selection: those of the elastic net and those of the gate. Raises SettingsError if the selection
    names a component that the model does not have.
    """
    elastic = elastic_mask(extraction.scores, settings)
    return tuple(a | b for a, b in zip(elastic, gate_masks(extraction, settings), strict=True))


def build_edit(extraction: Extraction, settings: EditSettings) -> WeightEdit:
    """The edit of the family that the settings name, all components of a site in one outer product.

    For the paper's, dW_i = lambda_i * u * k_i^T (README, step 5: edit); a gate adds gamma |v| c to the same right
    vector. Raises SettingsError if the settings name a component that the model does not have, or need texts that the
    extraction lacks.
    """
    scores, provenance = extraction.scores, extraction.provenance
    sizes = [site.n_components for site in scores.spec.sites]
    for component in settings.strengths:
        check_exists(component, sizes)
    included = membership(scores.spec, settings.selection.included)
    masks = elastic_mask(scores, settings)
    strengths = tuple(_site_strength(scores, i, settings, mask, included.get(i)) for i, mask in enumerate(masks))
    right = tuple((s.unsqueeze(1) * keys).flatten() for s, keys in zip(strengths, scores.keys, strict=True))
    if settings.needs_texts:
        right = _fitted(extraction, settings, right)
        strengths = tuple(map(_signed_norms, scores.keys, right))
        harmless = needed_inputs(extraction, settings).harmless if settings.needs_harmless else ""
        provenance = replace(provenance, harmless=harmless)
    return WeightEdit(scores.spec, extraction.directions.unit, right, strengths, settings, provenance)


def _fitted(extraction: Extraction, settings: EditSettings, right: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The right vectors with what is fitted on texts: the gate is added, and what is protected is taken away."""
    inputs = needed_inputs(extraction, settings)
    if settings.gate is not None:
        vectors = gate_vectors(extraction, settings, gate_masks(extraction, settings))
        factors = _factors(extraction.spec, settings)
        right = tuple(a + f * c for a, f, c in zip(right, factors, vectors, strict=True))
    if settings.protect:
        right = tuple(silence(a, off, settings.protect) for a, off in zip(right, inputs.off, strict=True))
    return right


def _factors(spec: ModelSpec, settings: EditSettings) -> list[Tensor]:
    """The multiplier of every input. Per site: (n_inputs,)."""
    factors = [torch.full((site.n_components,), settings.strength) for site in spec.sites]
    for (site, index), factor in settings.strengths.items():
        factors[site][index] *= factor
    return [factor.repeat_interleave(site.width) for factor, site in zip(factors, spec.sites, strict=True)]


def _signed_norms(keys: Tensor, right: Tensor) -> Tensor:
    """|a_i|, negative where the component is weakened (a_i . k_i < 0): (n_components,)."""
    blocks = right.unflatten(0, keys.shape)
    weakened = (blocks * keys).sum(dim=1) < 0
    return torch.where(weakened, -1.0, 1.0) * _block_norms(right, keys)


def edited_weight(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """weight + left @ right, added in fp32 and cast once back to the weight's dtype.

    `weight` is (d, n_inputs) in (out, in) order, `left` (d,) and `right` (n_inputs,), or (d, r) and (r, n_inputs) for
    several edits. Columns whose `right` is zero keep every bit.
    """
    lefts = left.to(weight.device).reshape(len(weight), -1).T
    rights = right.to(weight.device).reshape(-1, weight.shape[1])
    bits, total = _BITS[weight.itemsize], weight.float()
    for u, a in zip(lefts, rights, strict=True):
        total = torch.addr(total, u, a)
    old, new = weight.view(bits), total.to(weight.dtype).view(bits)
    # Adding 0 would turn a stored -0 into +0. Choosing by bits takes a third of the time of torch.where.
    edited = (rights != 0).any(0).to(bits).neg_()
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
    """|dW_i| / |W_i|: |a_i|, since u has length 1, over the block's norm. Per site: (n_components,)."""
    return tuple(
        torch.where(norms > 0, _block_norms(right, keys) / norms.clamp(min=1e-30), 0.0)
        for right, keys, norms in zip(edit.right, scores.keys, scores.weight_norms, strict=True)
    )


def _block_norms(right: Tensor, keys: Tensor) -> Tensor:
    return torch.linalg.vector_norm(right.unflatten(0, keys.shape), dim=1)


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
