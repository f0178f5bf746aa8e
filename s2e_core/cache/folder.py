"""The folder that keeps extractions between runs: bounded, shared by all processes, and never a cause of errors.

Knows names, sizes and times of files. Whatever goes wrong with the disk, the extraction is computed again.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s2e_core.files import write_whole
from s2e_core.values import Extraction, Provenance

from .extraction_file import load_extraction, n_bytes, save_extraction
from .key import NO_TEXTS, ExtractionKey

MOST_BYTES = 2_000_000_000
"""Most bytes of all files together."""
VARIABLE = "STEER2EDIT_CACHE"
"""Environment variable with the folder."""
_KEPT = re.compile(r"[0-9a-f]{64}-[0-9a-f]{16}\.(safetensors|json)")
_UNFINISHED = re.compile(r"\..*\.part|\.tmp\w{6}")
"""Temporary files, of this program and of safetensors."""
_HOUR = 3600.0


@dataclass(frozen=True, eq=False)
class ExtractionCache:
    """Extractions by what they are computed from, each with an optional JSON object beside it.

    Safe with several processes: a file appears only when it is complete. No method raises an error of the disk.
    """

    folder: Path
    """Folder of its own; it is made if it does not exist."""
    max_bytes: int = MOST_BYTES
    """Most bytes of all files together; the least recently used ones are removed first."""

    def load(self, key: ExtractionKey) -> Extraction | None:
        """The stored extraction, with the names of the model and the examples in `key`; None if there is none.

        One with texts also serves a key without: it is then given without its token inputs.
        """
        for path in self._candidates(key):
            extraction = load_extraction(path, key.loaded, token_inputs=key.texts is not None)
            with suppress(OSError):
                if extraction is not None:
                    os.utime(path)
                    return _with_names(extraction, key.loaded.provenance(key.contrast.name, key.contrast.content_hash))
                path.unlink(missing_ok=True)  # damaged
        return None

    def store(self, key: ExtractionKey, extraction: Extraction) -> None:
        """Write an extraction, unless it is larger than the whole cache may be or cannot be written."""
        if n_bytes(extraction) < self.max_bytes:
            with suppress(OSError):
                save_extraction(extraction, self._new_file(key, "safetensors"))
                self._make_room()

    def load_extra(self, key: ExtractionKey) -> dict[str, Any]:
        """The JSON object that was stored for a key; empty if there is none."""
        path = self._path(key, "json")
        try:
            extra = json.loads(path.read_text(encoding="utf-8"))
            os.utime(path)
        except (OSError, ValueError, RecursionError):
            return {}
        return extra if isinstance(extra, dict) else {}

    def store_extra(self, key: ExtractionKey, extra: Mapping[str, Any]) -> None:
        """Write a JSON object for a key, in place of an earlier one. Raises TypeError for values that JSON lacks."""
        text = json.dumps(dict(extra), sort_keys=True)
        with suppress(OSError):
            write_whole(self._new_file(key, "json"), lambda temporary: temporary.write_text(text, encoding="utf-8"))
            self._make_room()

    def _path(self, key: ExtractionKey, ending: str) -> Path:
        return self.folder / f"{key.name}.{ending}"

    def _new_file(self, key: ExtractionKey, ending: str) -> Path:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the numbers are made from a person's own texts
        return self._path(key, ending)

    def _candidates(self, key: ExtractionKey) -> Iterator[Path]:
        """The file of a key, and for a key without texts those with texts."""
        path = self._path(key, "safetensors")
        if path.is_file():
            yield path
        if key.texts_hash == NO_TEXTS:
            yield from (it for it in sorted(self.folder.glob(f"{key.examples_hash}-*.safetensors")) if it != path)

    def _make_room(self) -> None:
        """Remove the least recently used files until the rest fits, and what killed processes left."""
        kept: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            with suppress(OSError):  # another process may have removed it
                status = path.stat()
                if _KEPT.fullmatch(path.name):
                    kept.append((status.st_mtime, status.st_size, path))
                elif _UNFINISHED.fullmatch(path.name) and time.time() - status.st_mtime > _HOUR:
                    path.unlink()
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept, key=lambda file: file[0]):
            if total <= self.max_bytes:
                return
            with suppress(OSError):
                path.unlink(missing_ok=True)
                total -= size


def default_cache() -> ExtractionCache | None:
    """The cache in the folder of this machine's user; None if the system names no home folder."""
    try:
        return ExtractionCache(cache_folder())
    except RuntimeError:  # from Path.home
        return None


def cache_folder() -> Path:
    """$STEER2EDIT_CACHE, else the folder "steer2edit" of the system's caches, and in it "extractions".

    Raises RuntimeError if the system names no home folder.
    """
    own = os.environ.get(VARIABLE)
    return (Path(own) if own else _system_caches() / "steer2edit") / "extractions"


def _system_caches() -> Path:
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):  # its specification says to ignore others
        return Path(shared)
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def _with_names(extraction: Extraction, provenance: Provenance) -> Extraction:
    """The same numbers under the present names: a copy of a model, or of a file, may have another name."""
    return replace(
        extraction,
        means=replace(extraction.means, provenance=provenance),
        directions=replace(extraction.directions, provenance=provenance),
        scores=replace(extraction.scores, provenance=provenance),
    )
