"""Read a `.pt` file as data: tensors, numbers, texts and their containers, but never anything that runs.

Knows the zip format that `torch.save` writes, not what is in it. Sizes are checked in the zip's directory before
anything is unpacked. The older format, one bare pickle, is refused.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch

from s2e_core.errors import InteropError
from s2e_core.text import readable_size

from .checks import READER_ERRORS, open_limited

MAX_BYTES = 512_000_000
"""Largest file that is read; directions of a model with 400 billion parameters take about 200 MB."""


def load_torch_file(path: Path) -> object:
    """Read the content of a `.pt` file, with tensors on the CPU.

    Raises InteropError, and runs nothing, if the file is too large, damaged, compressed, or contains other objects.
    """
    with open_limited(path, MAX_BYTES) as file:
        _check_zip(file, path)
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InteropError(
                f"{path.name} contains objects other than tensors, numbers and texts. They could run code, so nothing "
                "was loaded. Save only the tensors."
            ) from error
        except READER_ERRORS as error:
            raise _damage_error(path) from error


def _check_zip(file: BinaryIO, path: Path) -> None:
    if file.read(4) != b"PK\x03\x04":
        raise InteropError(
            f"{path.name} is not in the format that torch.save has written since version 1.6. Older files can run code "
            "when they are read, so they are refused. Save it again with a current version of torch."
        )
    size = file.seek(0, 2)
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except READER_ERRORS as error:
        raise _damage_error(path) from error
    unpacked_size = sum(info.file_size for info in infos)
    if unpacked_size > size or any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise InteropError(
            f"{path.name} has {readable_size(size)} and unpacks to {readable_size(unpacked_size)}, but torch.save does "
            "not compress. It was not opened. Save it again with torch.save."
        )


def _damage_error(path: Path) -> InteropError:
    return InteropError(f"{path.name} is damaged or cut off. Copy or save it again.")
