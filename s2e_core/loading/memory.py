"""How much memory a checkpoint will take, how much there is, and which errors mean that there was too little.

Knows file headers, quantisation and devices; loads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil
import torch

from s2e_core.errors import ModelLoadError
from s2e_core.files import FLOATS, Checkpoint, StoredTensor
from s2e_core.model import QUANTIZE, Quantize
from s2e_core.text import readable_size

BYTES_QUANTIZED: Mapping[Quantize, float] = MappingProxyType({"int8": 1.0, "int4": 0.5 + 4 / 64})
"""Of one number: itself and its share of the scales (one fp32 for 64 numbers in 4 bits, one for a whole row in 8)."""
LEFT_ALONE = re.compile(r"embed|lm_head|(^|\.)wte\.|(^|\.)wpe\.|\.experts\.|output_layer|norm", re.IGNORECASE)
"""Names of tensors that are no linear layers, or those that quantising leaves as they are."""
UNPACKED: Mapping[str, int] = MappingProxyType({"fp8": 1, "mxfp4": 2})
"""How many numbers a stored byte becomes, in formats that are turned back while they are loaded."""
WORKING_SHARE = 1.2
"""Weights and what a forward pass needs beside them, by experience with short prompts."""
CGROUP = Path("/sys/fs/cgroup")
TOO_LITTLE = ("out of memory", "not enough memory", "allocate memory", "memory allocation")


@dataclass(frozen=True, eq=False)
class MemoryNeed:
    """Before a model is loaded: what its weights will take, and what is free; in bytes."""

    weights: int
    """In the dtype in which they will be held."""
    available: int | None
    """None where the device does not tell."""
    place: str

    @property
    def warning(self) -> str | None:
        """A sentence where it will be tight."""
        if self.available is None or self.weights * WORKING_SHARE <= self.available:
            return None
        return (
            f"The weights take {readable_size(self.weights)} of the {readable_size(self.available)} of memory that "
            f"were free on {self.place}: long prompts or many rows at once may not fit."
        )


def memory_need(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype | None,
    *,
    quantize: Quantize | None = None,
    method: str | None = None,
) -> MemoryNeed:
    """The estimate from the headers alone; dtype None keeps every tensor as stored.

    `quantize` is what is done at load, `method` how the checkpoint is stored quantised.
    """
    weights = weights_bytes(checkpoint, dtype, quantize=quantize, method=method)
    return MemoryNeed(weights, available_memory(device), str(device))


def refuse_hopeless(model_id: str, checkpoint: Checkpoint, need: MemoryNeed, *, method: str | None = None) -> None:
    """Raise ModelLoadError where the weights alone are larger than the memory: the system would end the program."""
    if need.available is None or need.weights <= need.available:
        return
    ways = [("bfloat16 (--dtype bfloat16)", weights_bytes(checkpoint, torch.bfloat16))]
    ways += [
        (f"{bits} (--quantize {bits})", weights_bytes(checkpoint, torch.bfloat16, quantize=bits)) for bits in QUANTIZE
    ]
    # What is stored quantised is as small as it gets.
    fitting = [f"{way}, " for way, weights in ways if method is None and weights <= need.available]
    raise ModelLoadError(
        f"{model_id} needs {readable_size(need.weights)} of memory for its weights, and "
        f"{readable_size(need.available)} are free on {need.place}. Choose {''.join(fitting[:2])}a smaller model or "
        "a machine with more memory; with --device auto a model also runs where a part of it stays on the disk, slowly."
    )


def weights_bytes(
    checkpoint: Checkpoint, dtype: torch.dtype | None, *, quantize: Quantize | None = None, method: str | None = None
) -> int:
    """Bytes that all stored tensors will take, those with decimals in another dtype where one is given."""
    return sum(_held(tensor, dtype, quantize, method) for tensor in checkpoint.tensors().values())


def _held(tensor: StoredTensor, dtype: torch.dtype | None, quantize: Quantize | None, method: str | None) -> int:
    if tensor.dtype in FLOATS:
        if quantize is not None and len(tensor.shape) == 2 and not LEFT_ALONE.search(tensor.name):
            return int(tensor.numel * BYTES_QUANTIZED[quantize])
        return tensor.numel * (FLOATS[tensor.dtype] if dtype is None else dtype).itemsize
    unpacked = UNPACKED.get(method or "")
    return tensor.n_bytes * unpacked * (dtype or torch.bfloat16).itemsize if unpacked else tensor.n_bytes


def available_memory(device: torch.device) -> int | None:
    """Bytes that can be had on a device now, without pushing anything else out."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type not in ("cpu", "mps"):  # a Mac's GPU shares the memory of its CPU
        return None
    machine = psutil.virtual_memory().available + psutil.swap_memory().free
    return min([machine, *_container_limits()])


def _container_limits() -> Iterator[int]:
    """What a container may still take, in either generation of Linux' control groups."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            yield max(0, int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text()))
        except (OSError, ValueError):  # another system, or "max": no limit
            continue


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError | OSError) and any(sign in str(error).lower() for sign in TOO_LITTLE):
            return True
        error = error.__cause__ or error.__context__
    return False
