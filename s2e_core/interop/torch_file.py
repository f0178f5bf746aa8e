"""A `.pt` file read as data: tensors, numbers, texts and their containers, and never anything that runs.

Knows the zip form that `torch.save` writes, not what is in it. Sizes are checked in the zip's directory before anything
is unpacked; the older form, one bare pickle, is refused.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch

from s2e_core.errors import InteropError
from s2e_core.text import readable_size

from .checks import WHAT_DAMAGE_RAISES, open_limited

MAX_BYTES = 512_000_000
"""Directions of a model with 400 billion parameters take about 200 MB."""


def load_torch_file(path: Path) -> object:
    """The content of a `.pt` file, tensors on the CPU.

    Raises InteropError, running nothing, for a file that is too large, damaged, packed, or holds other objects.
    """
    with open_limited(path, MAX_BYTES) as file:
        _check_zip(file, path)
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InteropError(
                f"{path.name} holds objects other than tensors, numbers and texts. They could run code, so nothing of "
                "it was loaded; save the bare tensors."
            ) from error
        except WHAT_DAMAGE_RAISES as error:
            raise _damaged(path) from error


def _check_zip(file: BinaryIO, path: Path) -> None:
    if file.read(4) != b"PK\x03\x04":
        raise InteropError(
            f"{path.name} is not in the form that torch.save writes since version 1.6. Older files can run code when "
            "they are read, so they are refused; save it again with a current torch."
        )
    size = file.seek(0, 2)
    try:
        with zipfile.ZipFile(file) as packed:
            infos = packed.infolist()
    except WHAT_DAMAGE_RAISES as error:
        raise _damaged(path) from error
    unpacked = sum(info.file_size for info in infos)
    if unpacked > size or any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise InteropError(
            f"{path.name} has {readable_size(size)} and unpacks to {readable_size(unpacked)}; torch.save packs "
            "nothing. It was not opened; save it again."
        )


def _damaged(path: Path) -> InteropError:
    return InteropError(f"{path.name} is damaged or cut off. Copy or save it again.")
