"""Check a GGUF file before anything is built: is it complete, and can transformers read its type and its numbers?

Knows the format's own package and transformers' reader; dequantises one row of each number format at most.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import transformers
from transformers.integrations.gguf import GGUF_ARCHS, read_gguf_metadata
from transformers.integrations.gguf.dequant import GGML_BLOCK

from s2e_core.errors import ModelLoadError

from .file_names import GGUF_PART, explain_part
from .quantized import require_package

if TYPE_CHECKING:
    from gguf import ReaderTensor

PLAIN = ("F32", "F16", "BF16")
"""Number formats that hold the numbers themselves."""
DAMAGES = (ValueError, TypeError, KeyError, IndexError, OverflowError, OSError, MemoryError, struct.error)
"""Errors that the readers raise for a file that is cut off or damaged."""


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
    from gguf import GGUFReader

    try:
        # This reader refuses a length beyond the end of the file, through which the next one would walk.
        metadata, _ = read_gguf_metadata(str(path))
        _check_single(model_id, path.name, metadata)
        architecture = str(metadata["general.architecture"])
        tensors = GGUFReader(path).tensors
    except DAMAGES as error:
        reason = " ".join(str(error).split())[:150].replace(str(path), path.name)
        raise ModelLoadError(
            f"{model_id} could not be loaded: it is not a complete GGUF file ({reason}). Download it again."
        ) from error
    _check_formats(model_id, architecture, tensors)
    counts: Counter[str] = Counter()
    for tensor in tensors:
        if len(tensor.shape) > 1:
            counts[tensor.tensor_type.name] += int(tensor.n_elements)
    formats = tuple(name for name, _ in counts.most_common())
    return GGUFHeader(architecture, formats, sum(int(tensor.n_elements) for tensor in tensors))


def explain_unreadable(model_id: str, architecture: str, error: Exception) -> str:
    """Explain that transformers cannot make a configuration, tokenizer or model from a GGUF file."""
    reason = re.sub(r"\s+", " ", str(error))[:200].rstrip(".")
    return (
        f"{model_id} could not be loaded: transformers {transformers.__version__} cannot read a GGUF file of the "
        f"architecture {architecture[:60]} ({reason}). Choose the transformers model that it was made from."
    )


def _check_single(model_id: str, name: str, metadata: dict[str, Any]) -> None:
    if GGUF_PART.search(name) or int(metadata.get("split.count", 0)) > 1:
        raise ModelLoadError(explain_part(model_id, name))


def _check_formats(model_id: str, architecture: str, tensors: list[ReaderTensor]) -> None:
    """Raise ModelLoadError, naming a tensor, if a number format cannot be dequantised."""
    for tensor in _one_per_format(tensors):
        if not _is_readable(architecture, tensor):
            raise ModelLoadError(
                f"{model_id} could not be loaded: its tensor {tensor.name} is stored as {tensor.tensor_type.name}, "
                f"which transformers {transformers.__version__} cannot dequantise. Choose a file in another "
                "quantisation, such as Q8_0 or Q4_K_M."
            )


def _one_per_format(tensors: list[ReaderTensor]) -> Iterator[ReaderTensor]:
    yield from {tensor.tensor_type: tensor for tensor in tensors}.values()


def _is_readable(architecture: str, tensor: ReaderTensor) -> bool:
    """Whether the loader that transformers has for this architecture knows the number format of a tensor."""
    if tensor.tensor_type.name in PLAIN:
        return True
    if architecture in GGUF_ARCHS:
        return int(tensor.tensor_type) in GGML_BLOCK
    from gguf import dequantize

    try:
        dequantize(tensor.data.reshape(-1, tensor.data.shape[-1])[:1], tensor.tensor_type)
    except NotImplementedError:
        return False
    return True
