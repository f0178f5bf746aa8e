"""Save and load an extraction: one safetensors file that gives back every number bit by bit.

The tensors are named by their field and site ("g.12"); one metadata key contains JSON with the format version, the
sites, the provenance and a checksum of every tensor. Knows values and files, not where they are kept.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from s2e_core.files import write_whole
from s2e_core.model import LoadedModel
from s2e_core.spec import ModelSpec
from s2e_core.token_inputs import TokenInputs
from s2e_core.values import (
    ActivationMeans,
    ComponentScores,
    Extraction,
    MeanInputs,
    Provenance,
    SteeringDirections,
)

VERSION = 3
"""Version of the file and of what `extract` computes. Raise it if one of them changes: older files are then ignored."""
_KEY = "steer2edit_extraction"
_DAMAGED = (OSError, SafetensorError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RuntimeError)
"""What reading a damaged file can raise."""


def save_extraction(extraction: Extraction, path: str | Path) -> Path:
    """Write an extraction to one file, completely or not at all. Raises OSError if the file cannot be written."""
    path, tensors = Path(path), _tensors(extraction)
    metadata = {_KEY: json.dumps(_description(extraction, tensors), sort_keys=True)}

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # what it raises for a full disk
            raise OSError(str(error)) from error

    write_whole(path, write)
    return path


def load_extraction(path: str | Path, loaded: LoadedModel, *, token_inputs: bool = True) -> Extraction | None:
    """Read a saved extraction of a model; its spec is that of the model, its provenance as it was saved.

    Returns None if the file does not exist, is damaged, has another version or belongs to another model. Token inputs
    are mapped into memory, not read; `token_inputs=False` leaves them out.
    """
    try:
        with safe_open(Path(path), framework="pt") as file:
            data = json.loads((file.metadata() or {})[_KEY])
            if data["version"] != VERSION or not _is_of(data, loaded):
                return None
            return _extraction(data, loaded.spec, _reader(file, data["checksums"]), token_inputs=token_inputs)
    except _DAMAGED:
        return None


def n_bytes(extraction: Extraction) -> int:
    """Bytes of all tensors of an extraction: the size of its file without the header."""
    return sum(tensor.nbytes for tensor in _tensors(extraction).values())


def _tensors(extraction: Extraction) -> dict[str, Tensor]:
    means, directions, scores = extraction.means, extraction.directions, extraction.scores
    fields: dict[str, Sequence[Tensor]] = {
        "unit": directions.unit,
        "norm": (directions.norm,),
        "g": scores.g,
        "keys": scores.keys,
        "weight_norms": scores.weight_norms,
        "contributions": scores.contributions,
    }
    more: Mapping[int, Tensor] = {}
    if isinstance(means, ActivationMeans):
        fields |= {"positive": means.positive, "negative": means.negative}
        more = means.more
    else:
        fields["mean"] = means.mean
    inputs = extraction.token_inputs
    if inputs is not None:
        fields |= {"on": inputs.on, "off": inputs.off, "gates": inputs.keys}
    named = {f"{field}.{i}": tensor for field, tensors in fields.items() for i, tensor in enumerate(tensors)}
    named |= {f"more.{i}": tensor for i, tensor in more.items()}
    return {name: tensor.contiguous() for name, tensor in named.items()}


def _description(extraction: Extraction, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    means, inputs = extraction.means, extraction.token_inputs
    sides = isinstance(means, ActivationMeans)
    counts = ("n_positive", "n_negative", "n_tokens", "outliers", "n_outliers") if sides else ("n_examples",)
    parts = {"means": means, "directions": extraction.directions, "scores": extraction.scores}
    return {
        "format": "steer2edit extraction",
        "version": VERSION,
        **_layout(extraction.spec),
        "provenance": {name: asdict(part.provenance) for name, part in parts.items()},
        "counts": {name: getattr(means, name) for name in counts},
        "more": sorted(means.more) if isinstance(means, ActivationMeans) else None,
        "token_inputs": None if inputs is None else {"harmless": inputs.harmless, "mus": list(inputs.mus)},
        "checksums": {name: _checksum(tensor) for name, tensor in tensors.items()},
    }


def _layout(spec: ModelSpec) -> dict[str, Any]:
    sites = [[site.name, site.n_components, site.width] for site in spec.sites]
    return {"d_model": spec.d_model, "sites": sites}


def _is_of(data: Mapping[str, Any], loaded: LoadedModel) -> bool:
    layout = _layout(loaded.spec)
    same = {name: data[name] for name in layout} == layout
    return same and data["provenance"]["scores"]["fingerprint"] == loaded.fingerprint


def _checksum(tensor: Tensor) -> int:
    """CRC-32 of the bytes of a contiguous tensor."""
    return zlib.crc32(tensor.detach().flatten().view(torch.uint8).numpy())


Reader = Callable[[str], Tensor]
"""Gives a tensor of the file by its name."""


def _reader(file: Any, checksums: Mapping[str, int]) -> Reader:
    """Tensors of an open file, mapped into memory. Its calls raise ValueError for a tensor with a wrong checksum."""

    def read(name: str) -> Tensor:
        tensor: Tensor = file.get_tensor(name)
        if _checksum(tensor) != checksums[name]:
            raise ValueError(f"the tensor {name} is damaged")
        return tensor

    return read


def _extraction(data: Mapping[str, Any], spec: ModelSpec, read: Reader, *, token_inputs: bool) -> Extraction:
    def field(name: str) -> tuple[Tensor, ...]:
        return tuple(read(f"{name}.{i}").clone() for i in range(len(spec.sites)))  # small, so not left to the file

    provenance = {name: Provenance(**entry) for name, entry in data["provenance"].items()}
    scores = ComponentScores(
        spec=spec,
        g=field("g"),
        keys=field("keys"),
        weight_norms=field("weight_norms"),
        contributions=field("contributions"),
        provenance=provenance["scores"],
    )
    directions = SteeringDirections(spec, field("unit"), read("norm.0").clone(), provenance["directions"])
    inputs = _token_inputs(data["token_inputs"], spec, read) if token_inputs else None
    return Extraction(_means(data, spec, read, field, provenance["means"]), directions, scores, inputs)


def _means(
    data: Mapping[str, Any],
    spec: ModelSpec,
    read: Reader,
    field: Callable[[str], tuple[Tensor, ...]],
    provenance: Provenance,
) -> ActivationMeans | MeanInputs:
    counts = data["counts"]
    if data["more"] is None:
        return MeanInputs(spec, field("mean"), counts["n_examples"], provenance)
    more = {i: read(f"more.{i}").clone() for i in data["more"]}
    return ActivationMeans(
        spec=spec, positive=field("positive"), negative=field("negative"), provenance=provenance, more=more, **counts
    )


def _token_inputs(entry: Mapping[str, Any] | None, spec: ModelSpec, read: Reader) -> TokenInputs | None:
    if entry is None:
        return None
    on, off = (tuple(read(f"{name}.{i}") for i in range(len(spec.sites))) for name in ("on", "off"))
    mus = tuple(entry["mus"])
    gates = tuple(read(f"gates.{i}").clone() for i in range(len(spec.sites))) if mus else ()
    return TokenInputs(spec, on, off, entry["harmless"], mus, gates)
