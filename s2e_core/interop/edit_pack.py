"""Reader for the authors' edit packs, which become an edit of the loaded model.

Knows only this file layout: lambda and k per head, lambda per neuron (multiplied by the sign of k), u per layer. Only
the sign of a neuron's k is computed, because it decides whether the lambda amplifies or weakens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from s2e_core.errors import InteropError, SettingsError
from s2e_core.model import LoadedModel
from s2e_core.settings import EditSettings
from s2e_core.spec import Kind
from s2e_core.values import WeightEdit

from .checks import check_dictionary, check_numbers, check_same_weights, cosine, file_provenance, find_site, printable
from .torch_file import load_torch_file

Part = Literal["attn", "mlp"]
KIND_OF_PART: Mapping[Part, Kind] = {"attn": "heads", "mlp": "neurons"}
MAX_NUMBER = torch.finfo(torch.float32).max
UNIT_TOLERANCE = 0.01  # deviation from length 1; the rounding of bf16 is smaller


@dataclass(frozen=True, eq=False)
class _Draft:
    """The edit while it is read, per site of the loaded model; its tensors are filled in place."""

    left: list[Tensor]
    """Unit direction u per site: (d,)"""
    right: list[Tensor]
    """Rows lambda_i k_i per site: (n_components, width)"""
    strength: list[Tensor]
    """Strengths lambda_i per site: (n_components,)"""
    cosines: list[float] = field(default_factory=list)
    """Cosine of every head's k with the k computed from the loaded weights."""


def load_edit_pack(path: str | Path, loaded: LoadedModel) -> WeightEdit:
    """Read an edit pack `.pt` of the authors' code, with its lambdas, k and u unchanged.

    u and the heads' k must have length 1, and the heads' k must follow from the loaded weights: k = W^T u / |W^T u|. A
    pack without heads cannot be distinguished from one for another model of the same size. Raises InteropError
    otherwise, or if the file is damaged or unsafe.
    """
    path = Path(path)
    data = check_dictionary(load_torch_file(path), path.name)
    meta = check_dictionary(data.get("meta"), f'{path.name}: the part "meta"')
    settings = _settings(meta, path)
    sites = loaded.spec.sites
    draft = _Draft(
        [torch.zeros(loaded.spec.d_model) for _ in sites],
        [torch.zeros(site.n_components, site.width) for site in sites],
        [torch.zeros(site.n_components) for site in sites],
    )
    n_components = sum(_add_part(draft, part, data, meta, path, loaded) for part in KIND_OF_PART)
    if not n_components:
        raise InteropError(f"{path.name} edits no head and no neuron. Expected an edit pack with at least one.")
    check_same_weights(draft.cosines, "its keys", path, loaded)
    provenance = file_provenance(loaded, path)
    right = tuple(rows.flatten() for rows in draft.right)
    return WeightEdit(loaded.spec, tuple(draft.left), right, tuple(draft.strength), settings, provenance)


def _settings(meta: Mapping[object, object], path: Path) -> EditSettings:
    """The settings that the pack was made with; a rho of 0 or below means off."""
    rho: dict[str, float | None] = {}
    for name in ("rho_attn", "rho_mlp"):
        value = _number(meta.get(name) if meta.get(name) is not None else -1, f"{path.name}: meta.{name}")
        rho[name] = value if value > 0 else None
    alpha = _number(meta.get("alpha"), f"{path.name}: meta.alpha")
    try:
        return EditSettings(rho["rho_attn"], rho["rho_mlp"], alpha)
    except SettingsError as error:
        raise InteropError(f"{path.name} was made with invalid settings. {error}") from error


def _add_part(
    draft: _Draft,
    part: Part,
    data: Mapping[object, object],
    meta: Mapping[object, object],
    path: Path,
    loaded: LoadedModel,
) -> int:
    """Add the heads, or the neurons, of a pack to the draft; returns their number."""
    units = meta.get(f"vhat_{part}", {})
    products: dict[int, Tensor] = {}  # per site (n_components, width): W_i^T u
    count = 0
    for layer, index, entry in _components(data.get(part, {}), f"{path.name}: {part}"):
        name = f"{path.name}: {part}[{layer}, {index}]"
        site = find_site(loaded.spec, layer, KIND_OF_PART[part], name)
        if index >= loaded.spec.sites[site].n_components:
            raise InteropError(
                f"{name} is beyond the {loaded.spec.sites[site].n_components} {KIND_OF_PART[part]} of that layer. "
                "Load the model that the file was made for."
            )
        if site not in products:
            draft.left[site] = _unit_direction(units, layer, f"{path.name}: meta.vhat_{part}", loaded)
            products[site] = _weight_product(draft.left[site], site, loaded)
        _add_component(draft, site, index, entry, products[site][index], name, loaded)
        count += 1
    return count


def _add_component(
    draft: _Draft,
    site: int,
    index: int,
    entry: Mapping[object, object],
    product: Tensor,
    name: str,
    loaded: LoadedModel,
) -> None:
    """Add one component to the draft; `product` is its W_i^T u, (width,)."""
    strength = _number(entry.get("lambda"), f"{name}.lambda")
    width = loaded.spec.sites[site].width
    if loaded.spec.sites[site].kind == "heads":
        key = check_numbers(entry.get("k_hat"), (width,), f"{name}.k_hat", loaded)
        _check_length(key, f"{name}.k_hat")
        draft.cosines.append(cosine(key, product))
        draft.right[site][index] = strength * key
        draft.strength[site][index] = strength
    else:
        draft.right[site][index] = strength  # the file stores lambda * k for neurons
        draft.strength[site][index] = -strength if float(product) < 0 else strength


def _components(part: object, name: str) -> Iterator[tuple[int, int, Mapping[object, object]]]:
    """(layer, index, entry) of every component."""
    for key, entry in check_dictionary(part, name).items():
        if not (isinstance(key, tuple) and len(key) == 2 and all(type(n) is int and n >= 0 for n in key)):
            raise InteropError(f'{name} has the entry "{printable(key)}". Expected pairs of layer and index.')
        yield *key, check_dictionary(entry, f"{name}[{key[0]}, {key[1]}]")


def _unit_direction(units: object, layer: int, name: str, loaded: LoadedModel) -> Tensor:
    value = check_dictionary(units, name).get(layer)
    unit = check_numbers(value, (loaded.spec.d_model,), f"{name} of layer {layer}", loaded)
    _check_length(unit, f"{name} of layer {layer}")
    return unit


def _check_length(vector: Tensor, name: str) -> None:
    length = float(torch.linalg.vector_norm(vector))
    if abs(length - 1) > UNIT_TOLERANCE:
        raise InteropError(f"{name} has the length {length:.3g}. Expected a unit vector; save the pack again.")


def _weight_product(unit: Tensor, site: int, loaded: LoadedModel) -> Tensor:
    """W_i^T u of every component of a site: (n_components, width)."""
    weight = loaded.weight(site)
    return (unit.to(weight.device) @ weight).cpu().unflatten(0, (-1, loaded.spec.sites[site].width))


def _number(value: object, name: str) -> float:
    if (
        isinstance(value, Tensor)
        and value.numel() == 1
        and value.layout == torch.strided
        and value.device.type == "cpu"
    ):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
        raise InteropError(f"{name} is missing or not a finite number. Expected a finite number; save the pack again.")
    return float(value)
