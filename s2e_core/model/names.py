"""What components and layers are called for a person, and what a person should know about them, as sentences.

Knows sites, no model and no page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from s2e_core.spec import KINDS, Component, Kind, ModelSpec, Site


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


def layers_named(indices: Sequence[int]) -> str:
    """'layer 3'; runs shortened, 'layers 0 to 2, 4'. The indices are in order, none twice."""
    starts = [i for i in indices if i - 1 not in indices]
    ends = [i for i in indices if i + 1 not in indices]
    runs = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))
    return f"layer{'s' if len(indices) > 1 else ''} {runs}"


def remarks(spec: ModelSpec) -> tuple[str, ...]:
    """Sentences: what is out of reach, with the reason, and where strong edits saturate."""
    return (*spec.unreachable, *_saturation(spec))


def _saturation(spec: ModelSpec) -> Iterator[str]:
    """One sentence for the kinds that are followed by a norm in the same layers."""
    kinds: dict[tuple[int, ...], list[Kind]] = {}
    for kind in KINDS:
        behind = sorted({spec.sites[i].layer for i in spec.of_kind(kind) if spec.sites[i].post_norm})
        kinds.setdefault(tuple(behind), []).append(kind)
    for layers, names in kinds.items():
        if layers:
            yield (
                f"In {layers_named(layers)} a norm follows what {' and '.join(names)} write: an edit there turns it "
                "towards the behaviour and cannot make it larger, so strong edits saturate."
            )


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
