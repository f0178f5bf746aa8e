"""Checks common to the files of other programs: size, numbers, layers, and whether they fit the loaded model.

Knows the sites of a model; no file format. Only finite numbers in tensors of the right shape are accepted.
"""

from __future__ import annotations

import hashlib
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from s2e_core.errors import InteropError
from s2e_core.model import LoadedModel
from s2e_core.spec import Kind, ModelSpec
from s2e_core.text import readable_size
from s2e_core.values import Provenance, SteeringDirections

READER_ERRORS = (
    RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, MemoryError, OverflowError,
    AssertionError, SyntaxError, OSError, struct.error, zlib.error, zipfile.BadZipFile,
    tokenize.TokenError,
)  # fmt: skip
"""Errors that torch, numpy and Python raise on a file of random bytes; they document no narrower set."""


def open_limited(path: Path, limit: int) -> BinaryIO:
    """Open a file for reading. Raises InteropError if it cannot be read or has more than `limit` bytes."""
    try:
        file = path.open("rb")
        size = file.seek(0, 2)
        file.seek(0)
    except OSError as error:
        raise InteropError(f"{path.name} cannot be read ({error.strerror}). Choose another file.") from error
    if size > limit:
        file.close()
        raise InteropError(
            f"{path.name} has {readable_size(size)}, but a file for this model has at most {readable_size(limit)}. "
            "Choose the right file."
        )
    return file


def file_provenance(loaded: LoadedModel, path: Path) -> Provenance:
    """The provenance of values from a file: the loaded model, the file's name and the SHA-256 of its bytes."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return loaded.provenance(path.name, digest)


def check_numbers(value: object, shape: tuple[int, ...], name: str, loaded: LoadedModel) -> Tensor:
    """A checked fp32 copy of a tensor from a file. `name` begins a message: "x.pt: post.direction of layer 3".

    Raises InteropError unless it is an ordinary tensor of finite floating-point numbers of that shape.
    """
    if (
        not isinstance(value, Tensor)
        or value.layout != torch.strided
        or value.is_quantized
        or value.device.type != "cpu"
    ):
        raise InteropError(f"{name} is missing or not an ordinary tensor. Expected a tensor of numbers.")
    if tuple(value.shape) != shape:  # before any copy: a view can claim any size
        raise InteropError(
            f"{name} has the shape {list(value.shape)[:4]}, but {loaded.model_id} needs {list(shape)}. The file was "
            "made for another model; load that model."
        )
    if not value.is_floating_point():
        raise InteropError(
            f"{name} contains {value.dtype} values. Expected floating-point numbers; save the file again."
        )
    copy = value.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)
    if not bool(copy.square().sum().isfinite()):  # the length of a vector needs the squares
        raise InteropError(
            f"{name} contains values that are not finite numbers (NaN or infinity), or too large to compute with. "
            "Compute the values again."
        )
    return copy


def find_site(spec: ModelSpec, layer: int, kind: Kind, name: str) -> int:
    """The index in `spec.sites` of the only projection of that kind in a layer.

    The authors' files number the neurons of plain MLPs, so that experts never match. `name` begins a message. Raises
    InteropError unless exactly one projection matches.
    """
    sites = [i for i in spec.of_kind(kind) if spec.sites[i].layer == layer and not spec.sites[i].experts]
    if len(sites) == 1:
        return sites[0]
    if not 0 <= layer < spec.n_layers:
        reason = f"the loaded model has the layers 0 to {spec.n_layers - 1}"
    else:
        reason = f"layer {layer} of the loaded model has {len(sites) or 'no'} projections of {kind} that can be edited"
    raise InteropError(f"{name} names layer {layer}, but {reason}. Load the model that the file was made for.")


def build_directions(spec: ModelSpec, vectors: Sequence[Tensor], provenance: Provenance) -> SteeringDirections:
    """Steering directions from one vector v (d,) per site; a zero vector means no direction."""
    norms = [torch.linalg.vector_norm(v) for v in vectors]
    units = tuple(v / n if n > 0 else torch.zeros_like(v) for v, n in zip(vectors, norms, strict=True))
    return SteeringDirections(spec, units, torch.stack(norms), provenance)


def printable(name: object) -> str:
    """A name from a file for use in a message: at most 60 characters, all printable."""
    return "".join(character if character.isprintable() else "?" for character in str(name)[:60])


def cosine(a: Tensor, b: Tensor) -> float:
    """The cosine of the angle between two vectors (d,); NaN if one of them is zero."""
    length = float(torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))
    return float(a @ b) / length if length > 0 else math.nan


def check_same_weights(cosines: Sequence[float], content: str, path: Path, loaded: LoadedModel) -> None:
    """Raise InteropError if the content of a file does not follow from the loaded weights.

    `cosines` compare vectors of the file with those computed from the loaded model: close to 1 for the model that the
    file was made with (in bf16 seldom below 0.9), around 0 for another model.
    """
    finite = torch.tensor([c for c in cosines if not math.isnan(c)])
    if len(finite) and float(finite.median()) < 0.5:
        raise InteropError(
            f"{path.name} was made for another model than {loaded.model_id}: {content} do not follow from the loaded "
            f"weights (median cosine {float(finite.median()):.2f}, expected about 1). Load the model that the file was "
            "made for."
        )


def check_dictionary(value: object, name: str) -> Mapping[object, object]:
    """The value, if it is a dictionary. Raises InteropError otherwise; `name` begins the message."""
    if not isinstance(value, dict):
        raise InteropError(f"{name} is missing or not a dictionary. Expected a file written by the authors' code.")
    return value
