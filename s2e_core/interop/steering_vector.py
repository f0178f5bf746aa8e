"""Reader for steering vectors of other programs: one residual stream vector per layer, in several file formats.

Knows safetensors, numpy arrays, bare tensors in a `.pt` file and GGUF control vectors. A layer's vector becomes v at
every site of the layer; scores then need mean inputs (`capture_inputs`), but no contrast set.
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
from s2e_core.files import GGUFError, read_gguf
from s2e_core.model import LoadedModel
from s2e_core.spec import ModelSpec
from s2e_core.text import readable_size
from s2e_core.values import SteeringDirections

from .checks import (
    READER_ERRORS,
    build_directions,
    check_numbers,
    file_provenance,
    open_limited,
    printable,
)
from .torch_file import load_torch_file

_HEADER = 1_000_000  # bytes for names and shapes, in addition to the numbers
Form = Literal["safetensors", "gguf", "npy", "npz", "torch", "pickle"]
_SUFFIX_OF: Mapping[Form | None, str] = {
    "safetensors": ".safetensors", "gguf": ".gguf", "npy": ".npy", "npz": ".npz", "torch": ".pt", "pickle": ".pt",
}  # fmt: skip
_FIRST_BYTES: Mapping[bytes, Form] = {b"GGUF": "gguf", b"\x93NUMPY": "npy", b"\x80": "pickle"}
_MAX_HEADER = 100_000_000  # bytes of the header of a safetensors file


def file_form(file: BinaryIO, path: Path) -> Form | None:
    """The format of an open file, recognised by its content; None if it is none of these."""
    head = file.read(16)
    if head.startswith(b"PK\x03\x04"):
        return "npz" if _is_npz(file, path) else "torch"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER:
        return "safetensors"
    return next((form for first_bytes, form in _FIRST_BYTES.items() if head.startswith(first_bytes)), None)


def _is_npz(file: BinaryIO, path: Path) -> bool:
    """Whether a zip file is from numpy; if it is damaged, its name decides."""
    try:
        with zipfile.ZipFile(file) as packed:
            return any(name.endswith(".npy") for name in packed.namelist())
    except READER_ERRORS:
        return path.suffix.lower() == ".npz"


def load_steering_vector(path: str | Path, loaded: LoadedModel) -> SteeringDirections:
    """Read a steering vector; the vector of each layer becomes v at both its attention and its MLP output.

    A `.safetensors`, `.npy`, `.npz` or `.pt` file contains one array [L, d], in which row l is for the output of layer
    l, or one vector [d] per layer with the layer's number in its name; a `.gguf` control vector contains `direction.N`,
    F32, for layer N. A layer without a vector is not edited. For scores, capture mean inputs of texts like those that
    the edit is for: `component_scores(loaded, capture_inputs(loaded, examples), directions)`.

    Raises InteropError if the file is damaged, too large, for another model, or contains other than finite numbers.
    """
    path = Path(path)
    spec = loaded.spec
    limit = 16 * (spec.n_layers + 2) * spec.d_model + _HEADER  # 16 bytes: twice those of fp64
    with open_limited(path, limit) as file:
        data = file.read()
        file.seek(0)
        # The content decides; the name only tells which format a damaged file should have.
        suffix = _SUFFIX_OF.get(file_form(file, path), path.suffix.lower())
    if suffix not in _SUFFIX_OF.values():
        suffixes = ", ".join(dict.fromkeys(_SUFFIX_OF.values()))
        raise InteropError(f"{path.name} has an unsupported file type. Expected one of {suffixes}.")
    layers = _layer_vectors(_read_arrays(data, suffix, limit, path), path, loaded)
    zero = torch.zeros(spec.d_model)
    vectors = [layers.get(site.layer, zero) for site in spec.sites]
    if not any(bool(v.any()) for v in vectors):
        raise InteropError(
            f"{path.name} contains no vector other than zero for {loaded.model_id}. Choose another file."
        )
    return build_directions(spec, vectors, file_provenance(loaded, path))


def _read_arrays(data: bytes, suffix: str, limit: int, path: Path) -> Mapping[str, Tensor]:
    """The file's tensors by name."""
    if suffix == ".pt":
        tensors = bare_tensors(load_torch_file(path))
        if tensors is None:
            raise InteropError(
                f"{path.name} contains no bare tensors. Expected one tensor [layers, width], or one per layer."
            )
        return tensors
    try:
        if suffix == ".safetensors":
            return load_safetensors(data)
        if suffix == ".gguf":
            return _read_control_vector(data, path)
        if suffix == ".npy":
            return {"array": _read_npy(data, path)}
        return _read_npz(data, limit, path)
    except GGUFError as error:
        raise InteropError(f"{path.name} cannot be read as a control vector: {error}. Save it again.") from error
    except (SafetensorError, *READER_ERRORS) as error:
        raise InteropError(f"{path.name} is damaged or not a {suffix} file of plain numbers. Save it again.") from error


