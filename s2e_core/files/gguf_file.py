"""Read and write GGUF files of a few F32 tensors: llama.cpp's control vectors and LoRA adapters.

Knows the layout (a header of typed entries, then tensors at aligned positions), not what the tensors mean. Every length
in a file is checked against the rest of the file, so a hostile file costs nothing; the format's own Python package
walks through an array of any claimed length. The tests read and write with that package as well.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT = 32
_F32 = 0  # the code of the tensor type
_UINT32, _FLOAT32, _STRING, _ARRAY = 4, 6, 8, 9  # codes of header entries
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of one number by its code."""


Header = Mapping[str, str | int | float]
"""Texts, whole numbers of 32 bits, and float32 numbers, by the names of the entries."""


class GGUFError(ValueError):
    """Error in a file, worded as the end of a sentence."""


@dataclass
class _Cursor:
    """Position in a file; reading beyond the end is an error."""

    data: memoryview
    at: int = 0

    def take(self, n_bytes: int) -> memoryview:
        if n_bytes > len(self.data) - self.at:
            raise GGUFError("it is cut off")
        self.at += n_bytes
        return self.data[self.at - n_bytes : self.at]

    def number(self, code: str) -> int:
        return int(struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0])

    def text(self) -> str:
        raw = bytes(self.take(self.number("Q")))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise GGUFError("a name in it is not text") from None


def read_gguf(data: bytes) -> tuple[dict[str, str | int | float], dict[str, Tensor]]:
    """Return (texts and 32-bit numbers of the header, fp32 tensors by name in torch's order of dimensions).

    Raises GGUFError unless this is a little-endian file of version 2 or 3 whose tensors are all F32.
    """
    cursor = _Cursor(memoryview(data))
    if len(data) < 4 or bytes(cursor.take(4)) != MAGIC:
        raise GGUFError("it does not begin like a GGUF file")
    version = cursor.number("I")
    if version not in (2, VERSION):
        raise GGUFError(f"it has the version {version}, but only 2 and 3 can be read")
    n_tensors, n_entries = cursor.number("Q"), cursor.number("Q")
    header: dict[str, str | int | float] = {}
    for _ in range(n_entries):
        name, value = cursor.text(), _read_entry(cursor, cursor.number("I"))
        if value is not None:
            header[name] = value
    entries = [_read_tensor_entry(cursor) for _ in range(n_tensors)]
    alignment = header.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise GGUFError("its alignment is not a positive whole number")
    start = math.ceil(cursor.at / alignment) * alignment
    if 4 * sum(math.prod(shape) for _, shape, _ in entries) > len(data):  # tensors that share bytes could be endless
        raise GGUFError("it is cut off")
    tensors = {name: _read_tensor(data, start + offset, shape) for name, shape, offset in entries}
    if len(tensors) < len(entries):
        raise GGUFError("two of its tensors have the same name")
    return header, tensors


def encode_gguf(header: Header, tensors: Mapping[str, Tensor]) -> bytes:
    """Encode a GGUF file (version 3) with texts and 32-bit numbers in its header and tensors as F32."""
    head = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(header))]
    for name, value in header.items():
        head.append(_pack_text(name))
        if isinstance(value, str):
            head += [struct.pack("<I", _STRING), _pack_text(value)]
        elif isinstance(value, int):
            head.append(struct.pack("<II", _UINT32, value))
        else:
            head.append(struct.pack("<If", _FLOAT32, value))
    body: list[bytes] = []
    offset = 0
    for name, tensor in tensors.items():
        shape = tuple(reversed(tensor.shape))
        head += [
            _pack_text(name),
            struct.pack(f"<I{len(shape)}Q", len(shape), *shape),
            struct.pack("<IQ", _F32, offset),
        ]
        raw = tensor.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4").tobytes()
        body.append(raw + bytes(-len(raw) % ALIGNMENT))
        offset += len(body[-1])
    header_bytes = b"".join(head)
    return header_bytes + bytes(-len(header_bytes) % ALIGNMENT) + b"".join(body)


def _read_entry(cursor: _Cursor, kind: int) -> str | int | float | None:
    """Read the value of one entry; None for a type that no caller needs."""
    if kind == _STRING:
        return cursor.text()
    if kind == _UINT32:
        return cursor.number("I")
    if kind == _FLOAT32:
        return float(struct.unpack("<f", cursor.take(4))[0])
    if kind == _ARRAY:
        _skip_array(cursor)
    elif kind in _SIZES:
        cursor.take(_SIZES[kind])
    else:
        raise GGUFError(f"its header has an entry of the unknown type {kind}")
    return None


def _skip_array(cursor: _Cursor) -> None:
    kind, length = cursor.number("I"), cursor.number("Q")
    if kind == _STRING:
        for _ in range(length):  # each takes at least 8 bytes, so the end of the file ends the loop
            cursor.take(cursor.number("Q"))
    elif kind in _SIZES:
        cursor.take(length * _SIZES[kind])
    else:
        raise GGUFError(f"its header has an array of the type {kind}")


def _read_tensor_entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], int]:
    """Read (name, shape, offset) of one tensor."""
    name, n_dims = cursor.text(), cursor.number("I")
    if not 1 <= n_dims <= 4:
        raise GGUFError(f"{ascii(name[:40])} has {n_dims} dimensions")
    shape = tuple(reversed([cursor.number("Q") for _ in range(n_dims)]))
    kind, offset = cursor.number("I"), cursor.number("Q")
    if kind != _F32:
        raise GGUFError(f"{ascii(name[:40])} is not stored as F32")
    return name, shape, offset


def _read_tensor(data: bytes, start: int, shape: tuple[int, ...]) -> Tensor:
    count = math.prod(shape)
    if start + 4 * count > len(data):
        raise GGUFError("it is cut off")
    values = np.frombuffer(data, "<f4", count, start) if count else np.empty(0, "<f4")
    return torch.from_numpy(values.astype(np.float32)).view(shape)


def _pack_text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw
