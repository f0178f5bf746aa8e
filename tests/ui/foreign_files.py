"""Files of every kind that can be brought, good ones and bad ones, for the bundled model.

Knows the file layouts and the core's chain; nothing of the page.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from components.shared.session import Scored
from s2e_core import ActivationMeans, EditSettings, WeightEdit, build_edit, save_edit
from s2e_core.interop import save_control_vector
from tests.core.author_files import Evil, module_key, pack_content, packed
from tests.ui.running import shared_store

SETTINGS = EditSettings(rho_attn=0.3, rho_mlp=0.6, alpha=0.5)


@functools.cache
def tone() -> Scored:
    """Of a behaviour that is not on the page of a new visitor."""
    store = shared_store()
    behavior = store.behavior("tone")
    return store.scored(store.first_model, behavior.contrast, behavior)


@functools.cache
def tone_edit() -> WeightEdit:
    return build_edit(tone().extraction, SETTINGS)


def layer_vectors() -> torch.Tensor:
    """(L, d): the sum of each layer's directions."""
    directions = tone().directions
    rows = torch.zeros(directions.spec.n_layers, directions.spec.d_model)
    for site, unit, norm in zip(directions.spec.sites, directions.unit, directions.norm, strict=True):
        rows[site.layer] += norm * unit
    return rows


def directions_content() -> dict:
    means, directions = tone().means, tone().directions
    assert isinstance(means, ActivationMeans)
    content: dict = {"pre": {"pos_mean": {}, "neg_mean": {}}, "post": {"direction": {}}}
    for i, site in enumerate(directions.spec.sites):
        content["pre"]["pos_mean"][module_key(site)] = means.positive[i]
        content["pre"]["neg_mean"][module_key(site)] = means.negative[i]
        content["post"]["direction"][module_key(site)] = directions.unit[i] * directions.norm[i]
    return content


GOOD: Mapping[str, Callable[[Path], object]] = {
    "tone.safetensors": lambda path: save_edit(tone_edit(), path),
    "directions.pt": lambda path: torch.save(directions_content(), path),
    "pack.pt": lambda path: torch.save(pack_content(tone_edit()), path),
    "vector.safetensors": lambda path: save_file({"v": layer_vectors()}, path),
    "vector.npy": lambda path: np.save(path, layer_vectors().numpy()),
    "vector.npz": lambda path: np.savez(path, v=layer_vectors().numpy()),
    "vector.pt": lambda path: torch.save(layer_vectors(), path),
    "vector.gguf": lambda path: save_control_vector(tone().directions, path),
}
"""File name -> what writes it."""


def good(name: str, folder: Path) -> Path:
    GOOD[name](folder / name)
    return folder / name


def _cut(name: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        data = good(name, path.parent).read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])

    return write


def _foreign_recipe(path: Path) -> None:
    edit = tone_edit()
    save_edit(replace(edit, provenance=replace(edit.provenance, fingerprint="0" * 64, model_id="another")), path)


def _with_nan(path: Path) -> None:
    rows = layer_vectors()
    rows[1, 2] = float("nan")
    np.save(path, rows.numpy())


def _large_zip(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, v=np.zeros((10_000, 1000)))


BAD: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "cut_recipe.safetensors": (_cut("tone.safetensors"), "not a recipe of this program, or it is cut off"),
    "cut_vector.safetensors": (_cut("vector.safetensors"), "is damaged"),
    "cut_directions.pt": (_cut("directions.pt"), "is damaged or cut off"),
    "payload.pt": (lambda p: torch.save({"pre": Evil(p.parent / "ran")}, p), "could run code"),
    "old_payload.pt": (lambda p: p.write_bytes(pickle.dumps(Evil(p.parent / "ran"))), "can run code"),
    "array_payload.npy": (
        lambda p: np.save(p, np.array([Evil(p.parent / "ran")], dtype=object), allow_pickle=True), "object values"
    ),
    "bomb.npz": (_large_zip, "unpacks to"),
    "bomb.pt": (lambda p: (torch.save(directions_content(), p), packed(p, 30_000_000)), "unpacks to"),
    "foreign.safetensors": (_foreign_recipe, "was made for another"),
    "wide.safetensors": (lambda p: save_file({"v": torch.ones(6, 333)}, p), "has the shape"),
    "short.npz": (lambda p: np.savez(p, v=np.ones((4, 144))), "has the shape"),
    "nan.npy": (_with_nan, "not finite numbers"),
    "nonsense.gguf": (lambda p: p.write_bytes(b"GGUF" + bytes(range(200))), "cannot be read as a control vector"),
    "notes.pt": (lambda p: p.write_text("Dear diary,\n" * 9), "damaged or of an unknown kind"),
    "empty.npy": (lambda p: p.write_bytes(b""), "damaged or of an unknown kind"),
    "numbers.pt": (lambda p: torch.save({"layer": 3}, p), "nor a steering vector as bare tensors"),
}  # fmt: skip
"""File name -> (what writes it, a part of its sentence). A payload would make a folder "ran" beside the file."""


def bad(name: str, folder: Path) -> Path:
    BAD[name][0](folder / name)
    return folder / name
