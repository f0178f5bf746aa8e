"""Names of components and layers for people, and sentences about what a model's sites allow.

Knows sites, but no model and no page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from s2e_core.spec import KINDS, Component, Kind, ModelSpec, Site


def component_name(spec: ModelSpec, component: Component) -> str:
    """Name within the layer: 'head 2', 'expert 5 neuron 7', or with its module 'neuron 7 (mlp.shared_experts)'."""
    return component_namer(spec, component.site)(component.index)


def component_namer(spec: ModelSpec, site: int) -> Callable[[int], str]:
    """A function from index to name for the components of one site."""
    experts, kind = spec.sites[site].experts, spec.sites[site].kind.removesuffix("s")
    per_expert = spec.sites[site].n_components // max(experts, 1)
    module = f" ({_module_label(spec, site)})" if _module_label(spec, site) else ""
    return lambda i: f"expert {i // per_expert} {kind} {i % per_expert}{module}" if experts else f"{kind} {i}{module}"


def component_label(spec: ModelSpec, component: Component) -> str:
    """Name within the model: 'layer 3 head 2'."""
    return f"layer {spec.sites[component.site].layer} {component_name(spec, component)}"


def grid_parts(spec: ModelSpec, kind: Kind, layer: int) -> list[tuple[int, int, int, str]]:
    """The sites side by side in one row of a grid, each as (first column, components, experts or 0, module or '')."""
    parts, first = [], 0
    for i in spec.of_kind(kind):
        site = spec.sites[i]
        if site.layer == layer:
            parts.append((first, site.n_components, site.experts, _module_label(spec, i)))
            first += site.n_components
    return parts


def format_layers(indices: Sequence[int]) -> str:
    """Layer numbers with ranges: 'layer 3', 'layers 0 to 2, 4'. The indices must be in order and distinct."""
    starts = [i for i in indices if i - 1 not in indices]
    ends = [i for i in indices if i + 1 not in indices]
    runs = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))
    return f"layer{'s' if len(indices) > 1 else ''} {runs}"


def remarks(spec: ModelSpec) -> tuple[str, ...]:
    """Sentences that say what cannot be edited, and why, and where strong edits saturate."""
    return (*spec.unreachable, *_saturation(spec))


def _saturation(spec: ModelSpec) -> Iterator[str]:
    """One sentence for all kinds that a norm follows in the same layers."""
    kinds_in: dict[tuple[int, ...], list[Kind]] = {}
    for kind in KINDS:
        layers = sorted({spec.sites[i].layer for i in spec.of_kind(kind) if spec.sites[i].post_norm})
        kinds_in.setdefault(tuple(layers), []).append(kind)
    for indices, kinds in kinds_in.items():
        if indices:
            yield (
                f"In {format_layers(indices)} a norm follows the output of {' and '.join(kinds)}: an edit turns that "
                "output towards the behaviour but cannot make it larger, so strong edits saturate."
            )


def _module_label(spec: ModelSpec, index: int) -> str:
    """The module of a site's components; '' if no other site of its kind is in the layer, or no other experts are."""
    site = spec.sites[index]
    row = [s for s in spec.sites if s.layer == site.layer and s.kind == site.kind]
    if len(row) == 1 or (site.experts and sum(s.experts > 0 for s in row) == 1):
        return ""
    return ".".join(_module_path(site)[-2:])


def _module_path(site: Site) -> Sequence[str]:
    """Path of the module that contains the projection: 'mlp' for 'mlp.down_proj', 'mlp.experts' for itself."""
    path = site.name.split(".")
    return path if site.experts else path[:-1]
