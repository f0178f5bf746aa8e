"""How much memory a checkpoint will take, how much there is, and which errors mean that there was too little.

Knows file headers and devices; loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from .checkpoint import FLOATS, Checkpoint
from .errors import ModelLoadError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
            f"The weights take {gigabytes(self.weights)} of the {gigabytes(self.available)} of memory that were free "
            f"on {self.place}: long prompts or many rows at once may not fit."
        )


def memory_need(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> MemoryNeed:
    """The estimate from the headers alone; dtype None keeps every tensor as stored."""
    return MemoryNeed(weights_bytes(checkpoint, dtype), available_memory(device), str(device))


def refuse_hopeless(model_id: str, checkpoint: Checkpoint, need: MemoryNeed) -> None:
    """Raise ModelLoadError where the weights alone are larger than the memory: the system would end the program."""
    if need.available is None or need.weights <= need.available:
        return
    halved = weights_bytes(checkpoint, torch.bfloat16)
    way_out = "bfloat16 (--dtype bfloat16), " if halved <= need.available else ""
    raise ModelLoadError(
        f"{model_id} needs {gigabytes(need.weights)} of memory for its weights, and {gigabytes(need.available)} are "
        f"free on {need.place}. Choose {way_out}a smaller model or a machine with more memory."
    )


def weights_bytes(checkpoint: Checkpoint, dtype: torch.dtype | None) -> int:
    """Bytes of all stored tensors, those with decimals in another dtype where one is given."""
    total = 0
    for tensor in checkpoint.tensors().values():
        cast = dtype is not None and tensor.dtype in FLOATS
        total += tensor.numel * dtype.itemsize if cast and dtype is not None else tensor.n_bytes
    return total


def held_bytes(model: PreTrainedModel) -> int:
    """Bytes of a loaded model's weights."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


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


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:,.1f} MB"
