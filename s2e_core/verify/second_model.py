"""Load the second model of a verification: the export, as transformers or PEFT loads it.

Decides in advance where this model fits, or why it cannot run here. An adapter goes onto copies of the loaded model's
modules that share its weights: that takes no memory and does not affect others who use the model.
"""

from __future__ import annotations

import copy
import errno
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import align_module_device, set_module_tensor_to_device
from safetensors import SafetensorError
from torch import Tensor, nn

from s2e_core.errors import ExportError
from s2e_core.export import CONFIG_FILE, GGUF_FILE, MLX_FILE
from s2e_core.files import FLOATS, Checkpoint, open_checkpoint
from s2e_core.loading import WORKING_SHARE, Target, budget, estimate_memory, is_out_of_memory, read_model
from s2e_core.model import SPREAD, LoadedModel, offload_maps, running_device
from s2e_core.text import readable_size
from s2e_core.values import WeightEdit

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

READING_ERRORS = (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, MemoryError)
"""Errors that transformers, PEFT and torch raise for files that they cannot read or run."""


class NotCheckedError(Exception):
    """The check cannot run on this machine; the message is the rest of a sentence with "because"."""


@dataclass(frozen=True, eq=False)
class SecondModelPlan:
    """The place of the second model in memory or on the disk, and its number format."""

    target: Target | None
    """Device, "disk" or spread over devices; None if the model shares the weights of the loaded one."""
    dtype: torch.dtype
    """Number format of the second model."""
    sentence: str
    """Sentence for the user about the place and the memory that it takes."""


def plan_second_model(loaded: LoadedModel, edit: WeightEdit, folder: str | Path) -> SecondModelPlan:
    """Decide where the second model for a written folder will be, from the headers of its files alone.

    The choice is the loaded model's device if the model fits there, else the CPU, else the disk. Raises NotCheckedError
    if none is possible, and ExportError if a file cannot be read.
    """
    full, folder = loaded.in_full(), Path(folder)
    for name in (GGUF_FILE, MLX_FILE):
        if (folder / name).is_file():
            raise NotCheckedError("another program runs it")
    is_adapter = (folder / CONFIG_FILE).is_file()
    # PEFT adds the change of experts in the number format of the weights, which must not round it.
    rounds = full.dtype != torch.float32 and any(edit.spec.sites[i].experts for i in edit.edited_sites())
    if is_adapter and not full.source_quantization and not rounds:
        return SecondModelPlan(None, full.dtype, "The adapter is checked on the weights of the loaded model.")
    checkpoint = open_checkpoint(full.source if is_adapter else folder)
    dtype = full.dtype
    if not full.source_quantization and (is_adapter or _is_float32(checkpoint)):
        dtype = torch.float32
    if loaded.full_precision is not None:
        return SecondModelPlan("disk", dtype, "The second model stays on the disk.")
    if loaded.placement.device == SPREAD:
        return SecondModelPlan(SPREAD, dtype, "The second model is spread over the free memory and the disk.")
    return _plan_for_free_memory(loaded, checkpoint, dtype)


def _plan_for_free_memory(loaded: LoadedModel, checkpoint: Checkpoint, dtype: torch.dtype) -> SecondModelPlan:
    method = loaded.source_quantization or None
    needs = [
        (device, estimate_memory(checkpoint, device, dtype, method=method))
        for device in dict.fromkeys((loaded.device, torch.device("cpu")))
        if not method or device == loaded.device
    ]
    for device, need in needs:
        if need.available is None or need.weights * WORKING_SHARE <= need.available:
            return SecondModelPlan(
                device, dtype, f"The second model takes {readable_size(need.weights)} on {need.place}."
            )
    need = needs[-1][1]
    shortage = f"{readable_size(need.weights)} beside the loaded one, and {readable_size(need.available or 0)} are free"
    if method:
        raise NotCheckedError(f"a second model, stored quantised, needs {shortage} on {need.place}")
    return SecondModelPlan(
        "disk", dtype, f"The second model would need {shortage}: it stays on the disk, which is slow."
    )


def _is_float32(checkpoint: Checkpoint) -> bool:
    formats = {tensor.dtype for tensor in checkpoint.tensors().values() if tensor.dtype in FLOATS}
    return formats == {"F32"}


