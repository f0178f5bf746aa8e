"""Where a model's weights are and how to read one: in memory, offloaded by accelerate, or quantised.

Knows modules, accelerate's hooks and the tensors of quantisation libraries; loads nothing. Reading changes nothing: an
offloaded weight is not loaded into the model, which may be running.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import torch
from accelerate.utils import align_module_device
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Quantize = Literal["int8", "int4"]
QUANTIZE: tuple[Quantize, ...] = ("int8", "int4")
SPREAD = "auto"
"""Device name for a model that is spread over the GPUs, then memory, then disk, as far as each has space."""
LIBRARIES = ("bitsandbytes", "torchao", "optimum")
"""Packages whose quantised tensors can be dequantised."""


@dataclass(frozen=True, eq=False)
class Placement:
    """The requested device, number format and limits of a model, so that another copy can be loaded in the same way."""

    device: str = "cpu"
    """Device name, or "auto"."""
    dtype: torch.dtype | None = None
    """None if the model keeps the number format of its files."""
    max_memory: Mapping[str, int] | None = None
    """Bytes that "auto" may use, by "cpu" or GPU number; None if it may use all that is free."""
    quantize: Quantize | None = None
    run_from: str = ""
    """Folder or Hub id of the quantised files that the model runs from; empty if it runs from its own files."""


def parse_memory_limits(text: str) -> dict[str, int]:
    """Read bytes by device from gigabytes such as "0=20,cpu=32". Raises ValueError for any other text."""
    pairs = [part.split("=") for part in text.split(",")]
    if any(len(pair) != 2 or not (pair[0].isdigit() or pair[0] in ("cpu", "mps")) for pair in pairs):
        raise ValueError(text)
    return {place: int(float(amount) * 1e9) for place, amount in pairs}


def read_parameter(module: nn.Module, name: str) -> Tensor:
    """The numbers of a parameter, given its path inside the module.

    The result is the parameter itself if it is plain and in memory, and a copy if it is offloaded or quantised.
    """
    *path, leaf = name.split(".")
    owner = module.get_submodule(".".join(path))
    parameter = owner.get_parameter(leaf)
    return _read_offloaded(owner, leaf) if parameter.is_meta else _dequantize(owner, parameter)


def embedding(model: PreTrainedModel) -> nn.Module | None:
    """The module whose `weight` (vocabulary, d) embeds the tokens; None if the model does not name it."""
    try:
        module: nn.Module = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        return None
    return module if isinstance(getattr(module, "weight", None), nn.Parameter) else None


def is_quantized(parameter: Tensor) -> bool:
    """Whether a parameter is of a quantisation library; only its exact type reveals that, as its dtype may be float."""
    return type(parameter) is not nn.Parameter


def can_be_read(parameter: Tensor) -> bool:
    """Whether a parameter is plain, or of a library whose tensors can be dequantised."""
    return not is_quantized(parameter) or type(parameter).__module__.split(".")[0] in LIBRARIES


@contextmanager
def weights_in_memory(module: nn.Module) -> Iterator[None]:
    """Keep a module's offloaded weights in memory inside the context; for the module's hooks in a forward pass."""
    with ExitStack() as parts:
        for part in module.modules():
            if any(parameter.is_meta for parameter in part.parameters(recurse=False)):
                parts.enter_context(align_module_device(part))
        yield


def is_absent(module: nn.Module, name: str) -> bool:
    """Whether a module's parameter has a shape but no numbers, neither in memory nor offloaded."""
    return module.get_parameter(name).is_meta and name not in (_hook_value(module, "weights_map") or ())


def _dequantize(owner: nn.Module, parameter: nn.Parameter) -> Tensor:
    """The numbers of a quantised parameter; a plain one unchanged."""
    weight: Any = parameter
    kind = type(parameter).__name__
    if not is_quantized(parameter):
        return parameter.detach()
    if kind == "Params4bit":
        return import_module("bitsandbytes.functional").dequantize_4bit(weight.data, weight.quant_state).detach()
    if kind == "Int8Params":  # the first forward pass moves its scales to the module
        state: Any = owner.state
        scales = weight.SCB if state.SCB is None else state.SCB
        return weight.data.float() * scales.view(-1, 1).float() / 127
    with torch.inference_mode(False), torch.no_grad():  # tensor subclasses do not work in inference mode
        numbers: Tensor = weight.dequantize()
    return numbers


