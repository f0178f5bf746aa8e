"""Steering directions as a control vector for llama.cpp.

Knows what llama.cpp takes, and what such a file is not: the edit of the weights.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import torch
from torch import Tensor

from s2e_core.errors import InteropError
from s2e_core.values import SteeringDirections

from .gguf_file import gguf_bytes

CONTROL_VECTOR_NOTE = (
    "Activation steering, not the weight edit: llama.cpp adds these vectors to the residual stream after each layer, "
    "at every token, as long as it runs with them. Each is the sum of the layer's steering directions, those of the "
    "attention and of the MLP output. llama.cpp has no control vector for layer 0, so its directions are left out."
)
"""What an exported control vector is and is not; it also stands in the file."""


def save_control_vector(directions: SteeringDirections, path: str | Path) -> Path:
    """Write steering directions as a GGUF control vector for llama.cpp, complete or not at all.

    See CONTROL_VECTOR_NOTE: this is steering at run time, the baseline, and not the edit. At the scale 1 it adds what
    steering with gamma = 1 adds, but all of it at the end of a layer, where that layer's MLP cannot answer to the
    attention's part; and a vector that was loaded for both sites of a layer is written twice as long.

    Raises InteropError where no layer but the first has a direction, or the file cannot be written.
    """
    path = Path(path)
    layers = _layer_sums(directions)
    if not layers:
        raise InteropError(
            "No layer above layer 0 has a steering direction, and llama.cpp steers no other. Not written."
        )
    header: dict[str, str | int] = {
        "general.architecture": "controlvector",
        "general.name": directions.provenance.contrast_name,
        "general.description": CONTROL_VECTOR_NOTE,
        "controlvector.model_hint": directions.spec.model_type,
        "controlvector.layer_count": len(layers),
    }
    data = gguf_bytes(header, {f"direction.{layer}": vector for layer, vector in layers.items()})
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InteropError(f"{path.name} could not be written: {error.strerror}; choose another folder.") from error
    return path


def _layer_sums(directions: SteeringDirections) -> dict[int, Tensor]:
    """Layer -> the sum of v over its sites (d,), of layers from 1 on where it is not zero."""
    sums: dict[int, Tensor] = {}
    for site, unit, norm in zip(directions.spec.sites, directions.unit, directions.norm, strict=True):
        if site.layer > 0:
            sums[site.layer] = sums.get(site.layer, torch.zeros_like(unit)) + norm * unit
    return {layer: vector for layer, vector in sorted(sums.items()) if bool(vector.any())}
