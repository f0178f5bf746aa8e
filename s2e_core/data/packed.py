"""The bytes of a data file, which may be compressed with gzip, with a limit on what comes out.

Knows bytes and lines; no format of a table.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from s2e_core.errors import ContrastDataError
from s2e_core.text import readable_size

GZIP = ".gz"
MAX_UNPACKED = 1_000_000_000
"""Largest number of characters that are read out of a compressed file."""
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
"""Errors of a compressed file that is damaged."""


def inner_name(path: Path) -> Path:
    """The path without the suffix of the compression."""
    return path.with_suffix("") if path.suffix.lower() == GZIP else path


@contextmanager
def open_unpacked(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked. Raises ContrastDataError if they are damaged, and OSError like `open`."""
    if path.suffix.lower() != GZIP:
        with path.open("rb") as file:
            yield file
        return
    try:
        with gzip.open(path, "rb") as packed:
            yield cast(BinaryIO, packed)
    except DAMAGE as error:
        raise ContrastDataError(
            f"{path.name} is damaged or not compressed with gzip. Save or copy it again."
        ) from error


def limited_lines(stream: TextIO, name: str, most: int, longest: int) -> Iterator[str]:
    """Lines of a text. Raises ContrastDataError if one is longer than `longest`, or all have more than `most`."""
    read = 0
    while line := stream.readline(longest + 1):
        read += len(line)
        if len(line) > longest:
            raise ContrastDataError(f"A line of {name} has more than {longest:,} characters. Expected a row per line.")
        if read > most:
            raise ContrastDataError(
                f"{name} unpacks to more than {readable_size(most)}, the most that is read. Save a part of it."
            )
        yield line
