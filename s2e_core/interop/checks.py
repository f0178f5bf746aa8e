"""What files of other programs have in common: their size, their numbers, and the places they name in a model.

Knows the sites of a model and no file format. Nothing is taken over that is not a finite number of the right place.
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

WHAT_DAMAGE_RAISES = (
    RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, MemoryError, OverflowError,
    AssertionError, SyntaxError, OSError, struct.error, zlib.error, zipfile.BadZipFile,
    tokenize.TokenError,
)  # fmt: skip
"""What the readers of torch, numpy and Python raise on a file of random bytes: they promise nothing narrower."""


def open_limited(path: Path, limit: int) -> BinaryIO:
    """The opened file. Raises InteropError where it is missing, no file, or has more than `limit` bytes."""
    try:
        file = path.open("rb")
        size = file.seek(0, 2)
        file.seek(0)
    except OSError as error:
        raise InteropError(f"{path.name} cannot be read ({error.strerror}). Choose another file.") from error
    if size > limit:
        file.close()
        raise InteropError(
            f"{path.name} has {readable_size(size)}; such a file for this model has at most {readable_size(limit)}. "
            "Choose the right file."
        )
    return file


def provenance(loaded: LoadedModel, path: Path) -> Provenance:
    """Of what was taken from a file: the model it is used with, the file's name and the SHA-256 of its bytes."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return loaded.provenance(path.name, digest)


def numbers(value: object, shape: tuple[int, ...], where: str, loaded: LoadedModel) -> Tensor:
    """A tensor from a file as fp32 of its own, checked. `where` begins the sentence: "x.pt: post.direction of layer 3".

    Raises InteropError for anything but an ordinary tensor of finite floating-point numbers of that shape.
    """
    if (
        not isinstance(value, Tensor)
        or value.layout != torch.strided
        or value.is_quantized
        or value.device.type != "cpu"
    ):
        raise InteropError(f"{where} is missing or no ordinary tensor. Expected a tensor of numbers.")
    if tuple(value.shape) != shape:  # before any copy: a view can claim any size
        raise InteropError(
            f"{where} has the shape {list(value.shape)[:4]}, but {loaded.model_id} needs {list(shape)}. It was made "
            "for another model; load that one."
        )
    if not value.is_floating_point():
        raise InteropError(f"{where} holds {value.dtype} values. Expected floating-point numbers; save it again.")
    copied = value.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)
    if not bool(copied.square().sum().isfinite()):  # lengths are made of squares
        raise InteropError(
            f"{where} holds values that are not finite numbers (NaN or infinity), or too large to compute with. "
            "Compute it again."
        )
    return copied


def site_of(spec: ModelSpec, layer: int, kind: Kind, where: str) -> int:
    """The position in `spec.sites` of the one projection of that kind in a layer; else InteropError.

    The authors' files number the neurons of plain MLPs: of experts they say nothing, so that those are never meant.
    """
    found = [i for i in spec.of_kind(kind) if spec.sites[i].layer == layer and not spec.sites[i].experts]
    if len(found) == 1:
        return found[0]
    if not 0 <= layer < spec.n_layers:
        said = f"the loaded model has the layers 0 to {spec.n_layers - 1}"
    else:
        said = f"layer {layer} of the loaded model has {len(found) or 'no'} projections of {kind} that can be edited"
    raise InteropError(f"{where} names layer {layer}, but {said}. Load the model it was made for.")


def directions_of(spec: ModelSpec, vectors: Sequence[Tensor], origin: Provenance) -> SteeringDirections:
    """Steering directions of one vector v per site, each (d,); a zero vector is no direction."""
    norms = [torch.linalg.vector_norm(v) for v in vectors]
    units = tuple(v / n if n > 0 else torch.zeros_like(v) for v, n in zip(vectors, norms, strict=True))
    return SteeringDirections(spec, units, torch.stack(norms), origin)


def shown(name: object) -> str:
    """A name from a file, fit for a sentence."""
    return "".join(character if character.isprintable() else "?" for character in str(name)[:60])


def cosine(a: Tensor, b: Tensor) -> float:
    """Of two vectors; NaN where one of them is zero."""
    length = float(torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))
    return float(a @ b) / length if length > 0 else math.nan


def check_same_weights(cosines: Sequence[float], what: str, path: Path, loaded: LoadedModel) -> None:
    """Raise InteropError where what a file holds does not follow from the loaded weights.

    `cosines` compare it with what the loaded model gives: close to 1 for the model it was made with, in bf16 seldom
    below 0.9, and around 0 for another.
    """
    known = torch.tensor([c for c in cosines if not math.isnan(c)])
    if len(known) and float(known.median()) < 0.5:
        raise InteropError(
            f"{path.name} was made for another model than {loaded.model_id}: {what} do not follow from the loaded "
            f"weights (median cosine {float(known.median()):.2f}, expected about 1). Load the model it was made for."
        )


def entries(value: object, where: str) -> Mapping[object, object]:
    """A dictionary from a file; else InteropError."""
    if not isinstance(value, dict):
        raise InteropError(f"{where} is missing or no dictionary. Expected a file as the authors' code writes it.")
    return value
