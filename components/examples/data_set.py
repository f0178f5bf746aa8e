"""A data set of the Hub as a file of a visitor's own examples: (store, name) to progress and, at the end, the file.

Knows the store and the core's download; no page. The examples are then read from the file as if it had been uploaded.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from components.shared import data_words as words
from components.shared.store import ModelStore
from components.shared.work import Work
from s2e_core import ContrastDataError
from s2e_core.loading import download_data_set


@dataclass(frozen=True)
class Fetched:
    """A file of a data set, below the server's file cache."""

    path: Path
    sentence: str
    """Which file it is, of which commit."""


def fetched(store: ModelStore, name: str | None) -> Iterator[tuple[int, int] | Fetched]:
    """(bytes that have come, bytes of the file) while a data set is downloaded, then its file; closing it stops that.

    `name` is owner/name or owner/name/file, with or without @revision, or the data set's address. Raises
    ContrastDataError where visitors may not use the Hub, for a file beyond the limit, and for what is not there.
    """
    if not store.hub:
        raise ContrastDataError(words.NO_HUB)
    if not (name or "").strip():
        raise ContrastDataError(words.NO_DATA_SET)
    limit = store.limits.file_megabytes * 1_000_000
    work = Work(lambda progress: download_data_set(name or "", max_bytes=limit, progress=progress))
    with closing(work.ticks()) as ticks:
        yield from ticks
    file, sentence = work.result
    store.work.mkdir(parents=True, exist_ok=True)
    # The page may serve its own files alone, and not the Hub's cache.
    yield Fetched(Path(shutil.copy(file, Path(tempfile.mkdtemp(dir=store.work)) / file.name)), sentence)
