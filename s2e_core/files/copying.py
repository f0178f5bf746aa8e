"""Copy bytes from file to file in counted pieces, so that Stop takes effect within a large file.

Knows files and threads, nothing of models. A second thread can copy what stays the same while the first computes what
changes.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from s2e_core.errors import Cancelled, ExportError
from s2e_core.progress import Progress

CHUNK = 1 << 22
"""Bytes in memory at a time."""
PIECE = 1 << 18
"""Bytes copied or written at a time.

They stay in the processor's cache between reading and writing, and the file cache needs no large stretches of memory
for them: writes of 1 MB took up to six times as long.
"""
TICK = 1 << 24
"""Largest number of bytes between two reports of progress."""
_POLL_SECONDS = 0.1
"""Seconds between two looks at what the other thread has copied."""


class Meter:
    """Counter of bytes that reports them to a progress callable, which may raise `Cancelled`.

    Any thread may count; progress is reported only in the thread that calls `add`, `tell` or `still`.
    """

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, total, progress
        self._last_report, self._step = 0, min(total // 100, TICK)
        self._lock = threading.Lock()

    def count(self, n_bytes: int) -> None:
        with self._lock:
            self.done += n_bytes

    def add(self, n_bytes: int) -> None:
        self.count(n_bytes)
        self.tell()

    def still(self) -> None:
        """Report the same progress again, so that other work can be stopped too."""
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)

    def tell(self) -> None:
        done = self.done
        is_due = done > self._last_report and (done - self._last_report >= self._step or done >= self.total)
        if self.progress is not None and is_due:
            self._last_report = done
            self.progress(min(done, self.total), self.total)


@dataclass(frozen=True)
class Span:
    """Bytes to copy unchanged from one file to another that already exists."""

    source: Path
    start: int
    """First byte in the source."""
    target: Path
    at: int
    """First byte in the target."""
    n_bytes: int


@contextmanager
def copy_alongside(spans: Sequence[Span], meter: Meter) -> Iterator[None]:
    """Copy spans in a second thread while the block runs; they are complete when the block is left.

    The calling thread reports progress. An error in the block, Stop included, ends the copying; an error in the copying
    is raised when the block is left.
    """
    stop = threading.Event()

    def count(n_bytes: int) -> None:
        if stop.is_set():
            raise Cancelled("Stopped.")
        meter.count(n_bytes)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="copy") as pool:
        copying = pool.submit(_copy_spans, spans, count)
        try:
            yield
            while not copying.done():
                wait([copying], timeout=_POLL_SECONDS)
                meter.tell()
        except BaseException:
            stop.set()
            raise
        copying.result()


def _copy_spans(spans: Sequence[Span], count: Callable[[int], None]) -> None:
    for span in spans:
        with open_source(span.source) as reader, span.target.open("r+b") as writer:
            reader.seek(span.start)
            writer.seek(span.at)
            copy_bytes(reader, writer, span.n_bytes, count)


def copy_file(source: Path, target: Path, meter: Meter) -> None:
    """Copy content and mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_source(source) as reader, target.open("wb") as writer:
        copy_bytes(reader, writer, os.fstat(reader.fileno()).st_size, meter.add)
        # The mode is read from the open file, which may have vanished from its folder.
        target.chmod(stat.S_IMODE(os.fstat(reader.fileno()).st_mode))


def copy_bytes(reader: FileIO, writer: BinaryIO, n_bytes: int, count: Callable[[int], None]) -> None:
    """Copy `n_bytes` from the reader's position. Raises ExportError if the file ends before that.

    All pieces go through one buffer, because memory that is touched for the first time costs more than the copying.
    With it, this is as fast as the copy inside the kernel that some systems offer.
    """
    buffer = memoryview(bytearray(min(PIECE, n_bytes)))
    while n_bytes > 0:
        n_read = reader.readinto(buffer[:n_bytes])
        if not n_read:
            raise ExportError("A file of the model became shorter while it was read; download the model again.")
        writer.write(buffer[:n_read])
        count(n_read)
        n_bytes -= n_read


def write_pieces(writer: BinaryIO, content: memoryview) -> None:
    """Write bytes from memory, a piece at a time."""
    for first in range(0, len(content), PIECE):
        writer.write(content[first : first + PIECE])


def open_source(path: Path) -> FileIO:
    """Open a file of the model for reading without a buffer. Raises ExportError if it cannot be read any more."""
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise ExportError(
            f"The model's file {path.name} cannot be read ({error.strerror}); it may have been moved or removed. "
            "Nothing was left behind; load the model again."
        ) from error


def write_files(folder: Path, files: Mapping[str, bytes], meter: Meter) -> None:
    """Write small files, given as content by path relative to `folder`."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        meter.add(len(content))
