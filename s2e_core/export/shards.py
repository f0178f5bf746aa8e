"""The safetensors files of an edited checkpoint: only the bytes of edited tensors change.

Knows where every tensor goes and writes it there. Memory stays at a few blocks of rows, whatever the size of the
checkpoint; a folder's other files are not its business.
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
    copied_beside,
    open_source,
    read_rows,
    write_pieces,
)

from .stored_edit import StoredChange

ExportDtype = Literal["stored", "float32"]


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a tensor goes."""

    tensor: StoredTensor
    file: Path
    at: int
    """First byte in the file."""


def write_shards(
    checkpoint: Checkpoint,
    target: Path,
    changes: Iterable[StoredChange],
    expected: Collection[str],
    dtype: ExportDtype,
    meter: Meter,
) -> bool:
    """Write every shard of a checkpoint into the folder `target`; returns whether any of its values changes.

    `expected` names the tensors that `changes` is likely to have. All others that stay as they are, are copied by a
    second thread from the start, while this one takes the changes as they come and computes.
    """
    places = {place.tensor.name: place for shard in checkpoint.shards for place in _places(shard, target, dtype)}
    waiting = {name for name, place in places.items() if name in expected or _is_converted(place.tensor, dtype)}
    for shard in checkpoint.shards:
        _begin(shard, target, dtype, meter)
    late, changed = [], False
    with copied_beside([_span(place) for name, place in places.items() if name not in waiting], meter):
        for change in changes:
            name = change.piece.tensor.name
            if name in waiting:
                waiting.remove(name)
                changed |= _write(places[name], change, dtype, meter)
            else:
                late.append(change)
        for name in waiting:
            _write(places[name], None, dtype, meter)
    # Stored under a name of its own: written over what was copied.
    return changed | any([_write(places[change.piece.tensor.name], change, dtype, meter) for change in late])


def shard_size(shard: Shard, dtype: ExportDtype) -> int:
    """Bytes of the file that will be written. Raises ExportError for quantised numbers that should become float32."""
    return len(_header(shard, dtype)) + data_size(shard, dtype)


def data_size(shard: Shard, dtype: ExportDtype) -> int:
    """Bytes of the tensors that will be written, without a header."""
    return sum(_stored_bytes(tensor, dtype) for tensor in shard.tensors)


def _places(shard: Shard, target: Path, dtype: ExportDtype) -> Iterator[_Place]:
    at = len(_header(shard, dtype))
    for tensor in shard.tensors:
        yield _Place(tensor, target / shard.path.name, at)
        at += _stored_bytes(tensor, dtype)


def _begin(shard: Shard, target: Path, dtype: ExportDtype, meter: Meter) -> None:
    """A file of the final size, of which the header is written."""
    path, header = target / shard.path.name, _header(shard, dtype)
    path.write_bytes(header)
    os.truncate(path, len(header) + data_size(shard, dtype))
    meter.add(len(header))


def _span(place: _Place) -> Span:
    return Span(place.tensor.path, place.tensor.start, place.file, place.at, place.tensor.n_bytes)


def _write(place: _Place, change: StoredChange | None, dtype: ExportDtype, meter: Meter) -> bool:
    """Write one tensor in its place; returns whether the edit changes any of its values."""
    changed = False
    with place.file.open("r+b") as writer:
        writer.seek(place.at)
        for before, after in _new_rows(place.tensor, change, dtype):
            write_pieces(writer, after.contiguous().view(torch.uint8).flatten().numpy().data)
            changed = changed or (change is not None and not torch.equal(before, after))
            meter.add(after.nbytes)
    return changed


def _new_rows(tensor: StoredTensor, change: StoredChange | None, dtype: ExportDtype) -> Iterator[tuple[Tensor, Tensor]]:
    """(rows before, rows after), both in the dtype that is written."""
    for first, stored in read_rows(tensor):
        before = stored.float() if dtype == "float32" else stored
        after = before if change is None else change.applied(first, before)
        if change is not None and not bool(torch.stack(after.aminmax()).isfinite().all()):  # NaN is either of them
            raise ExportError(
                f"{tensor.name} would hold values that are not finite numbers in its format ({tensor.dtype}); export "
                "it as float32 or as an adapter, or lower the strength."
            )
        yield before, after


def _is_converted(tensor: StoredTensor, dtype: ExportDtype) -> bool:
    return dtype == "float32" and tensor.dtype in FLOATS and tensor.dtype != "F32"


def _stored_bytes(tensor: StoredTensor, dtype: ExportDtype) -> int:
    return 4 * tensor.numel if dtype == "float32" and tensor.dtype in FLOATS else tensor.n_bytes


def _header(shard: Shard, dtype: ExportDtype) -> bytes:
    """The source's own, or one whose floats are all fp32, padded to a multiple of 8 bytes as safetensors does."""
    if dtype == "stored":
        with open_source(shard.path) as file:
            return file.read(shard.data)
    entries: dict[str, Any] = {} if shard.metadata is None else {"__metadata__": shard.metadata}
    position = 0
    for tensor in shard.tensors:
        if tensor.dtype.startswith(("F8", "F4", "F6")):
            raise ExportError(
                f"{tensor.name} is stored quantised ({tensor.dtype}) and cannot become float32; export the adapter "
                "instead."
            )
        end = position + _stored_bytes(tensor, dtype)
        number_format = "F32" if tensor.dtype in FLOATS else tensor.dtype
        entries[tensor.name] = {"dtype": number_format, "shape": tensor.shape, "data_offsets": (position, end)}
        position = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
