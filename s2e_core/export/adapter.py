"""Export the edit as a LoRA adapter for PEFT, of rank 1 for one direction: exact and small.

lora_A is `right` (r, n_inputs) and lora_B is `left` (d, r): B A = left @ right is the change of the weight in
(out, in) order. Where the published class nests the loaded one, every factor is there under both names: a reader takes
those of its own class and leaves the others. PEFT is imported only when it is used: the import takes seconds and
imports every installed library for quantised weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.files import Meter, stage_folder, write_files
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.spec import Site
from s2e_core.values import Steered, WeightEdit

from .card import card_and_recipe, change_of_edited_matrices, licence_files
from .evaluating import evaluation_files
from .factors import rank_of, site_factors
from .how_to_load import base_to_load
from .published import published_prefix
from .recipe import describe_base_mismatch

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""Prefix that PEFT adds to the name of every module."""


def export_adapter(
    loaded: LoadedModel,
    edit: WeightEdit,
    folder: str | Path,
    *,
    steered: Steered | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the edit as a PEFT adapter with its model card and recipe; `folder` must be new or empty.

    Factors are fp32, for the edited projections only. `evaluate.sh` compares the edit with `steered` too.

    Raises ExportError if the edit is empty or belongs to another model, if PEFT cannot adapt an edited
    projection, or if the folder cannot be written; then nothing is left behind.
    """
    check_edit(loaded, edit)
    _check_peft(loaded, edit)
    files = adapter_files(loaded, edit, size=0.0, steered=steered)
    total = sum(len(content) for content in files.values())
    with stage_folder(folder, total) as target:
        meter = Meter(total, progress)
        size = change_of_edited_matrices(loaded, edit, tick=meter.still)
        write_files(target, files | card_and_recipe(loaded, edit, "adapter", size), meter)
    return Path(folder)


def adapter_files(
    loaded: LoadedModel, edit: WeightEdit, size: float, *, steered: Steered | None = None, exact: bool = True
) -> dict[str, bytes]:
    """Every file of the adapter folder, by name; `size` is `change_of_edited_matrices`, for the model card.

    Without `exact`, PEFT is not imported: the files are ready at once, and their sizes are right within a few bytes.
    """
    config = json.dumps(_config(loaded, edit, exact=exact), indent=2) + "\n"
    licence = {path.name: path.read_bytes() for path in licence_files(loaded.source)}
    # Older readers recognise torch tensors by the format key.
    weights = save(adapter_factors(loaded, edit), {"format": "pt"})
    return {
        CONFIG_FILE: config.encode(),
        WEIGHTS_FILE: weights,
        **card_and_recipe(loaded, edit, "adapter", size),
        **evaluation_files(loaded, edit, "adapter", steered),
        **licence,
    }


def adapter_factors(loaded: LoadedModel, edit: WeightEdit) -> dict[str, Tensor]:
    """PEFT's tensors for every edited projection: `lora_A.weight` (r, n_inputs) and `lora_B.weight` (d, r).

    For fused experts the shapes are (experts * r, n) and (d, r * experts), A one expert after the other. Where the
    published class has other names, the same tensors are there under them as well.
    """
    tensors: dict[str, Tensor] = {}
    for i in edit.edited_sites():
        site, factors = edit.spec.sites[i], site_factors(edit, i)
        right, left = factors.by_expert(max(site.experts, 1)), factors.left  # (experts, r, n) and (d, r)
        if _is_swapped(loaded, site):
            a, b = left.T.expand(len(right), -1, -1), right.permute(2, 1, 0)
        else:
            a, b = right, left.unsqueeze(2).expand(-1, -1, len(right))
        for name, factor in zip(_names(site), (a.flatten(0, 1), b.flatten(1)), strict=True):
            tensors[name] = factor.contiguous()
    # The format holds no tensor twice, so that those of the other class are copies.
    own = [name.removeprefix(PREFIX) for name in tensors]
    copies = {PREFIX + there: tensors[PREFIX + here].clone() for here, there in _published(loaded, own).items()}
    return tensors | copies


def _published(loaded: LoadedModel, names: Iterable[str]) -> dict[str, str]:
    """The names of the published class by those of the loaded one; empty where they are the same."""
    prefix = published_prefix(loaded)
    if prefix is None:
        return {}
    here, there = prefix
    return {name: there + name.removeprefix(here) for name in names}


def adapter_change(loaded: LoadedModel, edit: WeightEdit, index: int, tensors: Mapping[str, Tensor]) -> Tensor:
    """left . (PEFT's change of a site's weight): (r, n_inputs) in fp64; 0 if a factor is missing."""
    site, left = edit.spec.sites[index], site_factors(edit, index).left.double()
    a, b = (tensors.get(name) for name in _names(site))
    if a is None or b is None:
        return torch.zeros(left.shape[1], site.n_inputs, dtype=torch.float64)
    experts = max(site.experts, 1)
    a3, b3 = a.double().unflatten(0, (experts, -1)), b.double().unflatten(1, (-1, experts))
    change = "dk,erd,nre->ken" if _is_swapped(loaded, site) else "dk,ern,dre->ken"
    return torch.einsum(change, left, a3, b3).flatten(1)


def factor_names(edit: WeightEdit) -> set[str]:
    """The names of all factors in the loaded class, where PEFT looks for them."""
    return {name for i in edit.edited_sites() for name in _names(edit.spec.sites[i])}


def _names(site: Site) -> tuple[str, str]:
    """PEFT's names for the factors A and B of a site."""
    return f"{PREFIX}{_owner(site)}.lora_A.weight", f"{PREFIX}{_owner(site)}.lora_B.weight"


def _owner(site: Site) -> str:
    """Name of the module that directly contains the weight; PEFT wraps that module."""
    return f"{site.name}.{site.parameter}".rpartition(".")[0]


def _is_swapped(loaded: LoadedModel, site: Site) -> bool:
    """True if PEFT confuses inputs and outputs of the experts' matrices.

    PEFT assumes (out, in) for every stack whose module has no `is_transposed`; Llama 4 lacks that attribute.
    """
    module = loaded.model.get_submodule(_owner(site))
    return bool(site.experts) and site.transposed != bool(getattr(module, "is_transposed", False))


def check_edit(loaded: LoadedModel, edit: WeightEdit) -> None:
    """Raise ExportError if an edit is empty, contains NaN or infinity, or belongs to another model."""
    other = describe_base_mismatch(edit, loaded)
    if other is not None:
        raise ExportError(f"The edit {other}")
    if edit.is_empty:
        raise ExportError("The edit is empty; lower the threshold or choose components first.")
    for part in edit.parts:
        for site, left, right in zip(edit.spec.sites, part.left, part.right, strict=True):
            if not bool(left.isfinite().all() and right.isfinite().all()):
                raise ExportError(
                    f"The edit of {site.name} contains values that are not finite; rebuild it with a smaller strength."
                )


def _check_peft(loaded: LoadedModel, edit: WeightEdit) -> None:
    """Raise ExportError if PEFT cannot adapt an edited site, or would omit it with only a warning."""
    for site in (edit.spec.sites[i] for i in edit.edited_sites()):
        if site.experts and loaded.model.get_parameter(f"{site.name}.{site.parameter}").dim() == 2:
            raise ExportError(
                f"PEFT {version('peft')} cannot adapt the experts of {site.name}, which share one matrix; "
                "export the checkpoint instead."
            )
        if site.experts == 1 and getattr(loaded.model.get_submodule(_owner(site)), "is_transposed", False):
            raise ExportError(
                f"PEFT {version('peft')} cannot adapt the single expert of {site.name}, because it misreads the "
                "matrix as transposed; export the checkpoint instead."
            )
        if site.also_at:
            raise ExportError(
                f"PEFT {version('peft')} cannot adapt {site.name}, because later layers use the same weight: "
                "merging would add the adapter several times; export the checkpoint instead."
            )
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers

    factors = adapter_factors(loaded, edit)
    # PEFT renames the tensors that it reads in the way in which transformers renames those of a checkpoint.
    readable = convert_peft_adapter_state_dict_for_transformers(loaded.model, LoraConfig(), factors)
    unreadable = sorted(factors.keys() - readable.keys())
    if unreadable:
        module = unreadable[0].removeprefix(PREFIX).rpartition(".lora_")[0]
        raise ExportError(
            f"PEFT {version('peft')} expects the adapter of {module} under another name and would silently omit it; "
            "export the checkpoint instead."
        )


def _config(loaded: LoadedModel, edit: WeightEdit, *, exact: bool) -> dict[str, Any]:
    sites = [edit.spec.sites[i] for i in edit.edited_sites()]
    names = [site.name for site in sites if not site.experts]
    modules = _accepted_modules(loaded, names) if exact else names
    parameters = [f"{site.name}.{site.parameter}" for site in sites if site.name not in modules]
    parameters += _published(loaded, parameters).values()
    rank = rank_of(edit)
    return {
        "base_model_name_or_path": base_to_load(loaded),
        "bias": "none",
        "fan_in_fan_out": any(site.transposed for site in sites if not site.experts),
        "inference_mode": True,
        "lora_alpha": rank,  # PEFT multiplies by alpha / r
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "revision": loaded.revision,
        "target_modules": [*modules, *_published(loaded, modules).values()],
        "task_type": "CAUSAL_LM",
        **({"target_parameters": parameters} if parameters else {}),  # only if needed: older versions reject the key
    }


def _accepted_modules(loaded: LoadedModel, names: list[str]) -> list[str]:
    """The projections that PEFT accepts as modules.

    In many mixtures of experts PEFT mistakes a module that is named like an expert's matrix for an expert of
    transformers 4, and silently adapts all experts instead. Such a module must be named as a parameter.
    """
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    config = LoraConfig(target_modules=list(names))
    convert_peft_config_for_transformers(config, loaded.model, None)
    accepted = set(config.target_modules or ())
    return [name for name in names if name in accepted]
