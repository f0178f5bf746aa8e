"""A checkpoint on disk, tensor by tensor: which file contains each tensor, and at which bytes.

Knows the safetensors layout (8 bytes of length, a JSON header, then the data) and reads by seek, in blocks of rows, so
that memory does not grow with the checkpoint. Writes nothing and never opens a pickle.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from s2e_core.errors import ExportError

from .copying import CHUNK

FLOATS: Mapping[str, torch.dtype] = MappingProxyType(
    {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
)
"""Number formats in which an edit can be written; others are for integers, masks and quantised weights."""
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_WORKING_BYTES = 16
"""Bytes that one number takes in all its forms while it is changed.

With blocks of a few MB, arithmetic took up to four times as long: the system then allocates and frees each anew.
"""
_HEADER_LIMIT = 100_000_000  # of the safetensors format itself
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)  # JSON of another form


class CheckpointError(ExportError):
    """A checkpoint that cannot be read: `problem` says what is wrong; the message adds what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}.")
        self.problem = problem


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """Location of the bytes of one tensor."""

    path: Path
    name: str
    dtype: str
    """Number format as safetensors writes it: F32, BF16, ..."""
    shape: tuple[int, ...]
    start: int
    """First byte, counted from the beginning of the file."""
    end: int
    """First byte after the tensor, counted from the beginning of the file."""

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, eq=False)
class Shard:
    """One safetensors file; its tensors in the order of their bytes."""

    path: Path
    metadata: Mapping[str, str] | None
    tensors: tuple[StoredTensor, ...]
    size: int
    """Bytes of the whole file."""
    data: int
    """First byte after the header."""
    stamp: tuple[int, ...]
    """Size, time of last change and inode of the file when its header was read."""

    def check_unchanged(self) -> None:
        """Raise ExportError if the file has changed since its header was read."""
        try:
            stamp = _stamp(self.path.stat())
        except OSError:
            stamp = ()
        if stamp != self.stamp:
            raise ExportError(
                f"The model's file {self.path.name} {'was changed' if stamp else 'vanished'} while it was read, so "
                "the copy cannot be trusted. Nothing was left behind; load the model again."
            )


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A folder with `model.safetensors`, or with an index and its shards."""

    folder: Path
    shards: tuple[Shard, ...]
    index: Path | None

    def tensors(self) -> dict[str, StoredTensor]:
        return {tensor.name: tensor for shard in self.shards for tensor in shard.tensors}


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read the headers of a checkpoint, in transformers' order: the single file, else the index and its shards.

    Raises CheckpointError for a missing folder, weights in another format, a missing shard, or a file that is cut off.
    """
    if not folder.is_dir():
        raise CheckpointError(f"The model's folder {folder.name} no longer exists", "load the model again")
    if (folder / SINGLE).is_file():
        return Checkpoint(folder, (read_shard(folder / SINGLE),), None)
    index = folder / INDEX
    if not index.is_file():
        content = "only pickled weights (.bin)" if any(folder.glob("*.bin")) else "no model.safetensors"
        raise CheckpointError(
            f"The folder {folder.name} contains {content}",
            "an export needs safetensors. Save the model once with save_pretrained, or export the adapter instead",
        )
    weight_map = _read_weight_map(index)
    shards = tuple(read_shard(folder / name) for name in sorted(set(weight_map.values())))
    stored = {(shard.path.name, tensor.name) for shard in shards for tensor in shard.tensors}
    for name, file in weight_map.items():
        if (file, name) not in stored:
            raise CheckpointError(
                f"{INDEX} places {name} in {file}, which does not contain it", "download the model again"
            )
    return Checkpoint(folder, shards, index)


def read_shard(path: Path) -> Shard:
    """Read and check the header of one safetensors file. Raises CheckpointError when it is missing or cut off."""
    if not path.is_file():
        raise CheckpointError(
            f"The model's file {path.name} is missing in {path.parent.name}", "download the model again"
        )
    with _open(path) as file:
        status = os.fstat(file.fileno())
        size = status.st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _HEADER_LIMIT):
            raise _incomplete_error(path, "its header is cut off")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        metadata = header.pop("__metadata__", None)
        tensors = [_parse_entry(path, name, entry, 8 + length) for name, entry in header.items()]
    except _MALFORMED as error:
        raise _incomplete_error(path, "its header cannot be read") from error
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    expected = max((tensor.end for tensor in tensors), default=8 + length)
    if expected != size:
        raise _incomplete_error(path, f"it has {size} bytes, but its header promises {expected}")
    return Shard(path, metadata, tuple(tensors), size, 8 + length, _stamp(status))


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def read_rows(tensor: StoredTensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, block of rows (n, row length)) of a float tensor, about CHUNK bytes at a time at most.

    A tensor of one dimension has rows of length 1; any other has rows along its last dimension. Blocks depend only on
    the shape, so two tensors of the same shape can be read side by side.
    """
    if tensor.numel == 0:
        return
    dtype = FLOATS[tensor.dtype]
    length = tensor.shape[-1] if len(tensor.shape) > 1 else 1
    n_rows = tensor.numel // length
    step = max(1, CHUNK // (length * _WORKING_BYTES))
    with _open(tensor.path) as file:
        file.seek(tensor.start)
        for first in range(0, n_rows, step):
            rows = torch.empty(min(step, n_rows - first), length, dtype=dtype)
            if file.readinto(rows.view(torch.uint8).numpy()) != rows.nbytes:
                raise _incomplete_error(tensor.path, f"it ends within {tensor.name}")
            yield first, rows


def read_bytes(tensor: StoredTensor) -> Iterator[bytes]:
    """Yield the bytes of a tensor of any format, at most CHUNK at a time."""
    with _open(tensor.path) as file:
        file.seek(tensor.start)
        while (left := tensor.end - file.tell()) > 0:
            chunk = file.read(min(left, CHUNK))
            if not chunk:
                raise _incomplete_error(tensor.path, f"it ends within {tensor.name}")
            yield chunk


def _read_weight_map(index: Path) -> dict[str, str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        is_valid = all(file.endswith(".safetensors") and file == os.path.basename(file) for file in weight_map.values())
    except _MALFORMED as error:
        raise _incomplete_error(index, "it is not an index of shards") from error
    if not is_valid or not weight_map:
        raise _incomplete_error(index, "it names no shards in its own folder")
    return dict(weight_map)


def _parse_entry(path: Path, name: str, entry: Mapping[str, Any], data: int) -> StoredTensor:
    start, end = (data + int(offset) for offset in entry["data_offsets"])
    tensor = StoredTensor(path, name, str(entry["dtype"]), tuple(int(n) for n in entry["shape"]), start, end)
    itemsize = FLOATS[tensor.dtype].itemsize if tensor.dtype in FLOATS else None
    if not data <= start <= end or (itemsize is not None and tensor.numel * itemsize != tensor.n_bytes):
        raise ValueError(name)
    return tensor


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise _incomplete_error(path, f"it cannot be read ({error.strerror})") from error


def _incomplete_error(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path.name} in {path.parent.name} is not complete: {reason}", "download the model again")
