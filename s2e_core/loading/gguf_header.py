"""Check a GGUF file before anything is built: is it complete, and can transformers read its type and its numbers?

Reads the header with transformers' own reader: the one of the format's package takes seconds for a vocabulary, and
walks through an array of any claimed length. Reads no weight.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from transformers.integrations.gguf import GGUF_ARCHS, reader
from transformers.integrations.gguf.dequant import GGML_BLOCK

from s2e_core.errors import ModelLoadError

from .file_names import GGUF_PART, explain_part
from .quantized import require_package

PLAIN = ("F32", "F16", "BF16")
"""Number formats that hold the numbers themselves."""
ALIGNMENT = 32
DAMAGES = (ValueError, TypeError, KeyError, IndexError, OverflowError, OSError, MemoryError, struct.error)
"""Errors that the reader raises for a file that is cut off or damaged."""


@dataclass(frozen=True, eq=False)
class GGUFTensor:
    """One tensor of a file, as its header describes it."""

    name: str
    shape: tuple[int, ...]
    """Shape in torch's order."""
    code: int
    """Number format as the file writes it."""
    end: int
    """First byte after the tensor, counted from the beginning of the file; 0 if the number format is unknown."""

    @property
    def format(self) -> str:
        """Name of the number format, such as Q4_1."""
        from gguf import GGMLQuantizationType

        known = {int(kind): kind.name for kind in GGMLQuantizationType}
        return known.get(self.code, f"number format {self.code}")


@dataclass(frozen=True, eq=False)
class GGUFHeader:
    """What the header of a GGUF file says about its weights."""

    architecture: str
    """Name of the model's type as llama.cpp writes it."""
    formats: tuple[str, ...]
    """Number formats of the matrices, the one with most numbers first."""
    n_numbers: int
    """Number of weights."""


def read_header(path: Path, model_id: str) -> GGUFHeader:
    """Read the header of a GGUF file and check that its tensors can be read.

    Raises ModelLoadError if the package gguf is missing, the file is damaged or one of several parts, or a tensor is
    stored in a format that cannot be dequantised.
    """
    require_package("gguf", f"{model_id} is a GGUF file, which needs")
    try:
        metadata, tensors = _read(path)
        architecture = str(metadata["general.architecture"])
        n_parts = int(metadata.get("split.count", 0))
    except DAMAGES as error:
        reason = " ".join(str(error).split())[:150].replace(str(path), path.name)
        raise ModelLoadError(
            f"{model_id} could not be loaded: it is not a complete GGUF file ({reason}). Download it again."
        ) from error
    if GGUF_PART.search(path.name) or n_parts > 1:
        raise ModelLoadError(explain_part(model_id, path.name))
    _check_formats(model_id, architecture, tensors)
    counts: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.format] += prod(tensor.shape) if len(tensor.shape) > 1 else 0
    formats = tuple(name for name, n_numbers in counts.most_common() if n_numbers)
    return GGUFHeader(architecture, formats, sum(prod(tensor.shape) for tensor in tensors))


def explain_unreadable(model_id: str, architecture: str, error: Exception) -> str:
    """Explain that transformers cannot make a configuration, tokenizer or model from a GGUF file."""
    reason = re.sub(r"\s+", " ", str(error))[:200].rstrip(".")
    return (
        f"{model_id} could not be loaded: transformers {transformers.__version__} cannot build a model from a GGUF "
        f"file of the architecture {architecture[:60]} ({reason}). Choose the transformers model that it was made from."
    )


def _read(path: Path) -> tuple[dict[str, Any], tuple[GGUFTensor, ...]]:
    """Return (metadata, tensors). Raises one of DAMAGES if the file is no GGUF file or ends too early."""
    content = reader._mapped(str(path))
    metadata, n_tensors, position = reader._read_metadata(content, str(path))
    entries, position = reader._read_tensor_table(content, n_tensors, position)
    alignment = int(metadata.get("general.alignment", ALIGNMENT))
    start = ceil(position / alignment) * alignment
    tensors = tuple(
        GGUFTensor(name, shape, code, start + offset + _n_bytes(shape, code)) for name, shape, code, offset in entries
    )
    end = max((tensor.end for tensor in tensors), default=0)
    if not tensors or end > len(content):
        raise ValueError(f"it has {len(content):,} bytes, and its header promises {end:,}" if tensors else "no tensors")
    return metadata, tensors


def _n_bytes(shape: tuple[int, ...], code: int) -> int:
    from gguf import GGML_QUANT_SIZES

    block, n_bytes = {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}.get(code, (1, 0))
    return prod(shape) // block * n_bytes


def _check_formats(model_id: str, architecture: str, tensors: Iterable[GGUFTensor]) -> None:
    """Raise ModelLoadError, naming a tensor, if a number format cannot be dequantised."""
    for tensor in {tensor.code: tensor for tensor in tensors}.values():
        if not is_readable(architecture, tensor):
            raise ModelLoadError(
                f"{model_id} could not be loaded: its tensor {tensor.name} is stored as {tensor.format}, which "
                f"transformers {transformers.__version__} cannot dequantise for the architecture {architecture[:60]}. "
                "Choose a file in another quantisation, such as Q8_0."
            )


def is_readable(architecture: str, tensor: GGUFTensor) -> bool:
    """Whether the loader that transformers has for an architecture knows the number format of a tensor."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    if tensor.format in PLAIN:
        return True
    if architecture in GGUF_ARCHS:
        return tensor.code in GGML_BLOCK
    try:
        kind = GGMLQuantizationType(tensor.code)
        dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8), kind)
    except (ValueError, NotImplementedError):  # unknown to the format's package, or to its arithmetic
        return False
    return True