def load_second_model(loaded: LoadedModel, folder: Path, plan: SecondModelPlan) -> tuple[nn.Module, tuple[str, ...]]:
    """Load the export in eval mode; also returns the names of weights for which transformers found no tensor.

    Raises ExportError if the files cannot be loaded, and NotCheckedError if memory or disk run out.
    """
    is_adapter = (folder / CONFIG_FILE).is_file()
    try:
        if plan.target is None:
            return _apply_adapter(_share_weights(loaded), folder).eval(), ()
        limits = _memory_limits(loaded) if plan.target == SPREAD else None
        source = loaded.source if is_adapter else folder
        model, random_weights, _ = read_model(source, plan.target, plan.dtype, max_memory=limits)
        return (_apply_adapter(model, folder) if is_adapter else model).eval(), random_weights
    except READING_ERRORS as error:
        raise_if_out_of_space(error)
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"What was written to {folder.name} cannot be loaded: {reason}") from error


def load_base_model(loaded: LoadedModel, plan: SecondModelPlan) -> nn.Module:
    """Load the untouched model into the same place as the second model."""
    assert plan.target is not None
    model, _, _ = read_model(loaded.source, plan.target, plan.dtype)
    return model


def raise_if_out_of_space(error: Exception) -> None:
    """Raise NotCheckedError if an error means that memory or disk ran out, not that a file is wrong."""
    if is_out_of_memory(error):
        raise NotCheckedError("a second model does not fit into memory beside the loaded one") from error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise NotCheckedError("the disk for temporary files is full") from error


def _memory_limits(loaded: LoadedModel) -> dict[str, int]:
    """Bytes per device: the limits of the loaded model, or less if less is free now."""
    free = {str(place): n for place, n in budget(None).items()}
    limits = loaded.placement.max_memory or {}
    return {place: min(n, limits.get(place, n)) for place, n in free.items()}


def _share_weights(loaded: LoadedModel) -> PreTrainedModel:
    """Copy the modules of the loaded model, but not its weights, whether in memory or on the disk."""
    model = loaded.source_model
    memo: dict[int, Any] = {id(part): part for part in offload_maps(model)}  # deepcopy copies nothing in its memo
    memo |= {id(buffer): buffer for buffer in model.buffers()}
    memo |= {id(weight): nn.Parameter(weight.data, requires_grad=False) for weight in model.parameters()}
    with loaded.lock:  # a running generation has its hooks on the modules
        return copy.deepcopy(model, memo)


def _apply_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Combine base and adapter as PEFT does."""
    from peft import PeftConfig, PeftModel, load_peft_weights, set_peft_model_state_dict

    if not hasattr(model, "hf_device_map"):
        return PeftModel.from_pretrained(model, folder)
    # For a spread model, from_pretrained would write all shards again and put the adapter where memory is full.
    adapted = PeftModel(model, PeftConfig.from_pretrained(folder, inference_mode=True), low_cpu_mem_usage=True)
    factors = load_peft_weights(folder, device="cpu")
    set_peft_model_state_dict(adapted, factors, low_cpu_mem_usage=True)
    parameters = {name.replace(".default.", "."): name for name, _ in adapted.named_parameters() if ".lora_" in name}
    for name in parameters.keys() & factors.keys():
        device = running_device(adapted, name.split(".lora_")[0])
        set_module_tensor_to_device(adapted, parameters[name], device, value=factors[name])
    _load_before_use(adapted)
    return adapted


def _load_before_use(adapted: PeftModel) -> None:
    """Bring offloaded experts into memory before PEFT adds the change to them, which is before they run."""
    from peft.tuners.lora import ParamWrapper

    for module in adapted.modules():
        if isinstance(module, ParamWrapper):
            module.forward = _with_weights_in_memory(module)


def _with_weights_in_memory(wrapper: Any) -> Any:
    forward, base = wrapper.forward, wrapper.get_base_layer()

    def forward_in_memory(*inputs: Tensor, **options: Any) -> Any:
        with align_module_device(base):
            return forward(*inputs, **options)

    return forward_in_memory
