"""Edit packs as the authors' code saves them, as an edit of the loaded model.

Knows that one file layout: lambda and k per head, lambda per neuron (with the sign of k in it), u per layer. Nothing is
computed anew but the sign of a neuron's k, which tells whether its lambda amplifies or weakens.
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

from .checks import check_same_weights, cosine, entries, numbers, provenance, shown, site_of
from .torch_file import load_torch_file

Part = Literal["attn", "mlp"]
KIND: Mapping[Part, Kind] = {"attn": "heads", "mlp": "neurons"}
LARGEST = torch.finfo(torch.float32).max
UNIT_TOLERANCE = 0.01  # of a length of 1: more than bf16 rounds off


@dataclass(frozen=True, eq=False)
class _Draft:
    """The edit while it is read, per site of the loaded model; the tensors are its own."""

    left: list[Tensor]
    right: list[Tensor]
    """per site (n_components, width)"""
    strength: list[Tensor]
    cosines: list[float] = field(default_factory=list)
    """Of every head's k with the one that the loaded weights give."""


def load_edit_pack(path: str | Path, loaded: LoadedModel) -> WeightEdit:
    """Read an edit pack `.pt` of the authors' code, its lambdas, k and u as they are.

    u and the heads' k have to have length 1, and the heads' k to follow from the loaded weights, k = W^T u / |W^T u|; a
    pack of neurons alone holds nothing that would tell two models of one size apart. Raises InteropError otherwise, and
    for damaged or unsafe files.
    """
    path = Path(path)
    data = entries(load_torch_file(path), path.name)
    meta = entries(data.get("meta"), f'{path.name}: the part "meta"')
    settings = _settings(meta, path)
    sites = loaded.spec.sites
    draft = _Draft(
        [torch.zeros(loaded.spec.d_model) for _ in sites],
        [torch.zeros(site.n_components, site.width) for site in sites],
        [torch.zeros(site.n_components) for site in sites],
    )
    n_components = sum(_add_part(draft, part, data, meta, path, loaded) for part in KIND)
    if not n_components:
        raise InteropError(f"{path.name} edits no head and no neuron. Expected an edit pack with at least one.")
    check_same_weights(draft.cosines, "its keys", path, loaded)
    right = tuple(rows.flatten() for rows in draft.right)
    return WeightEdit(loaded.spec, tuple(draft.left), right, tuple(draft.strength), settings, provenance(loaded, path))


def _settings(meta: Mapping[object, object], path: Path) -> EditSettings:
    """The dials the pack was made with; a rho that is not positive means off."""
    rho: dict[str, float | None] = {}
    for name in ("rho_attn", "rho_mlp"):
        value = _number(meta.get(name) if meta.get(name) is not None else -1, f"{path.name}: meta.{name}")
        rho[name] = value if value > 0 else None
    alpha = _number(meta.get("alpha"), f"{path.name}: meta.alpha")
    try:
        return EditSettings(rho["rho_attn"], rho["rho_mlp"], alpha)
    except SettingsError as error:
        raise InteropError(f"{path.name} was made with impossible settings. {error}") from error


def _add_part(
    draft: _Draft,
    part: Part,
    data: Mapping[object, object],
    meta: Mapping[object, object],
    path: Path,
    loaded: LoadedModel,
) -> int:
    """Put the heads, or the neurons, of a pack into the draft; returns their number."""
    units = meta.get(f"vhat_{part}", {})
    along: dict[int, Tensor] = {}  # per site (n_components, width): W_i^T u
    count = 0
    for layer, index, entry in _components(data.get(part, {}), f"{path.name}: {part}"):
        where = f"{path.name}: {part}[{layer}, {index}]"
        site = site_of(loaded.spec, layer, KIND[part], where)
        if index >= loaded.spec.sites[site].n_components:
            raise InteropError(
                f"{where} is beyond the {loaded.spec.sites[site].n_components} {KIND[part]} of that layer. Load the "
                "model it was made for."
            )
        if site not in along:
            draft.left[site] = _unit(units, layer, f"{path.name}: meta.vhat_{part}", loaded)
            along[site] = _along(draft.left[site], site, loaded)
        _add_component(draft, site, index, entry, along[site][index], where, loaded)
        count += 1
    return count


def _add_component(
    draft: _Draft,
    site: int,
    index: int,
    entry: Mapping[object, object],
    along: Tensor,
    where: str,
    loaded: LoadedModel,
) -> None:
    lam = _number(entry.get("lambda"), f"{where}.lambda")
    width = loaded.spec.sites[site].width
    if loaded.spec.sites[site].kind == "heads":
        key = numbers(entry.get("k_hat"), (width,), f"{where}.k_hat", loaded)
        _check_length(key, f"{where}.k_hat")
        draft.cosines.append(cosine(key, along))
        draft.right[site][index] = lam * key
        draft.strength[site][index] = lam
    else:
        draft.right[site][index] = lam  # lambda * k
        draft.strength[site][index] = -lam if float(along) < 0 else lam


def _components(part: object, where: str) -> Iterator[tuple[int, int, Mapping[object, object]]]:
    """(layer, index, entry) of every component."""
    for key, entry in entries(part, where).items():
        if not (isinstance(key, tuple) and len(key) == 2 and all(type(n) is int and n >= 0 for n in key)):
            raise InteropError(f'{where} has the entry "{shown(key)}". Expected pairs of layer and index.')
        yield *key, entries(entry, f"{where}[{key[0]}, {key[1]}]")


def _unit(units: object, layer: int, where: str, loaded: LoadedModel) -> Tensor:
    unit = numbers(entries(units, where).get(layer), (loaded.spec.d_model,), f"{where} of layer {layer}", loaded)
    _check_length(unit, f"{where} of layer {layer}")
    return unit


def _check_length(vector: Tensor, where: str) -> None:
    length = float(torch.linalg.vector_norm(vector))
    if abs(length - 1) > UNIT_TOLERANCE:
        raise InteropError(f"{where} has the length {length:.3g}. Expected a unit vector; save the pack again.")


def _along(unit: Tensor, site: int, loaded: LoadedModel) -> Tensor:
    weight = loaded.weight(site)
    return (unit.to(weight.device) @ weight).cpu().unflatten(0, (-1, loaded.spec.sites[site].width))


def _number(value: object, where: str) -> float:
    if (
        isinstance(value, Tensor)
        and value.numel() == 1
        and value.layout == torch.strided
        and value.device.type == "cpu"
    ):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise InteropError(f"{where} is missing or no finite number. Expected one; save the pack again.")
    return float(value)
