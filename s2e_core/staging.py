"""A folder that appears only when it is complete: written as a temporary sibling, renamed at the end.

Knows files and the disk, nothing of models. Whatever goes wrong in between, Stop included, leaves nothing behind; what
a killed process leaves has a telling name, and the next export into the same place removes it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: leftovers stay, for the person to remove
    fcntl = None  # type: ignore[assignment]

from .errors import ExportError
from .types import Progress

CHUNK = 1 << 22
"""Bytes held in memory at a time."""
PIECE = 1 << 18
"""Bytes copied or written at a time. They stay in the processor's cache between reading and writing, and the file cache
needs no large stretches of memory for them: writes of 1 MB were seen to take up to six times as long."""
TICK = 1 << 24
"""Bytes after which progress is told at the latest."""
LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.unfinished-export")
_YOUNG_SECONDS = 60.0


class Meter:
    """Counts bytes and reports them to a progress callable, which may raise `Cancelled`."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, total, progress
        self._told, self._step = 0, min(total // 100, TICK)

    def add(self, n_bytes: int) -> None:
        self.done += n_bytes
        if self.progress is not None and (self.done - self._told >= self._step or self.done >= self.total):
            self._told = self.done
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
    _remove_leftovers(anchor)
    _check_space(anchor, target, n_bytes)
    temporary = anchor / f".{target.name}.{uuid.uuid4().hex[:8]}.unfinished-export"
    lock = None
    try:
        temporary.mkdir()
        lock = _locked(temporary)
        yield temporary
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmdir()  # empty; a rename onto an existing folder is not allowed everywhere
        temporary.rename(target)
    except OSError as error:
        raise ExportError(_disk_sentence(error, target, n_bytes)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """An open folder, locked until it is closed or this process ends; None where it is in use or locks do not work."""
    if fcntl is None:
        return None
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(opened)
        else:
            return opened
    return None


def _remove_leftovers(anchor: Path) -> None:
    """Remove what exports that were killed left here; a running one holds the lock of its folder."""
    for path in anchor.iterdir() if os.access(anchor, os.R_OK) else ():
        if not LEFTOVER.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        lock = _locked(path)
        if lock is None:
            continue
        # An empty young folder may belong to an export that is about to lock it.
        if os.listdir(lock) or time.time() - os.fstat(lock).st_mtime > _YOUNG_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def copy_file(source: Path, target: Path, meter: Meter) -> None:
    """Copy content and mode, piece by piece so that Stop takes effect within a large file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_source(source) as reader, target.open("wb") as writer:
        copy_bytes(reader, writer, os.fstat(reader.fileno()).st_size, meter)
        copy_mode(reader, target)


def copy_bytes(reader: FileIO, writer: BinaryIO, n_bytes: int, meter: Meter) -> None:
    """Copy that many bytes from the reader's position. Raises ExportError where the file ends before.

    All pieces go through one buffer: memory that is touched for the first time costs more than the copying. With it,
    this is as fast as the copy inside the kernel that some systems offer.
    """
    buffer = memoryview(bytearray(min(PIECE, n_bytes)))
    while n_bytes > 0:
        n_read = reader.readinto(buffer[:n_bytes])
        if not n_read:
            raise ExportError("A file of the model became shorter while it was read; download the model again.")
        writer.write(buffer[:n_read])
        meter.add(n_read)
        n_bytes -= n_read


def write_pieces(writer: BinaryIO, content: memoryview) -> None:
    """Write bytes that are in memory already."""
    for first in range(0, len(content), PIECE):
        writer.write(content[first : first + PIECE])


def open_source(path: Path) -> FileIO:
    """A file of the model, to be read without a buffer. Raises ExportError where that is not possible any more."""
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise ExportError(
            f"The model's file {path.name} cannot be read ({error.strerror}); it may have been moved or removed. "
            "Nothing was left behind; load the model again."
        ) from error


def copy_mode(reader: BinaryIO, target: Path) -> None:
    """Give `target` the permissions of an open file, which may have vanished from its folder meanwhile."""
    target.chmod(stat.S_IMODE(os.fstat(reader.fileno()).st_mode))


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
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return (
            f"{target.name} could not be written: {error.strerror}; choose a folder that you may write to. Nothing was "
            "left behind."
        )
    where = f" ({Path(error.filename).name})" if error.filename else ""
    return (
        f"{target.name} could not be written: {error.strerror or error}{where}; check that the model's folder still "
        "exists and that the target can be written. Nothing was left behind."
    )
