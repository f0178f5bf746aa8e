"""Other weights for the sites of a model: with a recipe or an adapter on top, or as a checkpoint file stores them.

Knows files that can hold nothing but numbers (safetensors, JSON, and an archive of these); nothing is unpickled, and
one weight is in memory at a time. What a file is, is told from its content.
"""

from __future__ import annotations

import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from s2e_core.errors import InteropError
from s2e_core.export import CONFIG_FILE, RECIPE_FILE, WEIGHTS_FILE, Piece, is_recipe_header, load_edit, locate
from s2e_core.files import FLOATS, CheckpointError, StoredTensor, open_checkpoint, read_rows, read_shard
from s2e_core.model import LoadedModel
from s2e_core.values import WeightEdit, WeightSource

from .lora import is_adapter, open_adapter
from .on_base import OnBase

SAFETENSORS, ARCHIVE, INDEX_END = ".safetensors", ".zip", ".safetensors.index.json"
MOST_FILES = 200
"""Files of an archive that are looked at."""
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, NotImplementedError, RuntimeError, EOFError,
    ValueError,
)  # fmt: skip
"""What zipfile raises for an archive that is cut off, altered, encrypted or of a kind it does not know."""


@dataclass(frozen=True, eq=False)
class WithEdit(OnBase):
    """The weights of a base model as an edit would change them, with nothing rounded."""

    edit: WeightEdit

    def blocks(self, site: int) -> Iterator[Tensor]:
        """Blocks (d, n) of the weight, fp32; see `WeightSource.blocks`."""
        first = 0
        for block in self.base.blocks(site):
            for part in self.edit.parts:
                right = part.right[site][first : first + block.shape[1]].to(block)
                block = torch.addr(block, part.left[site].to(block), right)
            first += block.shape[1]
            yield block


@dataclass(frozen=True, eq=False)
class StoredWeights(OnBase):
    """The weights of a checkpoint of the same architecture, read from its files."""

    pieces: tuple[tuple[Piece, ...], ...]
    """Stored tensors of every site."""

    def blocks(self, site: int) -> Iterator[Tensor]:
        """Blocks (d, n) of the weight, fp32; see `WeightSource.blocks`."""
        experts = max(self.spec.sites[site].experts, 1)
        per_expert = self.spec.sites[site].n_inputs // experts
        for piece in self.pieces[site]:
            rows = torch.cat([part for _, part in read_rows(piece.tensor)]).float()
            if not bool(rows.isfinite().all()):
                raise InteropError(
                    f"{piece.tensor.name} contains values that are not finite. Save the checkpoint again."
                )
            matrices = rows.split(per_expert if piece.transposed else self.spec.d_model)
            yield from (matrix.T for matrix in matrices) if piece.transposed else matrices


def is_weights(path: Path) -> bool:
    """Whether a path is for `open_weights`: a safetensors file, or a folder that is no whole model."""
    if path.is_file():
        return path.suffix == SAFETENSORS
    return path.is_dir() and (path / CONFIG_FILE).is_file() and not (path / "config.json").is_file()


def open_weights(base: LoadedModel, path: str | Path) -> WeightSource:
    """The weights that a recipe, a LoRA adapter or a checkpoint would give the sites of `base`.

    `path` is a safetensors file, a folder with one of these, or a folder that `unpack` made. A checkpoint's tensors
    have the names and shapes of `base`. Raises InteropError if it is none of them, or is for another model, RecipeError
    for a recipe of another model.
    """
    path = Path(path)
    if path.is_dir():
        files = [file for file in path.glob("*") if file.name.endswith((SAFETENSORS, INDEX_END))]
        if len(files) == 1 and files[0].suffix == SAFETENSORS and files[0].name != WEIGHTS_FILE:
            return open_weights(base, files[0])  # whatever it is called
        if (path / CONFIG_FILE).is_file() or (path / WEIGHTS_FILE).is_file():
            return open_adapter(base, path)
        return _stored(base, _tensors_of(path), path.name)
    if path.suffix != SAFETENSORS:
        raise InteropError(
            f"{path.name} is no safetensors file. Give a recipe, a LoRA adapter or a checkpoint as safetensors; other "
            "formats can run code when they are read."
        )
    if _is_recipe(path):
        return WithEdit(base, load_edit(path, base=base))
    tensors = _tensors_of(path)
    return open_adapter(base, path) if is_adapter(tensors) else _stored(base, tensors, path.name)


