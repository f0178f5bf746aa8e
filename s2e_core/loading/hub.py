"""Download a model from the Hub into the local cache, or find it there.

Knows the huggingface_hub client and its cache; opens no file but the configuration. Only safetensors weights are
downloaded, and no code. No message contains a token, an address or a response of the server.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, get_cached_repo_tree, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import tqdm

from s2e_core.errors import ModelLoadError
from s2e_core.progress import Progress
from s2e_core.text import readable_size

from .config import check_config, read_json
from .file_names import choose_files, files_of_gguf
from .hub_errors import explain_failure
from .transfer import BrokenTransfer, fetch

PATIENCE_SECONDS = 15.0
SPARE_BYTES = 1 << 26  # these bytes of the disk stay free


def download(
    model_id: str, revision: str | None = None, *, gguf: str | None = None, progress: Progress | None = None
) -> Path:
    """Download everything that loading needs and return the folder of the snapshot.

    Of a repository of GGUF files only the file `gguf` is downloaded, or the only one that it contains. `progress`
    receives bytes and may raise Cancelled. A transfer that broke or was stopped is resumed where it ended. If the Hub
    cannot be reached, a snapshot that is complete in the cache is used. Raises ModelLoadError, with a sentence for the
    person, for every other failure.
    """
    try:
        return _download_or_find(model_id, revision, gguf, progress or (lambda done, total: None))
    except (BrokenTransfer, httpx2.HTTPError, OSError, ValueError) as error:
        raise ModelLoadError(explain_failure("model", model_id, revision, error)) from error


def _download_or_find(model_id: str, revision: str | None, gguf: str | None, progress: Progress) -> Path:
    try:
        info = HfApi().model_info(model_id, revision=revision, files_metadata=True, timeout=PATIENCE_SECONDS)
    except HFValidationError:
        raise
    except (httpx2.TransportError, OfflineModeIsEnabled, ValueError) as error:  # ValueError: a network's sign-in page
        return _find_snapshot(model_id, revision, gguf, error)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    names = _choose(model_id, tuple(sizes), gguf)
    storage = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model_id, repo_type="model")
    missing = [name for name in names if not (storage / "snapshots" / info.sha / name).exists()]
    check_disk(model_id, sum(sizes[name] for name in missing))
    total = sum(sizes[name] for name in names)
    done = total - sum(sizes[name] for name in missing)
    for name in sorted(missing, key=lambda name: (name != "config.json", sizes[name])):
        progress(done, total)
        url = hf_hub_url(model_id, name, revision=info.sha)
        file = fetch(url, storage / "blobs", partial(_report, progress, done, total))
        if name == "config.json":
            check_config(read_json(file, model_id), model_id)  # before gigabytes arrive that cannot be used
        done += sizes[name]
    progress(total, total)
    # All files are in the cache: the client links them into a snapshot and records branch and commit.
    return Path(snapshot_download(model_id, revision=revision, allow_patterns=list(names), tqdm_class=NoBar))


def _report(progress: Progress, before: int, total: int, n_bytes: int) -> None:
    progress(before + n_bytes, total)


def _find_snapshot(model_id: str, revision: str | None, gguf: str | None, error: Exception) -> Path:
    """Find the snapshot of an earlier download, complete by the list of files that the client recorded, if it did.

    Raises `error` if the cache has none.
    """
    try:
        names = [file.path for file in get_cached_repo_tree(model_id, revision=revision)]
        patterns = list(_choose(model_id, names, gguf))
    except CachedRepoTreeNotFoundError:
        patterns = None
    try:
        return Path(snapshot_download(model_id, revision=revision, allow_patterns=patterns, local_files_only=True))
    except LocalEntryNotFoundError:
        raise error from None


def _choose(model_id: str, names: Sequence[str], gguf: str | None) -> tuple[str, ...]:
    return choose_files(model_id, names) if gguf is None else files_of_gguf(model_id, names, gguf)


def check_disk(model_id: str, n_bytes: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    while not cache.exists():
        cache = cache.parent
    free = shutil.disk_usage(cache).free - SPARE_BYTES
    if n_bytes > free:
        raise ModelLoadError(
            f"{model_id} needs {readable_size(n_bytes)} on the disk, and {readable_size(max(0, free))} are free. "
            "Make room, or set HF_HOME to a folder on a larger disk."
        )


class NoBar(tqdm):
    """Progress bar of the client that shows nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "disable": True})
