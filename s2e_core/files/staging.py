"""A folder or a file that appears only when it is complete: written as a temporary sibling, then renamed.

Knows files and the disk, nothing of models. If anything goes wrong, Stop included, nothing is left behind. A folder
left by a killed process has a telling name, and the next export to the same place removes it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: the person removes leftovers
    fcntl = None  # type: ignore[assignment]

from s2e_core.errors import ExportError
from s2e_core.text import readable_size

LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.unfinished-export")
_YOUNG_SECONDS = 60.0


@contextmanager
def stage_folder(folder: str | Path, n_bytes: int) -> Iterator[Path]:
    """Provide an empty temporary folder that becomes `folder` if the block ends without an error.

    `n_bytes` will be written: too little free space is an error before the first byte. Raises ExportError if `folder`
    contains files, and for every error of the disk.
    """
    target = Path(os.path.abspath(folder))
    check_empty(target)
    anchor = next(parent for parent in target.parents if parent.is_dir())
    _remove_leftovers(anchor)
    _check_space(anchor, target, n_bytes)
    temporary = anchor / f".{target.name}.{uuid.uuid4().hex[:8]}.unfinished-export"
    lock = None
    try:
        temporary.mkdir()
        lock = _lock(temporary)
        yield temporary
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmdir()  # empty; a rename onto an existing folder is not allowed everywhere
        temporary.rename(target)
    except OSError as error:
        raise ExportError(_explain_disk_error(error, target, n_bytes)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` create a temporary file beside `path`, which then takes the place of `path`.

    If that fails, Stop included, `path` is as it was before and the temporary file is removed. Raises what `write`
    raises, and OSError if the file cannot be renamed.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _lock(folder: Path) -> int | None:
    """Open a folder and lock it until it is closed or this process ends; None if it is in use or locks do not work."""
    if fcntl is None:
        return None
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return descriptor
    return None


def _remove_leftovers(anchor: Path) -> None:
    """Remove what killed exports left here; a running export keeps its folder locked."""
    for path in anchor.iterdir() if os.access(anchor, os.R_OK) else ():
        if not LEFTOVER.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        lock = _lock(path)
        if lock is None:
            continue
        # An empty young folder may belong to an export that is about to lock it.
        if os.listdir(lock) or time.time() - os.fstat(lock).st_mtime > _YOUNG_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def check_empty(target: Path) -> None:
    """Raise ExportError if an export cannot become `target`, because it contains files or is a file."""
    if target.is_dir() and any(target.iterdir()):
        raise ExportError(f"The folder {target.name} already contains files; choose a new or an empty folder.")
    for path in (target, *target.parents):
        if os.path.lexists(path) and not path.is_dir():
            raise ExportError(f"{path.name} is a file; choose a new or an empty folder.")


def _check_space(anchor: Path, target: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(anchor).free
    if free < n_bytes:
        raise ExportError(
            f"The export needs {readable_size(n_bytes)}, but the disk of {target.name} has {readable_size(free)} free; "
            "make room, choose another disk, or export the adapter, which is small."
        )


def _explain_disk_error(error: OSError, target: Path, n_bytes: int) -> str:
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
    file = f" ({Path(error.filename).name})" if error.filename else ""
    return (
        f"{target.name} could not be written: {error.strerror or error}{file}; check that the model's folder still "
        "exists and that the target can be written. Nothing was left behind."
    )