def unpack(archive: str | Path, folder: str | Path, most_bytes: int) -> Path:
    """The weights and adapter files of a zip, in `folder`, each under its plain name; other files stay inside.

    Raises InteropError if the archive is damaged, has none, has two of one name, or unpacks to more than `most_bytes`.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    left = most_bytes
    try:
        with zipfile.ZipFile(archive) as packed:
            wanted = [one for one in packed.infolist()[:MOST_FILES] if _is_wanted(PurePosixPath(one.filename).name)]
            names = [PurePosixPath(one.filename).name for one in wanted]
            if not wanted or len(set(names)) < len(names):
                raise InteropError(
                    f"{archive.name} contains {'no safetensors file' if not wanted else 'two files of one name'}. "
                    "Give the archive of one checkpoint or one adapter."
                )
            for entry, name in zip(wanted, names, strict=True):
                left -= entry.file_size
                if left < 0:
                    raise InteropError(f"{archive.name} unpacks to more than {most_bytes // 1_000_000} MB.")
                with packed.open(entry) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except OSError as error:
        raise InteropError(
            f"{archive.name} cannot be unpacked here ({error.strerror or error}). Make room, or upload it again."
        ) from error
    except DAMAGED as error:
        raise InteropError(f"{archive.name} cannot be unpacked. Pack the files again, without a password.") from error
    for name in {RECIPE_FILE} & set(names) if len(names) > 1 else ():
        (folder / name).unlink()  # what an export has beside its weights
    return folder


def _is_wanted(name: str) -> bool:
    return name == CONFIG_FILE or (name.endswith((SAFETENSORS, INDEX_END)) and not name.startswith("."))


def _is_recipe(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_recipe_header(file)
    except OSError as error:
        raise InteropError(f"{path.name} cannot be read ({error.strerror}). Choose another file.") from error


def _tensors_of(path: Path) -> Mapping[str, StoredTensor]:
    try:
        if path.is_dir():
            return open_checkpoint(path).tensors()
        return {tensor.name: tensor for tensor in read_shard(path).tensors}
    except CheckpointError as error:
        raise InteropError(
            f"{error.problem}. Give a complete safetensors file; a renamed file of another kind is none."
        ) from error


def _stored(base: LoadedModel, tensors: Mapping[str, StoredTensor], name: str) -> StoredWeights:
    """The tensors that have the names under which the base's own checkpoint stores its sites."""
    own = locate(open_checkpoint(base.source), base, range(len(base.spec.sites)))
    return StoredWeights(
        base, tuple(tuple(_other(base, piece, tensors, name) for piece in pieces) for _, pieces in own)
    )


def _other(base: LoadedModel, piece: Piece, tensors: Mapping[str, StoredTensor], name: str) -> Piece:
    found = tensors.get(piece.tensor.name)
    if found is None:
        raise InteropError(
            f"{name} has no tensor {piece.tensor.name}, so it is no checkpoint of {base.model_id}. Choose two "
            "checkpoints of one architecture."
        )
    if found.dtype not in FLOATS or found.shape != piece.tensor.shape:
        theirs, ours = (" x ".join(map(str, tensor.shape)) for tensor in (found, piece.tensor))
        raise InteropError(
            f"{found.name} of {name} is {theirs} in {found.dtype}, where {base.model_id} has {ours} floating-point "
            "numbers. Choose two checkpoints of one architecture and size."
        )
    return replace(piece, tensor=found)
