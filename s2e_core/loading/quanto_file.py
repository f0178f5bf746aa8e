"""Read a checkpoint saved by optimum-quanto, which transformers itself does not read.

Knows the library's map of quantised modules and its own function to fill them; chooses no device.
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
"""File beside the weights that says which modules are quantised, and how."""


def read_quanto(
    folder: Path, config: PreTrainedConfig, device: torch.device
) -> tuple[PreTrainedModel, tuple[str, ...], tuple[str, ...]]:
    """Return (model, names of weights that the files lack, names of stored weights without a use).

    On a CPU the model computes in fp32, because the library's multiplication of bf16 can crash the program there.
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
    expected = model.state_dict().keys()
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    return model, tuple(sorted(expected - stored.keys() - tied)), tuple(sorted(stored.keys() - expected))
