"""What a component is called for a person: its number, and in which projection where a layer has several.

Knows sites, no model and no page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .spec import Component, Kind, ModelSpec, Site


def component_name(spec: ModelSpec, component: Component) -> str:
    """'head 2'; of experts 'expert 5 neuron 7', and of a projection beside others 'neuron 7 (mlp.shared_experts)'."""
    return namer(spec, component.site)(component.index)


def namer(spec: ModelSpec, site: int) -> Callable[[int], str]:
    """The names of one site's components, by index."""
    experts, kind = spec.sites[site].experts, spec.sites[site].kind.removesuffix("s")
    each = spec.sites[site].n_components // max(experts, 1)
    where = f" ({_where(spec, site)})" if _where(spec, site) else ""
    return lambda i: f"expert {i // each} {kind} {i % each}{where}" if experts else f"{kind} {i}{where}"


def component_label(spec: ModelSpec, component: Component) -> str:
    """'layer 3 head 2'."""
    return f"layer {spec.sites[component.site].layer} {component_name(spec, component)}"


def grid_parts(spec: ModelSpec, kind: Kind, layer: int) -> list[tuple[int, int, int, str]]:
    """What stands side by side in one row of a grid: (first column, components, experts or 0, name or '') of each."""
    parts, first = [], 0
    for i in spec.of_kind(kind):
        site = spec.sites[i]
        if site.layer == layer:
            parts.append((first, site.n_components, site.experts, _where(spec, i)))
            first += site.n_components
    return parts


def _where(spec: ModelSpec, index: int) -> str:
    """The module that a site's components are in; '' where its kind, or that they are experts, tells."""
    site = spec.sites[index]
    beside = [s for s in spec.sites if s.layer == site.layer and s.kind == site.kind]
    if len(beside) == 1 or (site.experts and sum(s.experts > 0 for s in beside) == 1):
        return ""
    return ".".join(_path(site)[-2:])


def _path(site: Site) -> Sequence[str]:
    """Of the module that holds the projection: 'mlp.down_proj' is in 'mlp', 'mlp.experts' are a module themselves."""
    path = site.name.split(".")
    return path if site.experts else path[:-1]
