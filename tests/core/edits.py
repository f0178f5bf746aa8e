"""Random edits of any size, and slow plain oracles of what a written edit must look like."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModelForCausalLM, PreTrainedModel

from s2e_core import EditSettings, LoadedModel, Provenance, WeightEdit

IDS = torch.tensor([[1, 40, 77, 12, 99, 5, 23, 61], [1, 9, 8, 7, 6, 5, 4, 3]])


def random_edit(loaded: LoadedModel, size: float = 0.5, sites: tuple[int, ...] | None = None) -> WeightEdit:
    """Every second component of the sites gets a lambda of either sign around `size`; other sites are left alone."""
    dice = torch.Generator().manual_seed(7)
    spec = loaded.spec
    left, right, strength = [], [], []
    for i, site in enumerate(spec.sites):
        keys = normalize(torch.randn(site.n_components, site.width, generator=dice), dim=1)
        lam = size * (0.5 + torch.rand(site.n_components, generator=dice))
        lam[::2] = 0
        lam[1::4] *= -1
        lam *= sites is None or i in sites
        left.append(normalize(torch.randn(spec.d_model, generator=dice), dim=0))
        right.append((lam.unsqueeze(1) * keys).flatten())
        strength.append(lam)
    provenance = Provenance(loaded.model_id, loaded.revision, loaded.fingerprint, "mood | test", "c0ffee")
    settings = EditSettings(rho_attn=0.1, rho_mlp=0.2, alpha=0.5)
    return WeightEdit(spec, tuple(left), tuple(right), tuple(strength), settings, provenance)


def merged(loaded: LoadedModel, edit: WeightEdit, dtype: torch.dtype) -> PreTrainedModel:
    """The base, loaded again from disk in `dtype`, with every changed weight added in fp32 and cast back once."""
    model = copy.deepcopy(AutoModelForCausalLM.from_pretrained(loaded.source, dtype=dtype)).eval()
    with torch.no_grad():
        for i in edit.edited_sites():
            weight = model.get_submodule(edit.spec.sites[i].name).weight
            change = edit.left[i].unsqueeze(1) * edit.right[i].unsqueeze(0)
            weight.copy_((weight.float() + (change.T if edit.spec.sites[i].transposed else change)).to(dtype))
    return model


def stored_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the checkpoint in a folder, by its name on disk."""
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def files_of(folder: Path) -> dict[str, bytes]:
    """Path inside the folder -> content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
