"""The edit as a rank-1 LoRA adapter that PEFT loads: exact, a few vectors, base and edited model served together.

Knows PEFT's two files and nothing of the checkpoint: lora_A is `right` (1, n_inputs), lora_B is `left` (d, 1), so that
B A = outer(left, right), the change of the weight in (out, in) order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from .errors import ExportError
from .model_card import licence_files, own_files, relative_size
from .recipe import other_base
from .staging import Meter, staged, write_files
from .types import LoadedModel, Progress, WeightEdit

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"


def export_adapter(
    loaded: LoadedModel, edit: WeightEdit, folder: str | Path, *, progress: Progress | None = None
) -> Path:
    """Write the edit as a PEFT adapter with its model card and recipe; `folder` must be new or empty.

    Factors are fp32 and only edited projections are named. Raises ExportError where nothing would change, for an edit
    of another model, and where the folder cannot be written; then nothing is left behind.
    """
    check_edit(loaded, edit)
    files = adapter_files(loaded, edit, relative_size(loaded, edit))
    total = sum(len(content) for content in files.values())
    with staged(folder, total) as target:
        write_files(target, files, Meter(total, progress))
    return Path(folder)


def adapter_files(loaded: LoadedModel, edit: WeightEdit, size: float) -> dict[str, bytes]:
    """Every file of the adapter folder, by name; `size` is the edit's `relative_size`, for the model card."""
    config = json.dumps(_config(loaded, edit), indent=2) + "\n"
    licence = {path.name: path.read_bytes() for path in licence_files(loaded.source)}
    # The format key is what tells older readers that these are torch tensors.
    weights = save(adapter_factors(edit), {"format": "pt"})
    return {CONFIG_FILE: config.encode(), WEIGHTS_FILE: weights, **own_files(loaded, edit, "adapter", size), **licence}


def adapter_factors(edit: WeightEdit) -> dict[str, Tensor]:
    """PEFT's tensors of every edited projection: `lora_A.weight` (1, n_inputs) and `lora_B.weight` (d, 1)."""
    factors: dict[str, Tensor] = {}
    for i in edit.edited_sites():
        name = f"base_model.model.{edit.spec.sites[i].name}"
        factors[f"{name}.lora_A.weight"] = edit.right[i].unsqueeze(0).contiguous()
        factors[f"{name}.lora_B.weight"] = edit.left[i].unsqueeze(1).contiguous()
    return factors


def check_edit(loaded: LoadedModel, edit: WeightEdit) -> None:
    """Raise ExportError for an edit that changes nothing, holds NaN, or belongs to another model."""
    other = other_base(edit, loaded)
    if other is not None:
        raise ExportError(f"The edit {other}")
    if edit.is_empty:
        raise ExportError("The edit is empty, so nothing would change; lower the threshold or choose components first.")
    for site, left, right in zip(edit.spec.sites, edit.left, edit.right, strict=True):
        if not bool(left.isfinite().all() and right.isfinite().all()):
            raise ExportError(
                f"The edit of {site.name} holds values that are not finite numbers; build it again with a smaller "
                "strength."
            )


def _config(loaded: LoadedModel, edit: WeightEdit) -> dict[str, Any]:
    sites = [edit.spec.sites[i] for i in edit.edited_sites()]
    return {
        "base_model_name_or_path": loaded.model_id,
        "bias": "none",
        "fan_in_fan_out": any(site.transposed for site in sites),
        "inference_mode": True,
        "lora_alpha": 1,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": 1,
        "revision": loaded.revision,
        "target_modules": [site.name for site in sites],
        "task_type": "CAUSAL_LM",
    }
