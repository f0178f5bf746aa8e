"""A steering vector of one's own: one vector of the residual stream per layer, from the files that people have.

Knows safetensors, numpy arrays, bare tensors in a `.pt` and GGUF control vectors. The vector of a layer is taken as v
at every site of that layer; beside it, scores need mean inputs (`capture_inputs`) and no contrast set.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from s2e_core.errors import InteropError
from s2e_core.model import LoadedModel
from s2e_core.spec import ModelSpec
from s2e_core.text import readable_size
from s2e_core.values import SteeringDirections

from .checks import WHAT_DAMAGE_RAISES, directions_of, numbers, open_limited, provenance, shown
from .gguf_file import GGUFError, read_gguf
from .torch_file import load_torch_file

_HEADER = 1_000_000  # bytes for names and shapes, beside the numbers
Form = Literal["safetensors", "gguf", "npy", "npz", "torch", "pickle"]
_SUFFIX_OF: Mapping[Form | None, str] = {
    "safetensors": ".safetensors", "gguf": ".gguf", "npy": ".npy", "npz": ".npz", "torch": ".pt", "pickle": ".pt",
}  # fmt: skip
_BEGINNINGS: Mapping[bytes, Form] = {b"GGUF": "gguf", b"\x93NUMPY": "npy", b"\x80": "pickle"}
_LONGEST_HEADER = 100_000_000  # of safetensors, in bytes


def file_form(file: BinaryIO, path: Path) -> Form | None:
    """The form of an opened file by its content; None where it is none of these."""
    head = file.read(16)
    if head.startswith(b"PK\x03\x04"):
        return "npz" if _holds_arrays(file, path) else "torch"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER:
        return "safetensors"
    return next((form for beginning, form in _BEGINNINGS.items() if head.startswith(beginning)), None)


def _holds_arrays(file: BinaryIO, path: Path) -> bool:
    """Whether a zip is one of numpy's; a damaged one is what its name says."""
    try:
        with zipfile.ZipFile(file) as packed:
            return any(name.endswith(".npy") for name in packed.namelist())
    except WHAT_DAMAGE_RAISES:
        return path.suffix.lower() == ".npz"


def load_steering_vector(path: str | Path, loaded: LoadedModel) -> SteeringDirections:
    """Read a steering vector and take the vector of each layer as v at both its attention and its MLP output.

    A `.safetensors`, `.npy`, `.npz` or `.pt` file holds one array [L, d], row l being the output of layer l, or one
    vector [d] per layer with the layer's number in its name; a `.gguf` control vector holds `direction.N`, F32, for
    layer N. A layer without a vector gets none, hence no edit. For scores, capture mean inputs of texts like those the
    edit is for: `component_scores(loaded, capture_inputs(loaded, examples), directions)`.

    Raises InteropError for a file that is damaged, too large, made for another model or not of finite numbers.
    """
    path = Path(path)
    spec = loaded.spec
    limit = 16 * (spec.n_layers + 2) * spec.d_model + _HEADER  # twice fp64
    with open_limited(path, limit) as file:
        data = file.read()
        file.seek(0)
        # The content counts; the name only tells what a damaged file should have been.
        suffix = _SUFFIX_OF.get(file_form(file, path), path.suffix.lower())
    if suffix not in _SUFFIX_OF.values():
        known = ", ".join(dict.fromkeys(_SUFFIX_OF.values()))
        raise InteropError(f"{path.name} is of a type that is not read. Expected one of {known}.")
    layers = _per_layer(_arrays(data, suffix, limit, path), path, loaded)
    none = torch.zeros(spec.d_model)
    vectors = [layers.get(site.layer, none) for site in spec.sites]
    if not any(bool(v.any()) for v in vectors):
        raise InteropError(f"{path.name} holds no vector other than zero for {loaded.model_id}. Choose another file.")
    return directions_of(spec, vectors, provenance(loaded, path))


def _arrays(data: bytes, suffix: str, limit: int, path: Path) -> Mapping[str, Tensor]:
    """The file's tensors by name."""
    if suffix == ".pt":
        bare = bare_tensors(load_torch_file(path))
        if bare is None:
            raise InteropError(f"{path.name} holds no bare tensors. Expected one of [layers, width], or one per layer.")
        return bare
    try:
        if suffix == ".safetensors":
            return load_safetensors(data)
        if suffix == ".gguf":
            return _control_vector(data, path)
        if suffix == ".npy":
            return {"array": _npy(data, path)}
        return _npz(data, limit, path)
    except GGUFError as error:
        raise InteropError(f"{path.name} is no control vector that can be read: {error}. Save it again.") from error
    except (SafetensorError, *WHAT_DAMAGE_RAISES) as error:
        raise InteropError(f"{path.name} is damaged or no {suffix} file of plain numbers. Save it again.") from error


