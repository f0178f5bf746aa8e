"""Where a model's weights are and how one is read there: in memory, offloaded by accelerate, or quantised.

Knows modules, accelerate's hooks, and the tensors of quantisation libraries by what they offer; loads nothing. Reading
changes nothing: an offloaded weight is not brought into a model that may be running.
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
"""As a device: as much as fits on the GPUs, then in memory, the rest stays on the disk."""
LIBRARIES = ("bitsandbytes", "torchao", "optimum")
"""Packages whose quantised tensors can be turned back into numbers."""


@dataclass(frozen=True, eq=False)
class Placement:
    """How a model was asked to be held, so that another copy can be held in the same way."""

    device: str = "cpu"
    """A device's name, or "auto"."""
    dtype: torch.dtype | None = None
    """None: as stored."""
    max_memory: Mapping[str, int] | None = None
    """Bytes that "auto" may use, by "cpu" and number of the GPU; None: what is free."""
    quantize: Quantize | None = None
    run_from: str = ""
    """Folder or Hub id of the quantised files that it runs from, where those are not its own."""


def memory_limits(text: str) -> dict[str, int]:
    """Bytes by place, from gigabytes: "0=20,cpu=32"; raises ValueError."""
    pairs = [part.split("=") for part in text.split(",")]
    if any(len(pair) != 2 or not (pair[0].isdigit() or pair[0] in ("cpu", "mps")) for pair in pairs):
        raise ValueError(text)
    return {place: int(float(amount) * 1e9) for place, amount in pairs}


def whole_weight(module: nn.Module, name: str) -> Tensor:
    """A parameter, named by its path inside the module, as plain numbers; in memory it is the parameter itself.

    An offloaded one is read from where it is kept, a quantised one is turned back: both are copies.
    """
    *path, leaf = name.split(".")
    owner = module.get_submodule(".".join(path))
    parameter = owner.get_parameter(leaf)
    return _offloaded(owner, leaf) if parameter.is_meta else dequantized(owner, parameter)


def embedding(model: PreTrainedModel) -> nn.Module | None:
    """The module whose `weight` (vocabulary, d) embeds the tokens; None where the model does not say which it is."""
    try:
        module: nn.Module = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        return None
    return module if isinstance(getattr(module, "weight", None), nn.Parameter) else None


def is_quantized(parameter: Tensor) -> bool:
    """Some libraries' tensors report a float dtype and a matrix's shape: only the exact type tells."""
    return type(parameter) is not nn.Parameter


def can_be_read(parameter: Tensor) -> bool:
    """Whether a parameter is plain, or of a library whose tensors can be turned back into numbers."""
    return not is_quantized(parameter) or type(parameter).__module__.split(".")[0] in LIBRARIES


@contextmanager
def brought_in(module: nn.Module) -> Iterator[None]:
    """While the context lasts, the offloaded weights of a module are in memory; for its own hooks, during a forward."""
    with ExitStack() as parts:
        for part in module.modules():
            if any(parameter.is_meta for parameter in part.parameters(recurse=False)):
                parts.enter_context(align_module_device(part))
        yield


def is_absent(module: nn.Module, name: str) -> bool:
    """Whether a module's parameter has a shape and no numbers, neither in memory nor offloaded."""
    return module.get_parameter(name).is_meta and name not in (_hooked(module, "weights_map") or ())


def dequantized(owner: nn.Module, parameter: nn.Parameter) -> Tensor:
    """The numbers that a quantised parameter stands for; a plain one as it is."""
    weight: Any = parameter
    kind = type(parameter).__name__
    if not is_quantized(parameter):
        return parameter.detach()
    if kind == "Params4bit":
        return import_module("bitsandbytes.functional").dequantize_4bit(weight.data, weight.quant_state).detach()
    if kind == "Int8Params":  # its scales move to the module in the first forward pass
        state: Any = owner.state
        scales = weight.SCB if state.SCB is None else state.SCB
        return weight.data.float() * scales.view(-1, 1).float() / 127
    with torch.inference_mode(False), torch.no_grad():  # tensors made of several know no inference mode
        numbers: Tensor = weight.dequantize()
    return numbers


