"""Files in the format of the paper's code, made from a tiny model by plain loops, and malicious files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import torch

from s2e_core import WeightEdit, capture_means
from s2e_core.model import LoadedModel
from tests.core.chain import EXAMPLES

MODULES = {"heads": "self_attn.o_proj", "neurons": "mlp.down_proj"}


def module_key(site) -> str:
    return f"model.layers[{site.layer}].{MODULES[site.kind]}"


def directions_content(loaded: LoadedModel) -> dict:
    """{"pre"|"post": {"pos_mean"|"neg_mean"|"direction": {module key: tensor}}}; the modules compute the outputs."""
    means = capture_means(loaded, EXAMPLES)
    content = {part: {"pos_mean": {}, "neg_mean": {}, "direction": {}} for part in ("pre", "post")}
    for i, site in enumerate(loaded.spec.sites):
        module = loaded.model.get_submodule(site.name)
        with torch.no_grad():
            sides = {
                "pre": (means.positive[i], means.negative[i]),
                "post": (module(means.positive[i][None])[0], module(means.negative[i][None])[0]),
            }
        for part, (positive, negative) in sides.items():
            content[part]["pos_mean"][module_key(site)] = positive.clone()
            content[part]["neg_mean"][module_key(site)] = negative.clone()
            content[part]["direction"][module_key(site)] = positive - negative
    return content | {"meta": {"n_pos": 2, "n_neg": 2, "model": loaded.model_id}}


def pack_content(edit: WeightEdit) -> dict:
    """{"attn": {(layer, head): ...}, "mlp": {(layer, neuron): ...}, "meta": ...} for every edited component."""
    content: dict = {"attn": {}, "mlp": {}}
    meta: dict = {"vhat_attn": {}, "vhat_mlp": {}, "rho_attn": -1.0, "rho_mlp": -1.0, "alpha": edit.settings.alpha}
    meta |= {k: v for k in ("rho_attn", "rho_mlp") if (v := getattr(edit.settings, k)) is not None}
    for i, site in enumerate(edit.spec.sites):
        part = "attn" if site.kind == "heads" else "mlp"
        blocks = edit.right[i].unflatten(0, (-1, site.width))
        for index in edit.strength[i].nonzero().squeeze(1).tolist():
            lam = float(edit.strength[i][index])
            if part == "attn":
                content[part][site.layer, index] = {"lambda": lam, "k_hat": blocks[index] / lam}
            else:
                content[part][site.layer, index] = {"lambda": float(blocks[index])}
            meta[f"vhat_{part}"][site.layer] = edit.left[i].clone()
    return content | {"meta": meta}


class Evil:
    """Creates a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def packed(path: Path, zeros: int) -> Path:
    """Rewrite a zip file with compressed entries and one more entry of `zeros` zero bytes; returns its path."""
    with zipfile.ZipFile(path) as source:
        contents = {info.filename: source.read(info) for info in source.infolist()}
    folder = next(iter(contents)).split("/")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in contents.items():
            target.writestr(name, content)
        with target.open(f"{folder}/data/999", "w") as entry:
            for _ in range(zeros // 1_000_000):
                entry.write(bytes(1_000_000))
    return path


def claim_size(path: Path, size: int) -> Path:
    """Rewrite a zip file so that its directory claims `size` bytes for one entry; returns its path."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    for offset in (20, 24):  # packed and unpacked size
        data[entry + offset : entry + offset + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)
    return path