def bare_tensors(content: object) -> dict[str, Tensor] | None:
    """The tensors by name where a `.pt` file holds one, a list of them, or a dictionary of nothing else; else None."""
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    named = content if isinstance(content, dict) else {"array": content}
    return (
        {str(k): t for k, t in named.items()} if named and all(isinstance(t, Tensor) for t in named.values()) else None
    )


def _control_vector(data: bytes, path: Path) -> dict[str, Tensor]:
    _, tensors = read_gguf(data)
    other = next((name for name in tensors if not re.fullmatch(r"direction\.\d{1,5}", name)), None)
    if other is not None or not tensors:
        found = f'the tensor "{shown(other)}"' if other else "no tensors"
        raise InteropError(
            f"{path.name} holds {found}. Expected a control vector, with tensors direction.1, direction.2 and so on."
        )
    return tensors


def _npz(data: bytes, limit: int, path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        infos = packed.infolist()
        unpacked = sum(info.file_size for info in infos)
        if unpacked > limit:
            raise InteropError(
                f"{path.name} unpacks to {readable_size(unpacked)}, and such a file for this model has at most "
                f"{readable_size(limit)}. It was not opened."
            )
        arrays = {}
        for info in infos:
            with packed.open(info) as entry:  # a directory that claims less than there is cuts the entry off
                arrays[info.filename.removesuffix(".npy")] = _npy(entry.read(limit), path)
        return {"array": arrays["arr_0"]} if set(arrays) == {"arr_0"} else arrays  # numpy's own number, of no layer


def _npy(data: bytes, path: Path) -> Tensor:
    """An array whose header claims as many bytes as there are; objects, which could run code, are refused."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject or dtype.kind != "f":
        raise InteropError(f"{path.name} holds {dtype} values. Expected floating-point numbers; save it again.")
    if dtype.itemsize * int(np.prod(shape, dtype=object)) != len(data) - stream.tell():
        raise ValueError("the header claims another size")
    stream.seek(0)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64 if dtype.itemsize > 4 else np.float32))


def _per_layer(arrays: Mapping[str, Tensor], path: Path, loaded: LoadedModel) -> dict[int, Tensor]:
    """Layer -> its vector (d,), from one array [L, d] or from vectors with a layer's number in their names."""
    spec = loaded.spec
    arrays = {name: _without_ones(tensor, name) for name, tensor in arrays.items()}
    if not arrays:
        raise InteropError(f"{path.name} is empty: it holds no array. Save it again.")
    name, array = next(iter(arrays.items()))
    if len(arrays) == 1 and (array.dim() == 2 or not re.search(r"\d", name)):
        if array.shape == (spec.n_layers + 1, spec.d_model):
            raise InteropError(
                f"{path.name} has {spec.n_layers + 1} rows and {loaded.model_id} {spec.n_layers} layers. If the first "
                "row is the embedding's output, leave it out: row 0 is the output of layer 0."
            )
        if array.dim() != 2:
            raise InteropError(
                f"{path.name} holds one array of the shape {list(array.shape)[:4]}. Expected "
                f"{[spec.n_layers, spec.d_model]}, a row per layer, or one vector per layer with the layer's number in "
                "its name."
            )
        rows = numbers(array, (spec.n_layers, spec.d_model), f"{path.name}: its array", loaded)
        return {layer: row.clone() for layer, row in enumerate(rows)}
    layers: dict[int, Tensor] = {}
    for name, tensor in sorted(arrays.items()):
        layer = _layer(name, spec, path)
        if layer in layers:
            raise InteropError(f"{path.name} holds two vectors for layer {layer}. Expected one per layer.")
        layers[layer] = numbers(tensor, (spec.d_model,), f"{path.name}: {shown(name)}", loaded)
    return layers


def _without_ones(tensor: Tensor, name: str) -> Tensor:
    """Without the dimensions of length 1 that a mean with `keepdim` leaves: [L, 1, d], and [1, d] of one layer."""
    if tensor.layout != torch.strided:
        return tensor
    if tensor.dim() == 3 and tensor.shape[1] == 1:
        return tensor.squeeze(1)
    return tensor[0] if tensor.dim() == 2 and len(tensor) == 1 and re.search(r"\d", name) else tensor


def _layer(name: str, spec: ModelSpec, path: Path) -> int:
    found = re.findall(r"\d+", name)
    if len(found) != 1:
        raise InteropError(
            f'{path.name} holds the tensor "{shown(name)}". Expected one array of a row per layer, or one vector per '
            "layer with the layer's number, and no other, in its name."
        )
    if len(found[0]) > 5 or int(found[0]) >= spec.n_layers:
        raise InteropError(
            f"{path.name} has a vector for layer {found[0][:9]}, but the loaded model has the layers 0 to "
            f"{spec.n_layers - 1}. Load the model it was made for."
        )
    return int(found[0])
