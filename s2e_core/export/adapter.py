"""The edit as a rank-1 LoRA adapter that PEFT loads: exact, a few vectors, base and edited model served together.

Knows PEFT's two files and nothing of the checkpoint: lora_A is `right` (1, n_inputs), lora_B is `left` (d, 1), so that
B A = outer(left, right), the change of the weight in (out, in) order. PEFT is imported where it is used: that takes
seconds, and it imports every library for quantised weights that is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.files import Meter, staged, write_files
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.spec import Site
from s2e_core.values import WeightEdit

from .card import base_to_load, licence_files, own_files, relative_size
from .recipe import other_base

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the name of a module."""


def export_adapter(
    loaded: LoadedModel, edit: WeightEdit, folder: str | Path, *, progress: Progress | None = None
) -> Path:
    """Write the edit as a PEFT adapter with its model card and recipe; `folder` must be new or empty.

    Factors are fp32 and only edited projections are named. Raises ExportError where nothing would change, for an edit
    of another model, where PEFT cannot adapt what is edited, and where the folder cannot be written; then nothing is
    left behind.
    """
    check_edit(loaded, edit)
    _check_peft(loaded, edit)
    files = adapter_files(loaded, edit, size=0.0)
    total = sum(len(content) for content in files.values())
    with staged(folder, total) as target:
        meter = Meter(total, progress)
        size = relative_size(loaded, edit, tick=meter.still)
        write_files(target, files | own_files(loaded, edit, "adapter", size), meter)
    return Path(folder)


def adapter_files(loaded: LoadedModel, edit: WeightEdit, size: float, *, exact: bool = True) -> dict[str, bytes]:
    """Every file of the adapter folder, by name; `size` is the edit's `relative_size`, for the model card.

    Without `exact` PEFT is not asked where it takes which names: of the right length, within a few bytes, at once.
    """
    config = json.dumps(_config(loaded, edit, exact=exact), indent=2) + "\n"
    licence = {path.name: path.read_bytes() for path in licence_files(loaded.source)}
    # The format key is what tells older readers that these are torch tensors.
    weights = save(adapter_factors(loaded, edit), {"format": "pt"})
    return {CONFIG_FILE: config.encode(), WEIGHTS_FILE: weights, **own_files(loaded, edit, "adapter", size), **licence}


def adapter_factors(loaded: LoadedModel, edit: WeightEdit) -> dict[str, Tensor]:
    """PEFT's tensors of every edited projection: `lora_A.weight` (1, n_inputs) and `lora_B.weight` (d, 1).

    Of fused experts, (experts, n) and (d, experts): a row and a column for each expert.
    """
    factors: dict[str, Tensor] = {}
    for i in edit.edited_sites():
        site = edit.spec.sites[i]
        right = edit.right[i].view(max(site.experts, 1), -1)  # (experts, n)
        left = edit.left[i].unsqueeze(1).expand(-1, len(right))  # (d, experts)
        a, b = (left.T, right.T) if _is_swapped(loaded, site) else (right, left)
        for name, factor in zip(_names(site), (a, b), strict=True):
            factors[name] = factor.contiguous()
    return factors


def change_by_factors(loaded: LoadedModel, edit: WeightEdit, index: int, factors: Mapping[str, Tensor]) -> Tensor:
    """left . (what PEFT adds to a site's weight), (n_inputs,) in fp64; 0 where a factor is missing."""
    site = edit.spec.sites[index]
    a, b = (factors.get(name) for name in _names(site))
    if a is None or b is None:
        return torch.zeros(site.n_inputs, dtype=torch.float64)
    right, left = (b.T, a.T) if _is_swapped(loaded, site) else (a, b)
    return ((edit.left[index].double() @ left.double()).unsqueeze(1) * right.double()).flatten()


def _names(site: Site) -> tuple[str, str]:
    """PEFT's names of the two factors of a site, A and B."""
    return f"{PREFIX}{_owner(site)}.lora_A.weight", f"{PREFIX}{_owner(site)}.lora_B.weight"


def _owner(site: Site) -> str:
    """The module that itself holds the weight, which is what PEFT wraps."""
    return f"{site.name}.{site.parameter}".rpartition(".")[0]


def _is_swapped(loaded: LoadedModel, site: Site) -> bool:
    """Whether PEFT takes the inputs of the experts' matrices for their outputs.

    It holds every stack for (out, in) unless its module says `is_transposed`, which Llama 4's does not say.
    """
    module = loaded.model.get_submodule(_owner(site))
    return bool(site.experts) and site.transposed != bool(getattr(module, "is_transposed", False))


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


def _check_peft(loaded: LoadedModel, edit: WeightEdit) -> None:
    """Raise ExportError for what PEFT cannot adapt, or would leave out with no more than a warning."""
    for site in (edit.spec.sites[i] for i in edit.edited_sites()):
        if site.experts and loaded.model.get_parameter(f"{site.name}.{site.parameter}").dim() == 2:
            raise ExportError(
                f"PEFT {version('peft')} cannot adapt the experts of {site.name}, whose matrices lie in a single one; "
                "export the checkpoint instead."
            )
        if site.experts == 1 and getattr(loaded.model.get_submodule(_owner(site)), "is_transposed", False):
            raise ExportError(
                f"PEFT {version('peft')} cannot adapt the single expert of {site.name}: it takes its matrix for one "
                "that is stored the other way round; export the checkpoint instead."
            )
        if site.also_at:
            raise ExportError(
                f"PEFT {version('peft')} cannot adapt {site.name}, whose weight later layers use as well: an adapter "
                "at each of them would be added several times when it is merged; export the checkpoint instead."
            )
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers

    factors = adapter_factors(loaded, edit)
    # PEFT renames what it reads as transformers renames a checkpoint.
    found = convert_peft_adapter_state_dict_for_transformers(loaded.model, LoraConfig(), factors)
    lost = sorted(factors.keys() - found.keys())
    if lost:
        module = lost[0].removeprefix(PREFIX).rpartition(".lora_")[0]
        raise ExportError(
            f"PEFT {version('peft')} looks for the adapter of {module} under another name and would leave it out "
            "without an error; export the checkpoint instead."
        )


def _config(loaded: LoadedModel, edit: WeightEdit, *, exact: bool) -> dict[str, Any]:
    sites = [edit.spec.sites[i] for i in edit.edited_sites()]
    names = [site.name for site in sites if not site.experts]
    modules = _as_modules(loaded, names) if exact else names
    parameters = [f"{site.name}.{site.parameter}" for site in sites if site.name not in modules]
    return {
        "base_model_name_or_path": base_to_load(loaded),
        "bias": "none",
        "fan_in_fan_out": any(site.transposed for site in sites if not site.experts),
        "inference_mode": True,
        "lora_alpha": 1,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": 1,
        "revision": loaded.revision,
        "target_modules": modules,
        "task_type": "CAUSAL_LM",
        **({"target_parameters": parameters} if parameters else {}),  # older versions do not know it
    }


def _as_modules(loaded: LoadedModel, names: list[str]) -> list[str]:
    """Those of the projections that PEFT accepts as modules.

    Of many mixtures of experts it takes every module named like a matrix of an expert for one of version 4 of
    transformers, and silently adapts all experts in its place; as parameters such modules are what they are.
    """
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    config = LoraConfig(target_modules=list(names))
    convert_peft_config_for_transformers(config, loaded.model, None)
    kept = set(config.target_modules or ())
    return [name for name in names if name in kept]
