"""Baked and gated steering of a whole model: the gate of every site, kept to some components if the settings say so.

Knows extractions and settings; the closed form for one site is in `gate_fit.py`. No model and no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from s2e_core.errors import SettingsError
from s2e_core.settings import EditSettings, Gate
from s2e_core.spec import Site
from s2e_core.token_inputs import TokenInputs
from s2e_core.values import Extraction

from .gate_fit import fit_gate, fit_gates
from .selection import allowed_mask, changed_by_hand

MUS = (0.0, 1.0, 10.0, 100.0)
"""The strictness for which a gate over all components is solved in advance."""


def solve_keys(inputs: TokenInputs) -> TokenInputs:
    """The same inputs with the gate c over all inputs solved for every strictness; baked alone without harmless texts.

    A dial that moves between these values then needs no solution.
    """
    mus = MUS if all(len(off) for off in inputs.off) else MUS[:1]
    keys = tuple(fit_gates(on, off, mus) for on, off in zip(inputs.on, inputs.off, strict=True))
    return replace(inputs, mus=mus, keys=keys)


def needed_inputs(extraction: Extraction, settings: EditSettings) -> TokenInputs:
    """The token inputs that a fit needs. Raises SettingsError if the extraction has none, or no harmless texts."""
    inputs = extraction.token_inputs
    if inputs is None:
        fitted, remedy = (settings.family, "Use the elastic net") if settings.gate else ("protect", "Set protect to 0")
        raise SettingsError(
            f"An edit with {fitted} is fitted on texts, and this extraction has none: a direction from a file comes "
            f"without. {remedy}, or extract from examples."
        )
    if settings.needs_harmless and not all(len(off) for off in inputs.off):
        raise SettingsError("There are no harmless texts to be silent on. Set mu and protect to 0, or give such texts.")
    return inputs


def gate_masks(extraction: Extraction, settings: EditSettings) -> tuple[Tensor, ...]:
    """True for the components that a gate uses; all False without a gate. Per site: (n_components,), bool.

    `size` counts those that are chosen without the hand: a component that is added or left out changes no other.
    """
    gate, spec = settings.gate, extraction.spec
    if gate is None:
        return tuple(torch.zeros(site.n_components, dtype=torch.bool) for site in spec.sites)
    masks = allowed_mask(spec, settings.selection)
    if gate.size is not None and gate.size < sum(int(mask.sum()) for mask in masks):
        masks = _strongest(extraction, needed_inputs(extraction, settings), gate, masks)
    return changed_by_hand(spec, settings.selection, masks)


def gate_vectors(extraction: Extraction, settings: EditSettings, masks: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """gamma |v| c of every site, solved on the components of `masks`. Per site: (n_inputs,)."""
    gate, inputs = settings.gate, needed_inputs(extraction, settings)
    if gate is None:
        raise ValueError("the settings have no gate")
    norms = extraction.directions.norm.tolist()
    return tuple(gate.gamma * norms[i] * _gate_of(inputs, i, gate.mu, mask) for i, mask in enumerate(masks))


def mean_firing(inputs: TokenInputs, right: Sequence[Tensor]) -> tuple[tuple[Tensor, Tensor], ...]:
    """When an edit fires: the mean of a_i . x_i on the behaviour's texts and on harmless ones, for every component.

    `right` is that of the edit. Per site: two tensors (n_components,); their sums are what the site adds along u.
    """
    return tuple(
        (_by_component(site, on, a), _by_component(site, off, a))
        for site, (on, off), a in zip(inputs.spec.sites, inputs.means, right, strict=True)
    )


def _by_component(site: Site, mean: Tensor, a: Tensor) -> Tensor:
    return (mean * a).unflatten(0, (-1, site.width)).sum(dim=1)


def _gate_of(inputs: TokenInputs, index: int, mu: float, mask: Tensor) -> Tensor:
    """c of one site on the components of `mask`, zero elsewhere: (n_inputs,)."""
    site = inputs.spec.sites[index]
    if not bool(mask.any()):
        return torch.zeros(site.n_inputs)
    if bool(mask.all()) and mu in inputs.mus:
        return inputs.keys[index][inputs.mus.index(mu)]
    columns = mask.repeat_interleave(site.width).nonzero().squeeze(1)
    c = torch.zeros(site.n_inputs)
    c[columns] = fit_gate(inputs.on[index][:, columns], inputs.off[index][:, columns], mu)
    return c


def _strongest(extraction: Extraction, inputs: TokenInputs, gate: Gate, masks: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The `gate.size` components that carry most of the gate: those that add most along u on the behaviour's texts."""
    norms = extraction.directions.norm.tolist()
    vectors = [norms[i] * _gate_of(inputs, i, gate.mu, mask) for i, mask in enumerate(masks)]
    parts = zip(mean_firing(inputs, vectors), masks, strict=True)
    carried = torch.cat([torch.where(mask, on.abs(), -1.0) for (on, _), mask in parts])  # never one that is not allowed
    chosen = torch.zeros(len(carried), dtype=torch.bool)
    chosen[carried.topk(gate.size or 1).indices] = True
    return chosen.split([len(mask) for mask in masks])
