"""Which components an edit may change: the threshold of the elastic net, the components of a gate, and the hand.

Knows scores, sites and settings; no formula of an edit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from s2e_core.errors import SettingsError
from s2e_core.settings import EditSettings, Selection
from s2e_core.spec import Component, ModelSpec
from s2e_core.values import ComponentScores


def elastic_mask(scores: ComponentScores, settings: EditSettings) -> tuple[Tensor, ...]:
    """True for the components that the elastic net changes. Per site: (n_components,), bool.

    |g| above the threshold rho * alpha, within `layers` and `only`; or `included`; never `excluded`, and nothing of a
    kind that is off. Raises SettingsError if the selection names a component that the model does not have.
    """
    spec = scores.spec
    allowed, included = allowed_mask(spec, settings.selection), membership(spec, settings.selection.included)
    excluded = membership(spec, settings.selection.excluded)
    masks = []
    for i, site in enumerate(spec.sites):
        rho = settings.rho(site.kind)
        if rho is None:
            masks.append(torch.zeros(site.n_components, dtype=torch.bool))
            continue
        mask = allowed[i] & (scores.g[i].abs() > rho * settings.alpha)
        if i in included:
            mask |= included[i]
        if i in excluded:
            mask &= ~excluded[i]
        masks.append(mask)
    return tuple(masks)


def changed_by_hand(spec: ModelSpec, selection: Selection, masks: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The masks with `included` and without `excluded`. Per site: (n_components,), bool."""
    changed = list(masks)
    for i, mask in membership(spec, selection.included).items():
        changed[i] = changed[i] | mask
    for i, mask in membership(spec, selection.excluded).items():
        changed[i] = changed[i] & ~mask
    return tuple(changed)


def allowed_mask(spec: ModelSpec, selection: Selection) -> tuple[Tensor, ...]:
    """True within `layers` and `only`. Per site: (n_components,), bool."""
    only = membership(spec, selection.only or frozenset())
    first, last = selection.layers or (0, spec.n_layers - 1)
    masks = []
    for i, site in enumerate(spec.sites):
        inside = first <= site.layer <= last
        if selection.only is None or not inside:
            masks.append(torch.full((site.n_components,), inside))
        else:
            masks.append(only.get(i, torch.zeros(site.n_components, dtype=torch.bool)))
    return tuple(masks)


def membership(spec: ModelSpec, components: frozenset[Component]) -> dict[int, Tensor]:
    """True for the components, by the index of every site that has some of them: (n_components,), bool.

    Raises SettingsError for a component that the model does not have.
    """
    sizes = [site.n_components for site in spec.sites]
    masks: dict[int, Tensor] = {}
    for component in components:
        check_exists(component, sizes)
        if component.site not in masks:
            masks[component.site] = torch.zeros(sizes[component.site], dtype=torch.bool)
        masks[component.site][component.index] = True
    return masks


def check_exists(component: Component, sizes: Sequence[int]) -> None:
    """A negative index would silently mean another component, and a site beyond the last one none at all."""
    site, index = component
    if not 0 <= site < len(sizes) or not 0 <= index < sizes[site]:
        raise SettingsError(
            f"The settings name component {index} of site {site}, which this model does not have: its {len(sizes)} "
            "sites and their components are counted from 0."
        )