def offload_maps(model: nn.Module) -> list[object]:
    """What the modules' hooks read offloaded weights from."""
    maps = (_hooked(module, "weights_map") for module in model.modules())
    return [kept for kept in maps if kept is not None]


def _offloaded(owner: nn.Module, name: str) -> Tensor:
    """From the map of the hook that brings it in for a forward pass: a file, or memory beside the GPU's."""
    weight: Tensor = _hooked(owner, "weights_map")[name]
    return weight.detach()


def _hooked(module: nn.Module, name: str) -> Any:
    """What a hook of accelerate on a module has under a name; None without one."""
    hook = getattr(module, "_hf_hook", None)
    found = (getattr(part, name, None) for part in getattr(hook, "hooks", (hook,)))
    return next((value for value in found if value is not None), None)


def running_device(model: PreTrainedModel, name: str = "") -> torch.device:
    """Where a module computes, by its path; the model itself: where inputs go."""
    parts = name.split(".") if name else []
    for n in range(len(parts), -1, -1):
        device = _hooked(model.get_submodule(".".join(parts[:n])), "execution_device")
        if device is not None:
            return torch.device(device)
    return next((p.device for p in model.parameters() if not p.is_meta), torch.device("cpu"))


def weight_identities(model: PreTrainedModel) -> dict[str, object]:
    """What tells, for every parameter's name, whether two names mean the same weight: equal where they do."""
    found: dict[str, object] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        kept = _hooked(module, "weights_map")
        for leaf, parameter in module.named_parameters(recurse=False):
            name = f"{path}.{leaf}" if path else leaf
            index = getattr(getattr(kept, "dataset", None), "index", {})
            entry = index.get(name) if parameter.is_meta else None
            if entry is not None:
                found[name] = entry.get("safetensors_file"), entry.get("weight_name", name)
            else:  # one object, where a model is on the meta device or quantised: such data have no address
                found[name] = id(parameter) if parameter.is_meta or is_quantized(parameter) else (parameter.data_ptr(),)
    return found


def bytes_by_place(model: PreTrainedModel) -> dict[str, int]:
    """How many bytes of weights are on which device; "disk" is one."""
    found: dict[str, int] = {}
    places: Mapping[str, object] = getattr(model, "hf_device_map", {})
    doubles = _doubles(model)
    for name, parameter in model.named_parameters():
        if name not in doubles:
            place = _mapped(places, name) if parameter.is_meta else str(parameter.device)
            found[place] = found.get(place, 0) + stored_bytes(parameter)
    return dict(sorted(found.items(), key=lambda item: (item[0] == "disk", item[0] == "cpu")))


def parameter_count(model: PreTrainedModel) -> int:
    """Numbers in the weights, each weight once."""
    return int(model.num_parameters()) - sum(model.get_parameter(name).numel() for name in _doubles(model))


def _doubles(model: PreTrainedModel) -> set[str]:
    """Names of parameters that stand for a weight with another name: in the files shared weights are no one object."""
    names: dict[object, str] = {}
    identities = weight_identities(model)
    return {name for name, _ in model.named_parameters() if names.setdefault(identities[name], name) != name}


def _mapped(places: Mapping[str, object], name: str) -> str:
    parts = name.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), -1, -1))
    return str(next((places[prefix] for prefix in prefixes if prefix in places), "disk"))


def stored_bytes(parameter: Tensor) -> int:
    """Bytes that a parameter takes; a quantised one is made of several tensors, or is packed."""
    tensor: Any = parameter
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return sum(stored_bytes(getattr(tensor, name)) for name in names)
    return parameter.numel() * parameter.element_size()
