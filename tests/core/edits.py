"""Shared parts of the tests of exports: models on disk, random edits, and plain reference results."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModelForCausalLM, PreTrainedModel

from s2e_core import EditSettings, WeightEdit
from s2e_core.model import LoadedModel
from tests.families import VOCABULARY, saved, tiny_model, tiny_tokenizer

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
IDS = torch.tensor([[1, 40, 77, 12, 99, 5, 23, 61], [1, 9, 8, 7, 6, 5, 4, 3]])


def random_edit(loaded: LoadedModel, size: float = 0.5, sites: tuple[int, ...] | None = None) -> WeightEdit:
    """An edit of every second component of `sites` (default all), with strengths of both signs around `size`."""
    generator = torch.Generator().manual_seed(7)
    spec = loaded.spec
    left, right, strength = [], [], []
    for i, site in enumerate(spec.sites):
        keys = normalize(torch.randn(site.n_components, site.width, generator=generator), dim=1)
        lam = size * (0.5 + torch.rand(site.n_components, generator=generator))
        lam[::2] = 0
        lam[1::4] *= -1
        lam *= sites is None or i in sites
        left.append(normalize(torch.randn(spec.d_model, generator=generator), dim=0))
        right.append((lam.unsqueeze(1) * keys).flatten())
        strength.append(lam)
    provenance = loaded.provenance("mood | test", "c0ffee")
    settings = EditSettings(rho_attn=0.1, rho_mlp=0.2, alpha=0.5)
    return WeightEdit(spec, tuple(left), tuple(right), tuple(strength), settings, provenance)


def merged(loaded: LoadedModel, edit: WeightEdit, dtype: torch.dtype) -> PreTrainedModel:
    """The base, reloaded from disk in `dtype`, with every change added in fp32 and rounded once."""
    model = copy.deepcopy(AutoModelForCausalLM.from_pretrained(loaded.source, dtype=dtype)).eval()
    with torch.no_grad():
        for i in edit.edited_sites():
            site = edit.spec.sites[i]
            weight = model.get_submodule(site.name).get_parameter(site.parameter)
            count = max(site.experts, 1)
            parts = zip(weight.view(count, -1, weight.shape[-1]), edit.right[i].chunk(count), strict=True)
            for matrix, right in parts:  # experts one after the other
                change = edit.left[i].unsqueeze(1) * right.unsqueeze(0)
                matrix.copy_((matrix.float() + (change.T if site.transposed else change)).to(dtype))
    return model


def stored_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the checkpoint in a folder, by name on disk."""
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of every file in a folder, by path inside the folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def folder_of(folder, model_type, dtype, **overrides):
    """Save a model, in many shards if `sharded`, with the other files of a published model; returns the folder."""
    options = {"max_shard_size": "60KB"} if overrides.pop("sharded", False) else {}
    saved(tiny_model(model_type, vocab_size=VOCABULARY, **overrides), folder, dtype, **options)
    tiny_tokenizer().save_pretrained(folder)
    (folder / "LICENSE").write_text("Do what you like.")
    return folder


def save_without_prefix(folder, dtype=BF16):
    """Save GPT-2 as it is published: from the base model, so that names lack `transformer.`; returns the folder."""
    model = tiny_model("gpt2", vocab_size=VOCABULARY).to(dtype)
    model.transformer.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


CASES = {
    "llama in shards, bf16": lambda f: folder_of(f, "llama", BF16, sharded=True),
    "llama tied, fp16": lambda f: folder_of(f, "llama", FP16, tie_word_embeddings=True),
    "gpt2 in shards, fp32": lambda f: folder_of(f, "gpt2", FP32, sharded=True),
    "gpt2 without prefix, bf16": save_without_prefix,
    "gemma2, bf16": lambda f: folder_of(f, "gemma2", BF16),
    "gemma3 with a wrapper, bf16": lambda f: folder_of(f, "gemma3", BF16),
}
"""By description, a function that saves a model to a folder and returns the folder."""


def plain(folder, **options):
    """Load a model with plain transformers."""
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


@torch.inference_mode()
def logits(model):
    """The model's logits for `IDS`."""
    return model(input_ids=IDS, use_cache=False).logits


def assert_rounded_sum(stored, expected):
    """Assert that a tensor is the sum, rounded once; in fp32 a fused operation may change the last bit."""
    last_bit = 1e-6 if stored.dtype == FP32 else 0.0
    torch.testing.assert_close(stored, expected.to(stored.dtype), rtol=last_bit, atol=last_bit)
