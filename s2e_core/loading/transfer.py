"""One file over HTTP into a cache: goes on where an earlier try stopped, and is checked by its hash before it counts.

Knows the session, headers and entity tags of huggingface_hub; no model and no sentence for a person. The client itself
starts a broken file from its first byte again, which costs hours where the file is a shard of many gigabytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx2
from huggingface_hub import get_hf_file_metadata
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

TRIES = 3
"""In a row without a single new byte; a connection that breaks but brings something is taken up again and again."""
PAUSE_SECONDS = 1.0
SILENCE_SECONDS = 20.0
REPORT_BYTES = 1 << 20
"""So often progress is told, and a Stop heard."""
BLOCK = 1 << 22
HASHES = {64: "sha256", 40: "git"}
"""An entity tag of the Hub is the file's SHA-256 where it is large, else git's own SHA-1 of it."""

NAME = re.compile(r"\w[\w.-]*")

Arrived = Callable[[int], None]
"""Called with the bytes of this file that are on the disk."""


class BrokenTransfer(Exception):
    """A file that stopped arriving, or arrived other than it was promised. `done` bytes are kept for the next try."""

    def __init__(self, done: int, *, damaged: bool = False) -> None:
        super().__init__(f"{done} bytes arrived")
        self.done, self.damaged = done, damaged


def fetch(url: str, blobs: Path, arrived: Arrived) -> Path:
    """The file behind a Hub URL, in the folder `blobs` under its entity tag, as the client's own cache keeps it.

    Raises BrokenTransfer, what the client raises for a refused request, and OSError where the disk refuses. An
    exception raised by `arrived` ends the transfer; what has come so far is kept.
    """
    promised = get_hf_file_metadata(url)
    if promised.etag is None or not NAME.fullmatch(promised.etag):  # it becomes a file name
        raise BrokenTransfer(0, damaged=True)
    blob = blobs / promised.etag
    if blob.exists():
        return blob
    blobs.mkdir(parents=True, exist_ok=True)
    partial = blobs / f"{promised.etag}.part"
    if partial.exists() and promised.size is not None and _size(partial) > promised.size:
        partial.unlink()
    _persist(url, partial, promised.size, arrived)
    if not _is_whole(partial, promised.etag, promised.size):
        partial.unlink()
        raise BrokenTransfer(0, damaged=True)
    os.replace(partial, blob)
    return blob


def _persist(url: str, partial: Path, size: int | None, arrived: Arrived) -> None:
    """Ask for what is missing until it is there, or nothing comes any more."""
    failures = 0
    while not partial.exists() or size is None or _size(partial) < size:
        before = _size(partial)
        with suppress(httpx2.TransportError):  # broken off: what came is kept, and the rest is asked for again
            _stream(url, partial, arrived)
            if size is None:
                return
        failures = 0 if _size(partial) > before else failures + 1
        if failures == TRIES:
            raise BrokenTransfer(_size(partial))
        if size is None or _size(partial) < size:
            arrived(_size(partial))
            time.sleep(PAUSE_SECONDS)


def _stream(url: str, partial: Path, arrived: Arrived) -> None:
    """One request, from the first byte that is missing; a server that sends the whole file again is taken at that."""
    have = _size(partial)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with http_stream_backoff(
        "GET", url, headers=headers, timeout=SILENCE_SECONDS, retry_on_exceptions=(), retry_on_status_codes=(429,)
    ) as response:
        hf_raise_for_status(response)
        goes_on = response.status_code == 206
        done = told = have if goes_on else 0
        with partial.open("ab" if goes_on else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                if done - told >= REPORT_BYTES:
                    told = done
                    arrived(done)
    arrived(done)


def _is_whole(path: Path, etag: str, size: int | None) -> bool:
    if size is not None and _size(path) != size:
        return False
    kind = HASHES.get(len(etag))
    if kind is None:
        return True  # a mirror with tags of its own
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % _size(path), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest() == etag


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
