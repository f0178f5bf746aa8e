"""A folder that appears only when it is complete: written as a temporary sibling, renamed at the end.

Knows files and the disk, nothing of models. Whatever goes wrong in between, Stop included, leaves nothing behind.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import ExportError
from .types import Progress

CHUNK = 1 << 24
"""Bytes held in memory at a time."""


class Meter:
    """Counts bytes and reports them to a progress callable, which may raise `Cancelled`."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def add(self, n_bytes: int) -> None:
        self.done += n_bytes
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)


@contextmanager
def staged(folder: str | Path, n_bytes: int) -> Iterator[Path]:
    """An empty temporary folder on the disk of `folder`; it becomes `folder` when the block ends without an error.

    `n_bytes` is what will be written: too little free space is an error before the first byte. Raises ExportError for
    a target that holds files and for everything the disk refuses.
    """
    target = Path(os.path.abspath(folder))
    _check_empty(target)
    anchor = next(parent for parent in target.parents if parent.is_dir())
    _check_space(anchor, target, n_bytes)
    temporary = anchor / f".{target.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        temporary.mkdir()
        yield temporary
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmdir()  # empty; a rename onto an existing folder is not allowed everywhere
        temporary.rename(target)
    except OSError as error:
        raise ExportError(_disk_sentence(error, target, n_bytes)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def copy_file(source: Path, target: Path, meter: Meter) -> None:
    """Copy content and mode, chunk by chunk so that Stop takes effect within a large file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb", buffering=0) as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK):
            writer.write(chunk)
            meter.add(len(chunk))
    shutil.copymode(source, target)


def write_files(folder: Path, files: Mapping[str, bytes], meter: Meter) -> None:
    """Write small files whose content is known, by path relative to `folder`."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        meter.add(len(content))


def readable_size(n_bytes: float) -> str:
    """A size for a person: 1234567 is '1.2 MB'."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} bytes" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def _check_empty(target: Path) -> None:
    if target.is_dir() and any(target.iterdir()):
        raise ExportError(f"The folder {target.name} already holds files; choose a new or an empty folder.")
    for place in (target, *target.parents):
        if os.path.lexists(place) and not place.is_dir():
            raise ExportError(f"{place.name} is a file; choose a new or an empty folder.")


def _check_space(anchor: Path, target: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(anchor).free
    if free < n_bytes:
        raise ExportError(
            f"The export needs {readable_size(n_bytes)}, but the disk of {target.name} has {readable_size(free)} free; "
            "make room, choose another disk, or export the adapter, which is small."
        )


def _disk_sentence(error: OSError, target: Path, n_bytes: int) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk of {target.name} is full: the export needs {readable_size(n_bytes)}; make room or choose "
            "another disk. Nothing was left behind."
        )
    where = f" ({Path(error.filename).name})" if error.filename else ""
    return (
        f"{target.name} could not be written: {error.strerror or error}{where}; check that the model's folder still "
        "exists and that the target can be written. Nothing was left behind."
    )
