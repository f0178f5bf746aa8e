"""Export the edit as a LoRA adapter for MLX, as mlx-lm reads it on a Mac.

mlx-lm adds scale * (x A) B: its factors are those of PEFT transposed, and the scale is the multiplier itself. Knows the
model types whose modules mlx-lm calls what transformers calls them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import WeightEdit

from .adapter import check_edit
from .adapter_folder import with_companions, write_adapter_folder
from .factors import rank_of, site_factors
from .how_to_load import MLX_FILE

_TYPES = "cohere cohere2 gemma gemma2 gemma3_text hunyuan_v1_dense llama ministral3 mistral olmo2 phi3 qwen2 qwen3"
MODEL_TYPES = (*_TYPES.split(), "seed_oss", "smollm3")
_MODULE = re.compile(r"model\.layers\.\d+\.(self_attn\.o_proj|mlp\.down_proj)")


def export_mlx(loaded: LoadedModel, edit: WeightEdit, folder: str | Path, *, progress: Progress | None = None) -> Path:
    """Write the edit as an MLX adapter with its model card and recipe; `folder` must be new or empty.

    Raises ExportError if the edit is empty or belongs to another model, if mlx-lm is not known to call the edited
    projections of this model type as transformers does, or if the folder cannot be written.
    """
    return write_adapter_folder(loaded, edit, "mlx", _own_files(loaded, edit), folder, progress)


def mlx_files(loaded: LoadedModel, edit: WeightEdit) -> dict[str, bytes]:
    """Every file of the folder, by name; see `with_companions`."""
    return with_companions(loaded, edit, "mlx", _own_files(loaded, edit))


def mlx_factors(edit: WeightEdit) -> dict[str, Tensor]:
    """Tensors of mlx-lm for every edited projection: `lora_a` (n_inputs, r) and `lora_b` (r, d)."""
    tensors: dict[str, Tensor] = {}
    for i in edit.edited_sites():
        name, factors = edit.spec.sites[i].name, site_factors(edit, i)
        tensors |= {f"{name}.lora_a": factors.right.T.contiguous(), f"{name}.lora_b": factors.left.T.contiguous()}
    return tensors


def mlx_config(edit: WeightEdit) -> dict[str, object]:
    """What mlx-lm reads first: it gives the projections of every layer an adapter, zero where none is stored."""
    matches = [_MODULE.fullmatch(edit.spec.sites[i].name) for i in edit.edited_sites()]
    return {
        "fine_tune_type": "lora",
        "num_layers": edit.spec.n_layers,
        "lora_parameters": {
            "rank": rank_of(edit),
            "scale": 1.0,
            "dropout": 0.0,
            "keys": sorted({match[1] for match in matches if match}),
        },
    }


def _own_files(loaded: LoadedModel, edit: WeightEdit) -> dict[str, bytes]:
    check_edit(loaded, edit)
    spec = edit.spec
    others = [spec.sites[i].name for i in edit.edited_sites() if not _MODULE.fullmatch(spec.sites[i].name)]
    if spec.model_type not in MODEL_TYPES or others:
        what = f"{others[0]} of " if others else ""
        raise ExportError(
            f"No MLX adapter can be written for {what}the model type {spec.model_type}: it is not known that mlx-lm "
            "calls its projections as transformers does. Export the checkpoint or the PEFT adapter instead."
        )
    return {
        MLX_FILE: save(mlx_factors(edit), {"format": "mlx"}),
        "adapter_config.json": (json.dumps(mlx_config(edit), indent=2) + "\n").encode(),
    }
