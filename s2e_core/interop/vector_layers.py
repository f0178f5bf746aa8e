"""The layers of a steering vector: which array of a file, or which row of it, is for the output of which layer.

Knows arrays with names and the loaded model's layers; no file format. What a file leaves open is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from s2e_core.errors import InteropError
from s2e_core.model import LoadedModel

from .checks import check_numbers, printable

LAYER_ENTRIES = ("layer", "layer_idx", "layer_id", "layer_index")
"""Names of an entry beside one vector that is the number of its layer."""
_LAYER_IN_NAME = re.compile(r"(?<![a-z])(?:layer|l)[ _.-]?(\d{1,5})(?!\d)", re.IGNORECASE)


@dataclass(frozen=True)
class LayerChoice:
    """What a person says about the layers of a file."""

    layer: int | None = None
    """Layer of the only vector of a file, counted from 0; None if the file says it."""
    skip_first: bool = False
    """True if the first row is for the embedding and is left out."""


class OpenLayers(InteropError):
    """A steering vector whose layers a person has to say; `needs` is the field of LayerChoice."""

    def __init__(self, message: str, needs: Literal["layer", "skip_first"]) -> None:
        super().__init__(message)
        self.needs = needs


def place_vectors(
    arrays: Mapping[str, Tensor], path: Path, loaded: LoadedModel, choice: LayerChoice, named: int | None
) -> dict[int, Tensor]:
    """The vector (d,) of each layer; `named` is the layer that an entry of the file names, or None.

    From one array [L, d] with a row per layer or [L + 1, d] with the embedding first, from vectors with a layer's
    number in their names, or from one vector of one layer. Raises OpenLayers if the file leaves open which layers
    they are, InteropError if it does not fit the model or what was said.
    """
    spec = loaded.spec
    arrays = {name: _squeeze(tensor, name) for name, tensor in arrays.items()}
    if not arrays:
        raise InteropError(f"{path.name} contains no array. Save it again.")
    name, array = next(iter(arrays.items()))
    if len(arrays) == 1 and (array.dim() == 2 or not re.search(r"\d", name)):
        single = array[0] if array.dim() == 2 and len(array) == 1 and spec.n_layers > 1 else array
        if single.dim() == 1:
            return _one_vector(single, path, loaded, choice, named)
        return _rows(array, path, loaded, choice)
    _refuse_layer(path, choice)
    return _named_vectors(arrays, path, loaded, skip_first=choice.skip_first)


def _one_vector(
    vector: Tensor, path: Path, loaded: LoadedModel, choice: LayerChoice, named: int | None
) -> dict[int, Tensor]:
    """One vector of one layer: that which was said, or an entry or the file's name names."""
    spec = loaded.spec
    vector = check_numbers(vector, (spec.d_model,), f"{path.name}: its vector", loaded)
    if choice.skip_first:
        raise InteropError(f"{path.name} contains one vector and no first row to leave out. Leave that setting out.")
    in_name = {int(number) for number in _LAYER_IN_NAME.findall(path.stem)}
    layer = choice.layer if choice.layer is not None else named
    if layer is None and len(in_name) == 1:
        layer = in_name.pop()
    if layer is None:
        raise OpenLayers(
            f"{path.name} contains one vector, and neither its name nor an entry says of which layer. Give the layer, "
            f"0 to {spec.n_layers - 1}: --layer with the command import, or the field on the page.",
            "layer",
        )
    if not 0 <= layer < spec.n_layers:
        raise OpenLayers(
            f"{path.name} has a vector for layer {layer}, but the loaded model has the layers 0 to "
            f"{spec.n_layers - 1}. Load the model that the file was made for, or give another layer.",
            "layer",
        )
    return {layer: vector}


def _rows(array: Tensor, path: Path, loaded: LoadedModel, choice: LayerChoice) -> dict[int, Tensor]:
    """The rows of one array, one per layer."""
    spec = loaded.spec
    _refuse_layer(path, choice)
    if array.dim() != 2:
        raise InteropError(
            f"{path.name} contains one array of the shape {list(array.shape)[:4]}. Expected "
            f"{[spec.n_layers, spec.d_model]}, a row per layer, one vector per layer with the layer's number in its "
            "name, or one vector of one layer."
        )
    has_more = array.shape == (spec.n_layers + 1, spec.d_model)
    if has_more and not choice.skip_first:
        raise OpenLayers(
            f"{path.name} has {spec.n_layers + 1} rows, but {loaded.model_id} has {spec.n_layers} layers. If the first "
            "row is for the embedding, have it left out: --skip-first with the command import, or the box on the page.",
            "skip_first",
        )
    if choice.skip_first and not has_more:
        raise InteropError(
            f"{path.name} has the shape {list(array.shape)[:4]} and no row for the embedding: that would be "
            f"{[spec.n_layers + 1, spec.d_model]} for {loaded.model_id}. Leave its first row in."
        )
    rows = array[1:] if has_more else array
    rows = check_numbers(rows, (spec.n_layers, spec.d_model), f"{path.name}: its array", loaded)
    return {layer: row.clone() for layer, row in enumerate(rows)}


def _named_vectors(
    arrays: Mapping[str, Tensor], path: Path, loaded: LoadedModel, *, skip_first: bool
) -> dict[int, Tensor]:
    """Vectors with a number in their names: of the layer, or with `skip_first` one more."""
    spec = loaded.spec
    numbers = {name: _number(name, path) for name in sorted(arrays)}
    if set(numbers.values()) == set(range(spec.n_layers + 1)) and not skip_first:
        raise OpenLayers(
            f"{path.name} has vectors from 0 to {spec.n_layers}, but {loaded.model_id} has {spec.n_layers} layers. If "
            "vector 0 is for the embedding, have it left out: --skip-first with the command import, or the box on the "
            "page.",
            "skip_first",
        )
    layers: dict[int, Tensor] = {}
    for name, number in numbers.items():
        layer = number - 1 if skip_first else number
        if layer < 0:
            continue
        if layer >= spec.n_layers:
            raise InteropError(
                f"{path.name} has a vector for layer {layer}, but the loaded model has the layers 0 to "
                f"{spec.n_layers - 1}. Load the model that the file was made for."
            )
        if layer in layers:
            raise InteropError(f"{path.name} contains two vectors for layer {layer}. Expected one per layer.")
        layers[layer] = check_numbers(arrays[name], (spec.d_model,), f"{path.name}: {printable(name)}", loaded)
    return layers


def _refuse_layer(path: Path, choice: LayerChoice) -> None:
    if choice.layer is not None:
        raise InteropError(f"{path.name} says itself of which layers its vectors are. Leave the layer out.")


def _squeeze(tensor: Tensor, name: str) -> Tensor:
    """Remove the dimension of length 1 that a mean with `keepdim` leaves: in [L, 1, d], or in [1, d] of one layer."""
    if tensor.layout != torch.strided:
        return tensor
    if tensor.dim() == 3 and tensor.shape[1] == 1:
        return tensor.squeeze(1)
    return tensor[0] if tensor.dim() == 2 and len(tensor) == 1 and re.search(r"\d", name) else tensor


def _number(name: str, path: Path) -> int:
    numbers = re.findall(r"\d+", name)
    if len(numbers) != 1:
        raise InteropError(
            f'{path.name} contains the tensor "{printable(name)}". Expected one array with a row per layer, or one '
            "vector per layer with the layer's number, and no other number, in its name."
        )
    return int(numbers[0][:9])
