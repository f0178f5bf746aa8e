"""A base model with a LoRA adapter on top, as weights to compare: W + scale * B A, one projection at a time.

Knows the files of a PEFT adapter; nothing is merged into the base, and PEFT is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from s2e_core.errors import InteropError
from s2e_core.model import LoadedModel
from s2e_core.spec import ModelSpec

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""Prefix that PEFT adds to the name of every module."""
REFUSED = {"use_dora": "DoRA", "rank_pattern": "rank_pattern", "alpha_pattern": "alpha_pattern"}
"""Settings under which the change is not scale * B A with one scale."""


@dataclass(frozen=True, eq=False)
class WithAdapter:
    """The weights of a base model as an adapter would change them."""

    base: LoadedModel
    factors: dict[int, tuple[Tensor, Tensor]]
    """B (d, r), with the scale, and A (r, n_inputs), by the index of the site."""
    elsewhere: tuple[str, ...] = field(default=())
    """Modules that the adapter changes and that write nothing to the residual stream, such as q_proj."""

    @property
    def spec(self) -> ModelSpec:
        return self.base.spec

    def weight(self, site: int) -> Tensor:
        """(d, n_components * width), fp32; see `WeightSource.weight`."""
        return torch.cat(list(self.blocks(site)), dim=1)

    def blocks(self, site: int) -> Iterator[Tensor]:
        """Blocks (d, n) of the weight, fp32; see `WeightSource.blocks`."""
        for block in self.base.blocks(site):
            if site not in self.factors:
                yield block
                continue
            b, a = (factor.to(block) for factor in self.factors[site])
            yield block + b @ a


def open_adapter(base: LoadedModel, folder: str | Path) -> WithAdapter:
    """Read a LoRA adapter for `base`. Raises InteropError if it is none, or is for another model."""
    config, tensors = _read(Path(folder))
    for name, label in REFUSED.items():
        if config.get(name):
            raise InteropError(
                f"This adapter uses {label}, which cannot be compared. Merge it and give the checkpoint."
            )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise InteropError(f"{CONFIG_FILE} names no rank and no lora_alpha. Give the folder of a LoRA adapter.")
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    sites = {place: i for i, site in enumerate(base.spec.sites) for place in site.places if not site.experts}
    factors: dict[int, tuple[Tensor, Tensor]] = {}
    elsewhere: list[str] = []
    for key in sorted(name for name in tensors if name.endswith(".lora_A.weight")):
        module = key.removeprefix(PREFIX).removesuffix(".lora_A.weight")
        other = f"{key.removesuffix('.lora_A.weight')}.lora_B.weight"
        if module not in sites:
            elsewhere.append(module)
        elif other in tensors:
            a, b = tensors[key].float(), tensors[other].float() * scale
            factors[sites[module]] = _checked(base, sites[module], b, a)
    modules = {name for name, _ in base.model.named_modules()}
    if strangers := [name for name in elsewhere if name not in modules]:
        raise InteropError(
            f"The adapter changes {strangers[0]}, which this model does not have. Open its own base model."
        )
    if not factors and not elsewhere:
        raise InteropError(f"{WEIGHTS_FILE} has no LoRA factors. Give the folder of a LoRA adapter.")
    return WithAdapter(base, factors, tuple(elsewhere))


def _checked(base: LoadedModel, index: int, b: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    site = base.spec.sites[index]
    if b.dim() != 2 or a.dim() != 2 or (len(b), a.shape[1]) != (base.spec.d_model, site.n_inputs):
        raise InteropError(
            f"The adapter changes {site.name} by {len(b)} x {a.shape[-1]} numbers, where this model has "
            f"{base.spec.d_model} x {site.n_inputs}. Open the adapter's own base model."
        )
    return b, a


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, ValueError, SafetensorError) as error:
        raise InteropError(
            f"{folder.name} is not a readable LoRA adapter. It should contain {CONFIG_FILE} and {WEIGHTS_FILE}."
        ) from error
    if not isinstance(config, dict):
        raise InteropError(f"{CONFIG_FILE} of {folder.name} is not a JSON object. Give the folder of a LoRA adapter.")
    return config, tensors
