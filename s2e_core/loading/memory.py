"""How much memory a checkpoint will take, how much is free, and which errors mean that it ran out.

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
"""Bytes of one number with its share of the scales: one fp32 for 64 numbers in 4 bits, for a whole row in 8 bits."""
NOT_QUANTIZED = re.compile(r"embed|lm_head|(^|\.)wte\.|(^|\.)wpe\.|\.experts\.|output_layer|norm", re.IGNORECASE)
"""Names of tensors that quantising leaves as they are, most of which are not of linear layers."""
NUMBERS_PER_BYTE: Mapping[str, int] = MappingProxyType({"fp8": 1, "mxfp4": 2})
"""Numbers in one stored byte, for formats that are dequantised while they are loaded."""
WORKING_SHARE = 1.2
"""Ratio of the memory that weights and a forward pass need to that of the weights alone, observed on short prompts."""
CGROUP = Path("/sys/fs/cgroup")
OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory", "memory allocation")


@dataclass(frozen=True, eq=False)
class MemoryNeed:
    """Memory that a model's weights will take, and memory that is free, in bytes."""

    weights: int
    """Bytes of the weights in the dtype in which the model will run."""
    available: int | None
    """Free bytes; None if the device does not report them."""
    place: str

    @property
    def warning(self) -> str | None:
        """Sentence if memory will be short, else None."""
        if self.available is None or self.weights * WORKING_SHARE <= self.available:
            return None
        return (
            f"The weights take {readable_size(self.weights)} of the {readable_size(self.available)} of memory that "
            f"were free on {self.place}: long prompts or many rows at once may not fit."
        )


def estimate_memory(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype | None,
    *,
    quantize: Quantize | None = None,
    method: str | None = None,
) -> MemoryNeed:
    """Estimate the memory from the headers alone; `dtype` None keeps every tensor as stored.

    `quantize` is applied at load; `method` is the one by which the checkpoint is stored quantised.
    """
    weights = estimate_weight_bytes(checkpoint, dtype, quantize=quantize, method=method)
    return MemoryNeed(weights, available_memory(device), str(device))


def refuse_too_large(model_id: str, checkpoint: Checkpoint, need: MemoryNeed, *, method: str | None = None) -> None:
    """Raise ModelLoadError if the weights alone exceed the memory: the system would kill the program."""
    if need.available is None or need.weights <= need.available:
        return
    ways = [("bfloat16 (--dtype bfloat16)", estimate_weight_bytes(checkpoint, torch.bfloat16))]
    ways += [
        (f"{bits} (--quantize {bits})", estimate_weight_bytes(checkpoint, torch.bfloat16, quantize=bits))
        for bits in QUANTIZE
    ]
    # Files that are quantised already cannot be made smaller.
    options = [f"{way}, " for way, weights in ways if method is None and weights <= need.available]
    raise ModelLoadError(
        f"{model_id} needs {readable_size(need.weights)} of memory for its weights, and "
        f"{readable_size(need.available)} are free on {need.place}. Choose {''.join(options[:2])}a smaller model or "
        "a machine with more memory. With --device auto the model also runs from the disk in part, slowly."
    )


def estimate_weight_bytes(
    checkpoint: Checkpoint, dtype: torch.dtype | None, *, quantize: Quantize | None = None, method: str | None = None
) -> int:
    """Estimate the bytes of all tensors once loaded; `dtype` applies to those stored as floating-point numbers."""
    return sum(_loaded_bytes(tensor, dtype, quantize, method) for tensor in checkpoint.tensors().values())


def _loaded_bytes(
    tensor: StoredTensor, dtype: torch.dtype | None, quantize: Quantize | None, method: str | None
) -> int:
    if tensor.dtype in FLOATS:
        if quantize is not None and len(tensor.shape) == 2 and not NOT_QUANTIZED.search(tensor.name):
            return int(tensor.numel * BYTES_QUANTIZED[quantize])
        return tensor.numel * (FLOATS[tensor.dtype] if dtype is None else dtype).itemsize
    n_packed = NUMBERS_PER_BYTE.get(method or "")
    return tensor.n_bytes * n_packed * (dtype or torch.bfloat16).itemsize if n_packed else tensor.n_bytes


def available_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on a device now; None if the device does not report them."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type not in ("cpu", "mps"):  # a Mac's GPU shares the memory of its CPU
        return None
    machine = psutil.virtual_memory().available + psutil.swap_memory().free
    return min([machine, *_container_limits()])


def _container_limits() -> Iterator[int]:
    """Yield the bytes that a container may still take, by either version of Linux control groups."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            yield max(0, int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text()))
        except (OSError, ValueError):  # another system, or "max", which is no limit
            continue


def is_out_of_memory(error: BaseException | None) -> bool:
    """Check whether an error, or one that it came from, says that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError | OSError) and any(sign in str(error).lower() for sign in OUT_OF_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False
