"""Edit settings to JSON and back, for every file that contains them.

Knows settings and which components exist; knows no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from .settings import EditSettings, Gate, Selection
from .spec import Component, ModelSpec


def settings_to_json(settings: EditSettings) -> dict[str, Any]:
    """Settings as values that `json` can write."""
    selection, gate = settings.selection, settings.gate
    texts: dict[str, Any] = {}
    if gate is not None:  # whole numbers are written as they are read again, so that a trial is known by its file
        texts["gate"] = {"gamma": float(gate.gamma), "mu": float(gate.mu), "size": gate.size}
    if settings.protect:
        texts["protect"] = settings.protect
    return {
        "rho_attn": settings.rho_attn,
        "rho_mlp": settings.rho_mlp,
        "alpha": settings.alpha,
        "strength": settings.strength,
        "strengths": sorted([*component, factor] for component, factor in settings.strengths.items()),
        "only": None if selection.only is None else sorted(selection.only),
        "included": sorted(selection.included),
        "excluded": sorted(selection.excluded),
        "layers": selection.layers,
        **texts,  # only if they are used: a recipe of the paper's edit stays as it was, to the byte
    }


def settings_from_json(data: Mapping[str, Any], spec: ModelSpec) -> EditSettings:
    """Settings read from the keys that `settings_to_json` writes.

    Raises KeyError, TypeError or ValueError if a key is missing, has a wrong value or names an unknown component.
    """
    layers = data["layers"]
    selection = Selection(
        only=None if data["only"] is None else _components(data["only"], spec),
        included=_components(data["included"], spec),
        excluded=_components(data["excluded"], spec),
        layers=None if layers is None else (int(layers[0]), int(layers[1])),
    )
    strengths = {_component(entry[:2], spec): float(entry[2]) for entry in data["strengths"]}
    return EditSettings(
        rho_attn=None if data["rho_attn"] is None else float(data["rho_attn"]),
        rho_mlp=None if data["rho_mlp"] is None else float(data["rho_mlp"]),
        alpha=float(data["alpha"]),
        strength=float(data["strength"]),
        selection=selection,
        strengths=MappingProxyType(strengths),
        gate=None if data.get("gate") is None else _gate(data["gate"]),
        protect=_whole(data.get("protect", 0)),
    )


def _gate(entry: Mapping[str, Any]) -> Gate:
    size = entry["size"]
    return Gate(float(entry["gamma"]), float(entry["mu"]), None if size is None else _whole(size))


def _whole(value: Any) -> int:
    """A whole number; 2.5 would silently become another setting."""
    if int(value) != value:
        raise ValueError(f"{value} is not a whole number")
    return int(value)


def _components(pairs: Iterable[list[int]], spec: ModelSpec) -> frozenset[Component]:
    return frozenset(_component(pair, spec) for pair in pairs)


def _component(pair: list[int], spec: ModelSpec) -> Component:
    site, index = (int(number) for number in pair)
    if not 0 <= site < len(spec.sites) or not 0 <= index < spec.sites[site].n_components:
        raise ValueError(f"component ({site}, {index}) does not exist")
    return Component(site, index)
