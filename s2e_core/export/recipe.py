"""Save and load an edit: one safetensors file that gives back the bit-identical edit for the same base model.

The file contains three tensors (`left` (sites, d); `right` and `strength`, concatenated over all sites) and, under one
metadata key, JSON with settings, selection, sites and provenance. The same edit always gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from s2e_core.errors import RecipeError, SettingsError
from s2e_core.files import write_whole
from s2e_core.model import LoadedModel
from s2e_core.settings_json import settings_from_json, settings_to_json
from s2e_core.spec import KINDS, ModelSpec, Site
from s2e_core.values import Provenance, WeightEdit

PAPER = "Sun, Yan, Wang, Weng: Steer2Edit, arXiv 2602.09870"
_KEY = "steer2edit"  # one key, because safetensors writes several in random order
_VERSION = 1
_VERSION_OF_SEVERAL = 2
"""Version of a recipe of several edits, so that a program that reads one edit alone does not take it for that."""
_TENSORS = ("left", "right", "strength")
_HEADER_LIMIT = 32_000_000  # bytes; selecting every neuron of a large model needs less
_EXTRA_OUTPUT = "writes_more"
"""Key of `Site.has_extra_output` in recipe files, all of which carry it."""


def save_edit(edit: WeightEdit, path: str | Path) -> Path:
    """Write an edit to one file, completely or not at all. Raises RecipeError if the file cannot be written."""
    path = Path(path)
    content = recipe_bytes(edit)
    try:
        write_whole(path, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise RecipeError(
            f"The recipe {path.name} could not be written: {error.strerror}; choose another folder."
        ) from error
    return path


def recipe_bytes(edit: WeightEdit) -> bytes:
    """The content of the recipe file; the same edit always gives the same bytes."""
    tensors: dict[str, Tensor] = {}
    for number, part in enumerate(edit.parts):
        values = torch.stack(part.left), torch.cat(part.right), torch.cat(part.strength)
        tensors |= {f"{name}{_suffix(number)}": value for name, value in zip(_TENSORS, values, strict=True)}
    description = _description(edit)
    if len(edit.parts) > 1:
        more = [{"provenance": p.provenance.to_json(), **settings_to_json(p.settings)} for p in edit.parts[1:]]
        description |= {"version": _VERSION_OF_SEVERAL, "also": more}
    return save(tensors, {_KEY: json.dumps(description, sort_keys=True, allow_nan=False)})


def load_edit(path: str | Path, *, base: LoadedModel | None = None) -> WeightEdit:
    """Read a saved edit; `base` is the model that it must have been made for, and the result has that model's sites.

    Raises RecipeError if the file is not a complete recipe, or (naming both models) if it was made for another base.
    """
    path = Path(path)
    text, tensors = _read(path)
    try:
        data = json.loads(text)
        edit = _edit(data, tensors, 0)
        more = [_edit(data | entry, tensors, n) for n, entry in enumerate(data.get("also", ()), start=1)]
        if len(tensors) != len(_TENSORS) * (1 + len(more)) or (data["version"] == _VERSION_OF_SEVERAL) != bool(more):
            raise ValueError("its tensors are not those of its edits")
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RuntimeError, SettingsError) as error:
        raise RecipeError(f"The recipe {path.name} is damaged ({error}); save the edit again.") from error
    if base is not None:
        other = next(filter(None, (describe_base_mismatch(part, base) for part in (edit, *more))), None)
        if other is not None:
            raise RecipeError(f"The recipe {path.name} {other}")
        edit, *more = (replace(part, spec=base.spec) for part in (edit, *more))
    return replace(edit, also=tuple(more))


def describe_base_mismatch(edit: WeightEdit, loaded: LoadedModel) -> str | None:
    """The rest of a sentence that names both models if an edit was made for a model other than `loaded`; else None."""
    made_for = edit.provenance
    if made_for.fingerprint == loaded.fingerprint and edit.spec.same_sites(loaded.spec):
        return None
    return (
        f"was made for {model_label(made_for.model_id, made_for.revision)} (weights {made_for.fingerprint[:12]}), but "
        f"the loaded model is {model_label(loaded.model_id, loaded.revision)} (weights {loaded.fingerprint[:12]}); "
        "load the model it was made for first."
    )


def model_label(model_id: str, revision: str | None) -> str:
    """A model's name with its revision, if there is one."""
    return f"{model_id} at revision {revision}" if revision else model_id


