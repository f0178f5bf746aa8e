"""Where a model runs, and in which number format: what was asked for, or what suits this machine.

Knows devices and the size of a checkpoint's weights; loads nothing.
"""

from __future__ import annotations

import torch

from s2e_core.errors import ModelLoadError
from s2e_core.files import Checkpoint
from s2e_core.model import SPREAD

from .build import Target
from .memory import available_memory, estimate_weight_bytes


def choose_target(device: str | torch.device | None) -> Target:
    """The device of that name, SPREAD for "auto", or for None the fastest one of this machine.

    Raises ModelLoadError for a device that this machine does not have.
    """
    if device is None:
        return default_device()
    return SPREAD if device == SPREAD else _resolve_device(device)


def default_dtype(target: Target, checkpoint: Checkpoint) -> torch.dtype | None:
    """fp32 on a CPU; None (as stored) on a GPU, and if a spread model would not fit into memory as fp32."""
    if isinstance(target, torch.device):
        return torch.float32 if target.type == "cpu" else None
    only_cpu = default_device().type == "cpu"
    fits = estimate_weight_bytes(checkpoint, torch.float32) <= (available_memory(torch.device("cpu")) or 0)
    return torch.float32 if only_cpu and fits else None


def device_name(target: Target) -> str:
    """A device as a person calls it."""
    return str(target) if isinstance(target, torch.device) else "this machine"


def default_device() -> torch.device:
    """Choose the fastest device of this machine."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _resolve_device(device: str | torch.device) -> torch.device:
    try:
        torch_device = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError):  # an unknown name, or a kind of device that this build of torch lacks
        torch_device = torch.device("meta")
    if torch_device.type == "meta":  # shapes without numbers
        raise ModelLoadError(f"This machine has no device {device}. Use cpu, or the name of an existing GPU.")
    return torch_device
