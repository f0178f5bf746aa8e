"""Tell whether two loaded models compute the same: a hash over every weight and the configuration.

The fingerprint of a model covers the weights that can be edited; what the model computes depends on all of them. Knows
parameters, not where they come from.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .placement import read_parameter

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integer types by size in bytes."""


def run_hash(model: PreTrainedModel) -> str:
    """SHA-256 over the configuration and over the bits of all parameters and buffers, hexadecimal.

    A matrix is represented by the sums of its rows, whose bits are added up as integers, so that reading it once is
    enough, on any device. The name of the model's folder does not matter.
    """
    digest = hashlib.sha256()
    for config in (model.config, getattr(model, "generation_config", None)):
        entries = {} if config is None else config.to_dict()
        entries.pop("_name_or_path", None)
        digest.update(json.dumps(entries, skipkeys=True, default=_plain).encode())
    for name, parameter in model.named_parameters():
        digest.update(type(parameter).__name__.encode())
        _add(digest, name, read_parameter(model, name))
    stored = model.state_dict().keys()  # the other buffers follow from the configuration, and may change as it runs
    for name, buffer in model.named_buffers():
        if name in stored and not buffer.is_meta:
            _add(digest, name, buffer)
    return digest.hexdigest()


def _plain(value: object) -> object:
    """What JSON writes for a value that it lacks: the same in every process, unlike an address or a set's order."""
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value) if isinstance(value, torch.dtype) else type(value).__name__


def _add(digest: hashlib._Hash, name: str, values: Tensor) -> None:
    digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
    values = values.detach().contiguous()
    words = values.flatten().view(_WORDS[values.element_size()])
    if values.dim() > 1 and values.numel():
        rows = words.view(-1, values.shape[-1])
        words = _widest(rows).sum(dim=-1, dtype=torch.int64)  # an overflow wraps around, in any order of addition
    digest.update(words.cpu().numpy().tobytes())


def _widest(rows: Tensor) -> Tensor:
    """The same bits as 8-byte integers if a row's length allows it, which add up faster."""
    aligned = rows.shape[-1] * rows.element_size() % 8 == 0 and rows.data_ptr() % 8 == 0
    return rows.view(torch.int64) if aligned else rows
