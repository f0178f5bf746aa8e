"""Reader for steering vectors of other programs: one residual stream vector per layer, in several file formats.

Knows safetensors, numpy arrays, bare tensors in a `.pt` file, GGUF control vectors and `.svec` files, the JSON of IBM's
activation-steering; `vector_layers` knows which array is for which layer. A layer's vector becomes v at every site of
the layer; scores then need mean inputs (`capture_inputs`), but no contrast set.
"""

from __future__ import annotations

import io
import json
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
from s2e_core.text import readable_size
from s2e_core.values import SteeringDirections

from .checks import (
    READER_ERRORS,
    build_directions,
    file_provenance,
    open_limited,
    printable,
)
from .torch_file import load_torch_file
from .vector_layers import LAYER_ENTRIES, LayerChoice, place_vectors

_BYTES = 32  # for a number: those of fp64 four times, or its digits in a .svec file
_HEADER = 1_000_000  # bytes for names and shapes, in addition to the numbers
Form = Literal["safetensors", "gguf", "npy", "npz", "torch", "pickle", "svec"]
_SUFFIX_OF: Mapping[Form | None, str] = {
    "safetensors": ".safetensors", "gguf": ".gguf", "npy": ".npy", "npz": ".npz", "torch": ".pt", "pickle": ".pt",
    "svec": ".svec",
}  # fmt: skip
_FIRST_BYTES: Mapping[bytes, Form] = {b"GGUF": "gguf", b"\x93NUMPY": "npy", b"\x80": "pickle"}
AS_IN_FILE = LayerChoice()
_MAX_HEADER = 100_000_000  # bytes of the header of a safetensors file


def file_form(file: BinaryIO, path: Path) -> Form | None:
    """The format of an open file, recognised by its content; None if it is none of these."""
    head = file.read(16)
    if head.startswith(b"PK\x03\x04"):
        return "npz" if _is_npz(file, path) else "torch"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER:
        return "safetensors"
    if path.suffix.lower() == ".svec" and head.lstrip().startswith(b"{"):  # the content alone could be examples
        return "svec"
    return next((form for first_bytes, form in _FIRST_BYTES.items() if head.startswith(first_bytes)), None)


def _is_npz(file: BinaryIO, path: Path) -> bool:
    """Whether a zip file is from numpy; if it is damaged, its name decides."""
    try:
        with zipfile.ZipFile(file) as packed:
            return any(name.endswith(".npy") for name in packed.namelist())
    except READER_ERRORS:
        return path.suffix.lower() == ".npz"


def load_steering_vector(path: str | Path, loaded: LoadedModel, choice: LayerChoice = AS_IN_FILE) -> SteeringDirections:
    """Read a steering vector; the vector of each layer becomes v at both its attention and its MLP output.

    A `.safetensors`, `.npy`, `.npz` or `.pt` file contains one array [L, d], in which row l is for the output of layer
    l, or one vector [d] per layer with the layer's number in its name; or one vector [d] of one layer, which is that of
    the `choice`, of an entry `layer`, or of the file's name. In an array [L + 1, d] the first row is for the
    embedding if the choice says so. A `.gguf` control vector contains `direction.N`, F32, for layer N, a `.svec`
    file `directions` by layer. A layer without a vector is not edited. For scores, capture mean inputs of texts like
    those that the edit is for: `component_scores(loaded, capture_inputs(loaded, examples), directions)`.

    Raises InteropError if the file is damaged, too large, for another model, or contains other than finite numbers.
    """
    path = Path(path)
    spec = loaded.spec
    limit = _BYTES * (spec.n_layers + 2) * spec.d_model + _HEADER
    with open_limited(path, limit) as file:
        data = file.read()
        file.seek(0)
        # The content decides; the name only tells which format a damaged file should have.
        suffix = _SUFFIX_OF.get(file_form(file, path), path.suffix.lower())
    if suffix not in _SUFFIX_OF.values():
        suffixes = ", ".join(dict.fromkeys(_SUFFIX_OF.values()))
        raise InteropError(f"{path.name} has an unsupported file type. Expected one of {suffixes}.")
    arrays, named = _split_layer(_read_arrays(data, suffix, limit, path), path)
    layers = place_vectors(arrays, path, loaded, choice, named)
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
        if suffix == ".svec":
            return _read_svec(data, path)
        if suffix == ".npy":
            return {"array": _read_npy(data, path)}
        return _read_npz(data, limit, path)
    except GGUFError as error:
        raise InteropError(f"{path.name} cannot be read as a control vector: {error}. Save it again.") from error
    except (SafetensorError, RecursionError, *READER_ERRORS) as error:
        raise InteropError(f"{path.name} is damaged or not a {suffix} file of plain numbers. Save it again.") from error


def bare_tensors(content: object) -> dict[str, Tensor] | None:
    """The tensors by name if a `.pt` file contains one, a list of them or a dictionary of only tensors; else None.

    Beside an entry that is the number of a layer, a dictionary may contain other entries, which are left out.
    """
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    named = content if isinstance(content, dict) else {"array": content}
    numbers = {k: torch.tensor(v) for k, v in named.items() if k in LAYER_ENTRIES and type(v) is int and v < 1 << 31}
    tensors = {k: v for k, v in named.items() if isinstance(v, Tensor)}
    if numbers and tensors:
        named = tensors | numbers
    return (
        {str(k): t for k, t in named.items()} if named and all(isinstance(t, Tensor) for t in named.values()) else None
    )


def _split_layer(arrays: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], int | None]:
    """The vectors, and the layer that an entry beside one vector names; None if there is no such entry."""
    entries = [n for n, t in arrays.items() if n in LAYER_ENTRIES and t.numel() == 1 and not t.is_floating_point()]
    if not entries:
        return dict(arrays), None
    vectors = {name: tensor for name, tensor in arrays.items() if name not in entries}
    if len(entries) > 1 or len(vectors) > 1:
        raise InteropError(
            f"{path.name} contains {len(vectors)} arrays beside the number of a layer. Expected one vector of that "
            "layer."
        )
    return vectors, int(arrays[entries[0]])


def _read_svec(data: bytes, path: Path) -> dict[str, Tensor]:
    content = json.loads(data)
    directions = content.get("directions") if isinstance(content, dict) else None
    if not isinstance(directions, dict) or not directions:
        raise InteropError(f'{path.name} contains no "directions" by layer. Expected a file of activation-steering.')
    return {str(layer): torch.tensor(vector, dtype=torch.float64) for layer, vector in directions.items()}


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
                name = info.filename.removesuffix(".npy")
                arrays[name] = _read_npy(entry.read(limit), path, whole=name in LAYER_ENTRIES)
        return (
            {"array": arrays["arr_0"]} if set(arrays) == {"arr_0"} else arrays
        )  # the 0 in numpy's own name is not a layer


def _read_npy(data: bytes, path: Path, *, whole: bool = False) -> Tensor:
    """An array whose header claims as many bytes as there are. Objects are refused, because they could run code.

    `whole` also allows integers, as the number of a layer is.
    """
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if dtype.hasobject or dtype.kind not in ("fiu" if whole else "f"):
        raise InteropError(
            f"{path.name} contains {dtype} values. Expected floating-point numbers; save the file again."
        )
    if dtype.itemsize * int(np.prod(shape, dtype=object)) != len(data) - stream.tell():
        raise ValueError("the header claims another size")
    stream.seek(0)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if dtype.kind != "f":
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64 if dtype.itemsize > 4 else np.float32))
