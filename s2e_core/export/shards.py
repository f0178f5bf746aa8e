"""Write the safetensors files of an edited checkpoint: only the bytes of edited tensors change.

Memory stays at a few blocks of rows, whatever the size of the checkpoint. The other files of a checkpoint's folder are
handled elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.files import (
    FLOATS,
    Checkpoint,
    Meter,
    Shard,
    Span,
    StoredTensor,
    copy_alongside,
    open_source,
    read_rows,
    write_pieces,
)

from .stored_edit import StoredChange

ExportDtype = Literal["stored", "float32"]


@dataclass(frozen=True, eq=False)
class _Destination:
    """The position of a tensor in the export."""

    tensor: StoredTensor
    """Tensor of the base checkpoint."""
    file: Path
    start: int
    """First byte in the file."""


def write_shards(
    checkpoint: Checkpoint,
    target: Path,
    changes: Iterable[StoredChange],
    expected: Collection[str],
    dtype: ExportDtype,
    meter: Meter,
) -> bool:
    """Write every shard of a checkpoint into the folder `target`; returns True if any value changes.

    `expected` names the tensors that `changes` probably edits. A second thread copies all other tensors at once, while
    this thread computes the changes one by one. `meter` counts bytes. Raises ExportError if a file cannot be read or an
    edited tensor would contain values that are not finite.
    """
    destinations = {d.tensor.name: d for shard in checkpoint.shards for d in _destinations(shard, target, dtype)}
    waiting = {name for name, d in destinations.items() if name in expected or _needs_conversion(d.tensor, dtype)}
    for shard in checkpoint.shards:
        _create_file(shard, target, dtype, meter)
    late, changed = [], False
    with copy_alongside([_span(d) for name, d in destinations.items() if name not in waiting], meter):
        for change in changes:
            name = change.piece.tensor.name
            if name in waiting:
                waiting.remove(name)
                changed |= _write(destinations[name], change, dtype, meter)
            else:
                late.append(change)
        for name in waiting:
            _write(destinations[name], None, dtype, meter)
    # The file names these tensors differently from the model, so they were copied; the edit overwrites the copies.
    return changed | any([_write(destinations[change.piece.tensor.name], change, dtype, meter) for change in late])


def shard_size(shard: Shard, dtype: ExportDtype) -> int:
    """Size in bytes of the file to write. Raises ExportError if a quantised tensor would have to become float32."""
    return len(_header(shard, dtype)) + data_size(shard, dtype)


def data_size(shard: Shard, dtype: ExportDtype) -> int:
    """Size in bytes of the tensors to write, without the header."""
    return sum(_stored_bytes(tensor, dtype) for tensor in shard.tensors)


def _destinations(shard: Shard, target: Path, dtype: ExportDtype) -> Iterator[_Destination]:
    start = len(_header(shard, dtype))
    for tensor in shard.tensors:
        yield _Destination(tensor, target / shard.path.name, start)
        start += _stored_bytes(tensor, dtype)


def _create_file(shard: Shard, target: Path, dtype: ExportDtype, meter: Meter) -> None:
    """Create a file of the final size and write its header."""
    path, header = target / shard.path.name, _header(shard, dtype)
    path.write_bytes(header)
    os.truncate(path, len(header) + data_size(shard, dtype))
    meter.add(len(header))


def _span(destination: _Destination) -> Span:
    tensor = destination.tensor
    return Span(tensor.path, tensor.start, destination.file, destination.start, tensor.n_bytes)


def _write(destination: _Destination, change: StoredChange | None, dtype: ExportDtype, meter: Meter) -> bool:
    """Write one tensor to its destination; returns True if the edit changes any of its values."""
    changed = False
    with destination.file.open("r+b") as writer:
        writer.seek(destination.start)
        for before, after in _edited_rows(destination.tensor, change, dtype):
            write_pieces(writer, after.contiguous().view(torch.uint8).flatten().numpy().data)
            changed = changed or (change is not None and not torch.equal(before, after))
            meter.add(after.nbytes)
    return changed


def _edited_rows(
    tensor: StoredTensor, change: StoredChange | None, dtype: ExportDtype
) -> Iterator[tuple[Tensor, Tensor]]:
    """(rows before, rows after), both in the dtype to write."""
    for first, stored in read_rows(tensor):
        before = stored.float() if dtype == "float32" else stored
        after = before if change is None else change.apply(first, before)
        if change is not None and not bool(torch.stack(after.aminmax()).isfinite().all()):  # NaN makes both NaN
            raise ExportError(
                f"{tensor.name} would contain values that are not finite in its number format ({tensor.dtype}); export "
                "float32 or an adapter, or lower the strength."
            )
        yield before, after


def _needs_conversion(tensor: StoredTensor, dtype: ExportDtype) -> bool:
    return dtype == "float32" and tensor.dtype in FLOATS and tensor.dtype != "F32"


def _stored_bytes(tensor: StoredTensor, dtype: ExportDtype) -> int:
    return 4 * tensor.numel if dtype == "float32" and tensor.dtype in FLOATS else tensor.n_bytes


def _header(shard: Shard, dtype: ExportDtype) -> bytes:
    """The header of the source, or one with all floats as fp32, padded to a multiple of 8 bytes as safetensors does."""
    if dtype == "stored":
        with open_source(shard.path) as file:
            return file.read(shard.data)
    entries: dict[str, Any] = {} if shard.metadata is None else {"__metadata__": shard.metadata}
    position = 0
    for tensor in shard.tensors:
        if tensor.dtype.startswith(("F8", "F4", "F6")):
            raise ExportError(
                f"{tensor.name} is stored quantised ({tensor.dtype}) and cannot be written as float32; export the "
                "adapter instead."
            )
        end = position + _stored_bytes(tensor, dtype)
        number_format = "F32" if tensor.dtype in FLOATS else tensor.dtype
        entries[tensor.name] = {"dtype": number_format, "shape": tensor.shape, "data_offsets": (position, end)}
        position = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
