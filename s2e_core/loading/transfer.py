"""Download one file into a cache: resume an earlier try, and check the hash before the file is used.

Knows the session, headers and entity tags of huggingface_hub; no model and no sentence for a person. The client itself
restarts a broken file at its first byte, which costs hours if the file is a shard of many gigabytes.
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
"""Consecutive requests without a single new byte before giving up; one that brought bytes is always followed up."""
PAUSE_SECONDS = 1.0
SILENCE_SECONDS = 20.0
REPORT_BYTES = 1 << 20
"""Bytes between two reports of progress, each of which may stop the transfer."""
BLOCK = 1 << 22
HASHES = {64: "sha256", 40: "git"}
"""Hash by length of the entity tag: the Hub uses the SHA-256 of a large file, else git's SHA-1."""
NAME = re.compile(r"\w[\w.-]*")

Report = Callable[[int], None]
"""Callable that receives the bytes of this file on the disk and may raise to stop the transfer."""


class BrokenTransfer(Exception):
    """Error of a file that stopped arriving, or arrived damaged. `done` bytes are kept for the next try."""

    def __init__(self, done: int, *, damaged: bool = False) -> None:
        super().__init__(f"{done} bytes arrived")
        self.done, self.damaged = done, damaged


def fetch(url: str, blobs: Path, report: Report) -> Path:
    """Download a file of the Hub into the folder `blobs` under its entity tag, as in the client's own cache.

    Raises BrokenTransfer, what the client raises for a refused request, and OSError if the disk refuses. An exception
    raised by `report` ends the transfer; the bytes that have arrived are kept.
    """
    metadata = get_hf_file_metadata(url)
    if metadata.etag is None or not NAME.fullmatch(metadata.etag):  # it becomes a file name
        raise BrokenTransfer(0, damaged=True)
    blob = blobs / metadata.etag
    if blob.exists():
        return blob
    blobs.mkdir(parents=True, exist_ok=True)
    partial = blobs / f"{metadata.etag}.part"
    if partial.exists() and metadata.size is not None and _size(partial) > metadata.size:
        partial.unlink()
    _request_until_complete(url, partial, metadata.size, report)
    if not _is_complete(partial, metadata.etag, metadata.size):
        partial.unlink()
        raise BrokenTransfer(0, damaged=True)
    os.replace(partial, blob)
    return blob


def _request_until_complete(url: str, partial: Path, size: int | None, report: Report) -> None:
    """Request the missing bytes until the file is complete. Raises BrokenTransfer if no more bytes arrive."""
    failures = 0
    while not partial.exists() or size is None or _size(partial) < size:
        before = _size(partial)
        with suppress(httpx2.TransportError):  # broken off: the bytes are kept and the rest is requested again
            _stream(url, partial, report)
            if size is None:
                return
        failures = 0 if _size(partial) > before else failures + 1
        if failures == TRIES:
            raise BrokenTransfer(_size(partial))
        if size is None or _size(partial) < size:
            report(_size(partial))
            time.sleep(PAUSE_SECONDS)


def _stream(url: str, partial: Path, report: Report) -> None:
    """Send one request from the first missing byte; a server may also send the whole file again."""
    present = _size(partial)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if present:
        headers["Range"] = f"bytes={present}-"
    with http_stream_backoff(
        "GET", url, headers=headers, timeout=SILENCE_SECONDS, retry_on_exceptions=(), retry_on_status_codes=(429,)
    ) as response:
        hf_raise_for_status(response)
        is_rest = response.status_code == 206
        done = last_report = present if is_rest else 0
        with partial.open("ab" if is_rest else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                if done - last_report >= REPORT_BYTES:
                    last_report = done
                    report(done)
    report(done)


def _is_complete(path: Path, etag: str, size: int | None) -> bool:
    if size is not None and _size(path) != size:
        return False
    kind = HASHES.get(len(etag))
    if kind is None:
        return True  # a mirror with other tags
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % _size(path), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest() == etag


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