def offload_maps(model: nn.Module) -> list[object]:
    """The maps from which the modules' hooks read offloaded weights."""
    maps = (_hook_value(module, "weights_map") for module in model.modules())
    return [offload_map for offload_map in maps if offload_map is not None]


def _read_offloaded(owner: nn.Module, name: str) -> Tensor:
    """A weight from the map of the hook that loads it for a forward pass: from a file or from CPU memory."""
    weight: Tensor = _hook_value(owner, "weights_map")[name]
    return weight.detach()


def _hook_value(module: nn.Module, name: str) -> Any:
    """An attribute of the accelerate hook on a module; None if there is no hook or no such attribute."""
    hook = getattr(module, "_hf_hook", None)
    values = (getattr(part, name, None) for part in getattr(hook, "hooks", (hook,)))
    return next((value for value in values if value is not None), None)


def running_device(model: PreTrainedModel, name: str = "") -> torch.device:
    """The device on which a module computes, given its path; for the model itself, the device for inputs."""
    parts = name.split(".") if name else []
    for n in range(len(parts), -1, -1):
        device = _hook_value(model.get_submodule(".".join(parts[:n])), "execution_device")
        if device is not None:
            return torch.device(device)
    return next((p.device for p in model.parameters() if not p.is_meta), torch.device("cpu"))


def weight_identities(model: PreTrainedModel) -> dict[str, object]:
    """A key for every parameter name; two names have equal keys if they name the same weight."""
    keys: dict[str, object] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        offload_map = _hook_value(module, "weights_map")
        for leaf, parameter in module.named_parameters(recurse=False):
            name = f"{path}.{leaf}" if path else leaf
            index = getattr(getattr(offload_map, "dataset", None), "index", {})
            entry = index.get(name) if parameter.is_meta else None
            if entry is not None:
                keys[name] = entry.get("safetensors_file"), entry.get("weight_name", name)
            else:  # meta and quantised data have no address, but a shared parameter is one object there
                keys[name] = id(parameter) if parameter.is_meta or is_quantized(parameter) else (parameter.data_ptr(),)
    return keys


def bytes_by_device(model: PreTrainedModel) -> dict[str, int]:
    """Bytes of weights by device, where "disk" is a device: GPUs first, then memory, then disk."""
    sizes: dict[str, int] = {}
    device_map: Mapping[str, object] = getattr(model, "hf_device_map", {})
    duplicates = _duplicate_names(model)
    for name, parameter in model.named_parameters():
        if name not in duplicates:
            device = _mapped_device(device_map, name) if parameter.is_meta else str(parameter.device)
            sizes[device] = sizes.get(device, 0) + _stored_bytes(parameter)
    return dict(sorted(sizes.items(), key=lambda item: (item[0] == "disk", item[0] == "cpu")))


def parameter_count(model: PreTrainedModel) -> int:
    """Number of values in the weights; a shared weight counts once."""
    return int(model.num_parameters()) - sum(model.get_parameter(name).numel() for name in _duplicate_names(model))


def _duplicate_names(model: PreTrainedModel) -> set[str]:
    """Further names of shared weights, which are separate objects if they are offloaded."""
    first_names: dict[object, str] = {}
    keys = weight_identities(model)
    return {name for name, _ in model.named_parameters() if first_names.setdefault(keys[name], name) != name}


def _mapped_device(device_map: Mapping[str, object], name: str) -> str:
    parts = name.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), -1, -1))
    return str(next((device_map[prefix] for prefix in prefixes if prefix in device_map), "disk"))


def _stored_bytes(parameter: Tensor) -> int:
    """Size of a parameter in bytes; a quantised one may consist of several tensors."""
    tensor: Any = parameter
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return sum(_stored_bytes(getattr(tensor, name)) for name in names)
    return parameter.numel() * parameter.element_size()
