"""Writer of control vectors for llama.cpp from steering directions.

Knows what llama.cpp reads. Such a file steers activations; it is not the edit of the weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from s2e_core.errors import InteropError
from s2e_core.files import encode_gguf, write_whole
from s2e_core.values import SteeringDirections

CONTROL_VECTOR_NOTE = (
    "Activation steering, not the weight edit: llama.cpp adds these vectors to the residual stream after each layer, "
    "at every token, as long as it runs with them. Each vector is the sum of the layer's steering directions, those of "
    "the attention and of the MLP output. llama.cpp has no control vector for layer 0, so its directions are left out."
)
"""Description of an exported control vector, which the file contains as well."""


def save_control_vector(directions: SteeringDirections, path: str | Path) -> Path:
    """Write steering directions as a GGUF control vector for llama.cpp, completely or not at all.

    See CONTROL_VECTOR_NOTE: this is steering at run time, the baseline, not the edit. At scale 1 it adds what steering
    with gamma = 1 adds, but all of it at the end of a layer, so that the layer's MLP does not see the attention's part.
    A vector that was loaded for both sites of a layer is written at twice its length.

    Raises InteropError if no layer above layer 0 has a direction, or if the file cannot be written.
    """
    path = Path(path)
    layers = _layer_sums(directions)
    if not layers:
        raise InteropError(
            "No layer above layer 0 has a steering direction, and llama.cpp cannot steer layer 0. Nothing was written."
        )
    header: dict[str, str | int] = {
        "general.architecture": "controlvector",
        "general.name": directions.provenance.contrast_name,
        "general.description": CONTROL_VECTOR_NOTE,
        "controlvector.model_hint": directions.spec.model_type,
        "controlvector.layer_count": len(layers),
    }
    data = encode_gguf(header, {f"direction.{layer}": vector for layer, vector in layers.items()})
    try:
        write_whole(path, lambda temporary: temporary.write_bytes(data))
    except OSError as error:
        raise InteropError(f"{path.name} could not be written ({error.strerror}). Choose another folder.") from error
    return path


def _layer_sums(directions: SteeringDirections) -> dict[int, Tensor]:
    """The sum of v over the sites of each layer (d,), without layer 0 and without sums that are zero."""
    sums: dict[int, Tensor] = {}
    for site, unit, norm in zip(directions.spec.sites, directions.unit, directions.norm, strict=True):
        if site.layer > 0:
            sums[site.layer] = sums.get(site.layer, torch.zeros_like(unit)) + norm * unit
    return {layer: vector for layer, vector in sorted(sums.items()) if bool(vector.any())}
