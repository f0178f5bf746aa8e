"""The second model that a check runs: a written checkpoint as transformers loads it, base and adapter as PEFT does.

Knows where such a model finds room, says so before, and what cannot be run here. An adapter is put on the loaded
model's own weights in modules of their own: that takes no memory, and changes nothing of what others use.
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
from s2e_core.export import CONFIG_FILE
from s2e_core.files import FLOATS, Checkpoint, open_checkpoint
from s2e_core.loading import WORKING_SHARE, Target, budget, is_out_of_memory, memory_need, read_model
from s2e_core.model import SPREAD, LoadedModel, offload_maps, running_device
from s2e_core.text import readable_size
from s2e_core.values import WeightEdit

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

READING_ERRORS = (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, MemoryError)
"""What transformers, PEFT and torch raise for files that they cannot read or run."""


class NotCheckedError(Exception):
    """The check cannot be made on this machine; the message is the rest of a sentence with "because"."""


@dataclass(frozen=True, eq=False)
class Room:
    """Where the second model is to be, and in which number format."""

    target: Target | None
    """None: it has the weights of the loaded model."""
    dtype: torch.dtype
    sentence: str
    """How much memory that takes, for a person."""


def check_room(loaded: LoadedModel, edit: WeightEdit, folder: str | Path) -> Room:
    """What the check of a written folder will take, from the headers of files alone.

    The loaded model's device where there is memory, else that of the CPU, else the weights stay on the disk. Raises
    NotCheckedError where none of them will do, and ExportError where a file cannot be read.
    """
    whole, folder = loaded.in_full(), Path(folder)
    is_adapter = (folder / CONFIG_FILE).is_file()
    # PEFT adds the change of experts to weights in their own number format: it needs one that rounds nothing.
    rounds = whole.dtype != torch.float32 and any(edit.spec.sites[i].experts for i in edit.edited_sites())
    if is_adapter and not whole.stored_quantized and not rounds:
        return Room(None, whole.dtype, "PEFT is checked on the weights of the loaded model.")
    checkpoint = open_checkpoint(whole.source if is_adapter else folder)
    dtype = whole.dtype
    if not whole.stored_quantized and (is_adapter or _is_float32(checkpoint)):
        dtype = torch.float32
    if loaded.precise is not None:
        return Room("disk", dtype, "The model that is checked stays on the disk.")
    if loaded.placement.device == SPREAD:
        return Room(SPREAD, dtype, "The model that is checked is spread over what is free now, and the disk.")
    return _free_room(loaded, checkpoint, dtype)


def _free_room(loaded: LoadedModel, checkpoint: Checkpoint, dtype: torch.dtype) -> Room:
    method = loaded.stored_quantized or None
    needs = [
        (device, memory_need(checkpoint, device, dtype, method=method))
        for device in dict.fromkeys((loaded.device, torch.device("cpu")))
        if not method or device == loaded.device
    ]
    for device, need in needs:
        if need.available is None or need.weights * WORKING_SHARE <= need.available:
            return Room(
                device, dtype, f"The model that is checked takes {readable_size(need.weights)} on {need.place}."
            )
    need = needs[-1][1]
    short = f"{readable_size(need.weights)} beside the loaded one, and {readable_size(need.available or 0)} are free"
    if method:
        raise NotCheckedError(f"a second model, stored quantised, needs {short} on {need.place}")
    return Room("disk", dtype, f"The model that is checked would need {short}: it stays on the disk, which is slow.")


def _is_float32(checkpoint: Checkpoint) -> bool:
    formats = {tensor.dtype for tensor in checkpoint.tensors().values() if tensor.dtype in FLOATS}
    return formats == {"F32"}


def second_model(loaded: LoadedModel, folder: Path, room: Room) -> tuple[nn.Module, tuple[str, ...]]:
    """The model in eval mode, and the weights for which transformers found no tensor.

    Raises ExportError where the files cannot be loaded, and NotCheckedError where they find no room.
    """
    is_adapter = (folder / CONFIG_FILE).is_file()
    try:
        if room.target is None:
            return _adapted(_with_same_weights(loaded), folder).eval(), ()
        limits = _limits(loaded) if room.target == SPREAD else None
        source = loaded.source if is_adapter else folder
        model, not_found, _ = read_model(source, room.target, room.dtype, max_memory=limits)
        return (_adapted(model, folder) if is_adapter else model).eval(), not_found
    except READING_ERRORS as error:
        raise_if_no_room(error)
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"What was written to {folder.name} cannot be loaded: {reason}") from error


def base_model(loaded: LoadedModel, room: Room) -> nn.Module:
    """The untouched model, held as the second one was."""
    assert room.target is not None
    model, _, _ = read_model(loaded.source, room.target, room.dtype)
    return model


def raise_if_no_room(error: Exception) -> None:
    """Raise NotCheckedError for an error that says nothing of the files, but that memory or disk ran out."""
    if is_out_of_memory(error):
        raise NotCheckedError("the memory does not hold a second model beside the loaded one") from error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise NotCheckedError("the disk for temporary files is full") from error


def _limits(loaded: LoadedModel) -> dict[str, int]:
    """What was asked for, where so much is still free beside the loaded model."""
    free = {str(place): n for place, n in budget(None).items()}
    asked = loaded.placement.max_memory or {}
    return {place: min(n, asked.get(place, n)) for place, n in free.items()}


def _with_same_weights(loaded: LoadedModel) -> PreTrainedModel:
    """Modules of their own around the loaded model's numbers, wherever these are kept."""
    model = loaded.as_stored
    kept: dict[int, Any] = {id(part): part for part in offload_maps(model)}
    kept |= {id(buffer): buffer for buffer in model.buffers()}
    kept |= {id(weight): nn.Parameter(weight.data, requires_grad=False) for weight in model.parameters()}
    with loaded.lock:  # while somebody's answer runs, its hooks are on the modules
        return copy.deepcopy(model, kept)


def _adapted(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Base and adapter as PEFT makes one of them."""
    from peft import PeftConfig, PeftModel, load_peft_weights, set_peft_model_state_dict

    if not hasattr(model, "hf_device_map"):
        return PeftModel.from_pretrained(model, folder)
    # Of a spread model PEFT would write out all shards again, and put the adapter where there is no memory.
    adapted = PeftModel(model, PeftConfig.from_pretrained(folder, inference_mode=True), low_cpu_mem_usage=True)
    factors = load_peft_weights(folder, device="cpu")
    set_peft_model_state_dict(adapted, factors, low_cpu_mem_usage=True)
    places = {name.replace(".default.", "."): name for name, _ in adapted.named_parameters() if ".lora_" in name}
    for name in places.keys() & factors.keys():
        device = running_device(adapted, name.split(".lora_")[0])
        set_module_tensor_to_device(adapted, places[name], device, value=factors[name])
    _bring_in_before(adapted)
    return adapted


def _bring_in_before(adapted: PeftModel) -> None:
    """Have offloaded experts in memory when PEFT adds the change to them, which is before they run."""
    from peft.tuners.lora import ParamWrapper

    for module in adapted.modules():
        if isinstance(module, ParamWrapper):
            module.forward = _with_weights(module)


def _with_weights(wrapper: Any) -> Any:
    forward, base = wrapper.forward, wrapper.get_base_layer()

    def brought_in(*inputs: Tensor, **options: Any) -> Any:
        with align_module_device(base):
            return forward(*inputs, **options)

    return brought_in