def bare_tensors(content: object) -> dict[str, Tensor] | None:
    """The tensors by name if a `.pt` file contains one, a list of them or a dictionary of only tensors; else None."""
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    named = content if isinstance(content, dict) else {"array": content}
    return (
        {str(k): t for k, t in named.items()} if named and all(isinstance(t, Tensor) for t in named.values()) else None
    )


def _read_control_vector(data: bytes, path: Path) -> dict[str, Tensor]:
    _, tensors = read_gguf(data)
    other = next((name for name in tensors if not re.fullmatch(r"direction\.\d{1,5}", name)), None)
    if other is not None or not tensors:
        content = f'the tensor "{printable(other)}"' if other else "no tensors"
        raise InteropError(
            f"{path.name} contains {content}. Expected a control vector, with tensors direction.1, direction.2 and so "
            "on."
        )
    return tensors


def _read_npz(data: bytes, limit: int, path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        infos = packed.infolist()
        unpacked = sum(info.file_size for info in infos)
        if unpacked > limit:
            raise InteropError(
                f"{path.name} unpacks to {readable_size(unpacked)}, but a file for this model has at most "
                f"{readable_size(limit)}. It was not opened; choose the right file."
            )
        arrays = {}
        for info in infos:
            with packed.open(info) as entry:  # if the directory claims a smaller size, the entry is cut off
                arrays[info.filename.removesuffix(".npy")] = _read_npy(entry.read(limit), path)
        return (
            {"array": arrays["arr_0"]} if set(arrays) == {"arr_0"} else arrays
        )  # the 0 in numpy's own name is not a layer


def _read_npy(data: bytes, path: Path) -> Tensor:
    """An array whose header claims as many bytes as there are. Objects are refused, because they could run code."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if dtype.hasobject or dtype.kind != "f":
        raise InteropError(
            f"{path.name} contains {dtype} values. Expected floating-point numbers; save the file again."
        )
    if dtype.itemsize * int(np.prod(shape, dtype=object)) != len(data) - stream.tell():
        raise ValueError("the header claims another size")
    stream.seek(0)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64 if dtype.itemsize > 4 else np.float32))


def _layer_vectors(arrays: Mapping[str, Tensor], path: Path, loaded: LoadedModel) -> dict[int, Tensor]:
    """The vector (d,) of each layer, from one array [L, d] or from vectors with a layer's number in their names."""
    spec = loaded.spec
    arrays = {name: _squeeze(tensor, name) for name, tensor in arrays.items()}
    if not arrays:
        raise InteropError(f"{path.name} contains no array. Save it again.")
    name, array = next(iter(arrays.items()))
    if len(arrays) == 1 and (array.dim() == 2 or not re.search(r"\d", name)):
        if array.shape == (spec.n_layers + 1, spec.d_model):
            raise InteropError(
                f"{path.name} has {spec.n_layers + 1} rows, but {loaded.model_id} has {spec.n_layers} layers. If the "
                "first row is for the embedding, remove it: row 0 must be for the output of layer 0."
            )
        if array.dim() != 2:
            raise InteropError(
                f"{path.name} contains one array of the shape {list(array.shape)[:4]}. Expected "
                f"{[spec.n_layers, spec.d_model]}, a row per layer, or one vector per layer with the layer's number in "
                "its name."
            )
        rows = check_numbers(array, (spec.n_layers, spec.d_model), f"{path.name}: its array", loaded)
        return {layer: row.clone() for layer, row in enumerate(rows)}
    layers: dict[int, Tensor] = {}
    for name, tensor in sorted(arrays.items()):
        layer = _parse_layer(name, spec, path)
        if layer in layers:
            raise InteropError(f"{path.name} contains two vectors for layer {layer}. Expected one per layer.")
        layers[layer] = check_numbers(tensor, (spec.d_model,), f"{path.name}: {printable(name)}", loaded)
    return layers


def _squeeze(tensor: Tensor, name: str) -> Tensor:
    """Remove the dimension of length 1 that a mean with `keepdim` leaves: in [L, 1, d], or in [1, d] of one layer."""
    if tensor.layout != torch.strided:
        return tensor
    if tensor.dim() == 3 and tensor.shape[1] == 1:
        return tensor.squeeze(1)
    return tensor[0] if tensor.dim() == 2 and len(tensor) == 1 and re.search(r"\d", name) else tensor


def _parse_layer(name: str, spec: ModelSpec, path: Path) -> int:
    numbers = re.findall(r"\d+", name)
    if len(numbers) != 1:
        raise InteropError(
            f'{path.name} contains the tensor "{printable(name)}". Expected one array with a row per layer, or one '
            "vector per layer with the layer's number, and no other number, in its name."
        )
    if len(numbers[0]) > 5 or int(numbers[0]) >= spec.n_layers:
        raise InteropError(
            f"{path.name} has a vector for layer {numbers[0][:9]}, but the loaded model has the layers 0 to "
            f"{spec.n_layers - 1}. Load the model that the file was made for."
        )
    return int(numbers[0])