def _description(edit: WeightEdit) -> dict[str, Any]:
    return {
        "format": "steer2edit recipe",
        "version": _VERSION,
        "paper": PAPER,
        "provenance": edit.provenance.to_json(),
        "model_type": edit.spec.model_type,
        "n_layers": edit.spec.n_layers,
        "d_model": edit.spec.d_model,
        "sites": [_site_entry(site) for site in edit.spec.sites],
        "unreachable": list(edit.spec.unreachable),
        **settings_to_json(edit.settings),
    }


def _site_entry(site: Site) -> dict[str, Any]:
    entry = asdict(site)
    return {_EXTRA_OUTPUT if name == "has_extra_output" else name: value for name, value in entry.items()}


def is_recipe_header(file: BinaryIO) -> bool:
    """True if the header of an open safetensors file says that it is a recipe; `load_edit` reads the rest."""
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    try:
        header = json.loads(file.read(min(size, _HEADER_LIMIT)))
    except (ValueError, RecursionError):
        return False
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return isinstance(metadata, dict) and _KEY in metadata


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The description and the tensors, three for each edit. The length of the header is checked before all else."""
    not_a_recipe = RecipeError(
        f"{path.name} is not a recipe of this program, or it is cut off; choose a complete .safetensors file that this "
        "program saved."
    )
    try:
        with path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > _HEADER_LIMIT:
                raise not_a_recipe
        with safe_open(path, framework="pt") as recipe:
            text = (recipe.metadata() or {}).get(_KEY)
            if text is None or not set(_TENSORS) <= set(recipe.keys()):
                raise not_a_recipe
            tensors = {name: recipe.get_tensor(name) for name in recipe.keys()}  # noqa: SIM118
    except OSError as error:
        raise RecipeError(f"The recipe {path.name} cannot be read: {error.strerror}; choose another file.") from error
    except SafetensorError as error:
        raise not_a_recipe from error
    return text, tensors


def _suffix(number: int) -> str:
    """End of the names of the tensors of one edit: nothing for the first, so that such a file is that of one edit."""
    return f".{number}" if number else ""


def _edit(data: Mapping[str, Any], tensors: Mapping[str, Tensor], number: int) -> WeightEdit:
    if data["version"] not in (_VERSION, _VERSION_OF_SEVERAL):
        raise ValueError(f"format version {data['version']}; this program reads {_VERSION} and {_VERSION_OF_SEVERAL}")
    left, right, strength = (tensors[f"{name}{_suffix(number)}"] for name in _TENSORS)
    for name, tensor in zip(_TENSORS, (left, right, strength), strict=True):
        if not isinstance(tensor, Tensor) or tensor.dtype != torch.float32 or not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} is not a tensor of finite fp32 numbers")
    spec = _spec(data)
    return WeightEdit(
        spec=spec,
        left=tuple(row.clone() for row in left),
        right=_split(right, [site.n_inputs for site in spec.sites]),
        strength=_split(strength, [site.n_components for site in spec.sites]),
        settings=settings_from_json(data, spec),
        provenance=_provenance(data["provenance"]),
    )


def _split(flat: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    return tuple(part.clone() for part in flat.split(sizes))


def _spec(data: Mapping[str, Any]) -> ModelSpec:
    sites = tuple(_site(entry) for entry in data["sites"])
    unreachable = tuple(str(sentence) for sentence in data["unreachable"])
    return ModelSpec(str(data["model_type"]), int(data["n_layers"]), int(data["d_model"]), sites, unreachable)


def _site(entry: Mapping[str, Any]) -> Site:
    site = Site(
        layer=int(entry["layer"]),
        kind=entry["kind"],
        name=str(entry["name"]),
        n_components=int(entry["n_components"]),
        width=int(entry["width"]),
        transposed=bool(entry["transposed"]),
        post_norm=bool(entry["post_norm"]),
        runs=int(entry.get("runs", 1)),  # early recipes lack this key and those below
        parameter=str(entry.get("parameter", "weight")),
        experts=int(entry.get("experts", 0)),
        has_extra_output=bool(entry.get(_EXTRA_OUTPUT, False)),
        also_at=tuple(str(name) for name in entry.get("also_at", ())),
    )
    uneven = site.experts and site.n_components % site.experts
    if site.kind not in KINDS or uneven or min(site.layer, site.experts, site.n_components - 1, site.width - 1) < 0:
        raise ValueError(f"impossible site {site.name}")
    return site


def _provenance(entry: Mapping[str, Any]) -> Provenance:
    revision = entry["revision"]
    return Provenance(
        model_id=str(entry["model_id"]),
        revision=None if revision is None else str(revision),
        fingerprint=str(entry["fingerprint"]),
        contrast_name=str(entry["contrast_name"]),
        contrast_hash=str(entry["contrast_hash"]),
        harmless=str(entry.get("harmless", "")),
        template=str(entry.get("template", "")),
    )
