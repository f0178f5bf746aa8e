"""A checkpoint as optimum-quanto saves it: transformers, which can quantise with that library, does not read its files.

Knows the library's map of quantised modules and its own way of filling them; chooses no device.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from s2e_core.files import FLOATS, open_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

MAP = "quanto_qmap.json"
"""Beside the weights: which modules are quantised, and how."""


def read_quanto(
    folder: Path, config: PreTrainedConfig, device: torch.device
) -> tuple[PreTrainedModel, tuple[str, ...], tuple[str, ...]]:
    """(model, names of weights that the files lack, and of those that it does not use); see `dispatch.read_model`.

    On a CPU it computes in fp32: the library's way to multiply bf16 there was seen to end the program.
    """
    dtype = torch.float32 if device.type == "cpu" else config.dtype
    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    stored: dict[str, torch.Tensor] = {}
    for shard in open_checkpoint(folder).shards:
        tensors = load_file(shard.path)
        stored |= {name: part.to(dtype) if part.dtype in FLOATS.values() else part for name, part in tensors.items()}
    modules = json.loads((folder / MAP).read_text(encoding="utf-8"))
    import_module("optimum.quanto").requantize(model, stored, modules, device)
    model.tie_weights()
    wanted = model.state_dict().keys()
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    return model, tuple(sorted(wanted - stored.keys() - tied)), tuple(sorted(stored.keys() - wanted))
