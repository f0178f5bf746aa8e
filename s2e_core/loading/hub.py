"""A model of the Hub in the local cache: what is there, how far the download is, what went wrong.

Knows the huggingface_hub client and its cache; nothing of what is inside a file but its configuration. Only safetensors
weights come, and no code. What the person reads never holds a token, an address or an answer of the server.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, get_cached_repo_tree, get_token, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import tqdm

from s2e_core.errors import ModelLoadError
from s2e_core.progress import Progress
from s2e_core.text import readable_size

from .config import check_config, read_json
from .file_names import wanted_files
from .transfer import BrokenTransfer, fetch

HUB_ID = re.compile(
    r"(?!.{250})([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)*))?"
)
"""A model on the Hub, with or without a revision: owner/name@branch, tag or commit. No longer than a file's name."""
PATIENCE_SECONDS = 15.0
SPARE_BYTES = 1 << 26  # so much of the disk stays free


def split_revision(source: str | Path) -> tuple[str | Path, str | None]:
    """(source, revision or None): what stands behind the @ of a Hub id; a folder has none."""
    found = HUB_ID.fullmatch(source) if isinstance(source, str) else None
    if found is None or found[2] is None or Path(source).exists():
        return source, None
    return found[1], found[2]


def download(model_id: str, revision: str | None = None, *, progress: Progress | None = None) -> Path:
    """Folder of a snapshot with everything that loading needs; `progress` counts bytes and may raise Cancelled.

    A transfer that broke, or was stopped, goes on where it ended. Where the Hub cannot be reached, a snapshot that is
    complete in the cache is used. Raises ModelLoadError with one sentence for whatever else happens.
    """
    try:
        return _downloaded(model_id, revision, progress or (lambda done, total: None))
    except HFValidationError:
        raise ModelLoadError(
            f'"{model_id}" is neither an existing folder nor a Hub id of the form owner/name.'
        ) from None
    except BrokenTransfer as error:
        raise ModelLoadError(_broken(model_id, error)) from error
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise ModelLoadError(_sentence(model_id, revision, error)) from error


def _downloaded(model_id: str, revision: str | None, progress: Progress) -> Path:
    try:
        info = HfApi().model_info(model_id, revision=revision, files_metadata=True, timeout=PATIENCE_SECONDS)
    except HFValidationError:
        raise
    except (httpx2.TransportError, OfflineModeIsEnabled, ValueError) as error:  # ValueError: a page for signing in
        return _kept(model_id, revision, error)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    names = wanted_files(model_id, tuple(sizes))
    storage = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model_id, repo_type="model")
    missing = [name for name in names if not (storage / "snapshots" / info.sha / name).exists()]
    _check_disk(model_id, sum(sizes[name] for name in missing))
    total = sum(sizes[name] for name in names)
    done = total - sum(sizes[name] for name in missing)
    for name in sorted(missing, key=lambda name: (name != "config.json", sizes[name])):
        progress(done, total)
        url = hf_hub_url(model_id, name, revision=info.sha)
        file = fetch(url, storage / "blobs", partial(_told, progress, done, total))
        if name == "config.json":
            check_config(read_json(file, model_id), model_id)  # before gigabytes come that no one can use
        done += sizes[name]
    progress(total, total)
    # All files are there by now: the client puts them into its cache's order, and notes branch and commit.
    return Path(snapshot_download(model_id, revision=revision, allow_patterns=list(names), tqdm_class=_Silent))


def _told(progress: Progress, before: int, total: int, arrived: int) -> None:
    progress(before + arrived, total)


def _kept(model_id: str, revision: str | None, error: Exception) -> Path:
    """The snapshot of an earlier download, complete as far as the client that made it has noted what belongs to it."""
    try:
        names = [file.path for file in get_cached_repo_tree(model_id, revision=revision)]
        patterns = list(wanted_files(model_id, names))
    except CachedRepoTreeNotFoundError:
        patterns = None
    try:
        return Path(snapshot_download(model_id, revision=revision, allow_patterns=patterns, local_files_only=True))
    except LocalEntryNotFoundError:
        raise error from None


def _check_disk(model_id: str, n_bytes: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    while not cache.exists():
        cache = cache.parent
    free = shutil.disk_usage(cache).free - SPARE_BYTES
    if n_bytes > free:
        raise ModelLoadError(
            f"{model_id} needs {readable_size(n_bytes)} on the disk, and {readable_size(max(0, free))} are free. "
            "Make room, or set HF_HOME to a folder on a larger disk."
        )


class _Silent(tqdm):
    """The client's progress bar, without a bar."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "disable": True})


def _broken(model_id: str, error: BrokenTransfer) -> str:
    if error.damaged:
        return f"A file of {model_id} arrived damaged and was removed. Try again, or use another network."
    return (
        f"The download of {model_id} broke off in the middle of a file ({readable_size(error.done)} of it are kept). "
        "Check the connection and try again: it goes on from there."
    )


def _sentence(model_id: str, revision: str | None, error: Exception) -> str:
    """What a failed request means, and what to do."""
    if isinstance(error, GatedRepoError):
        return f"{model_id} is gated: its owner grants access. {_account()}"
    if isinstance(error, RevisionNotFoundError):
        return (
            f'{model_id} has no revision "{revision}". Check the branch, tag or commit given as --revision, '
            "or leave it out for the newest."
        )
    if isinstance(error, DisabledRepoError):
        return f"{model_id} was disabled on the Hub. Choose another model."
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if isinstance(error, RepositoryNotFoundError) or status == 404:
            return (
                f"There is no model {model_id} on the Hub, or it is private. Check the name; for a private model set "
                "HF_TOKEN to a token that may read it."
            )
        return f"{model_id}: {STATUSES.get(status, f'the Hub answered with an error ({status}). Try again later.')}"
    if isinstance(error, OfflineModeIsEnabled):
        return (
            f"{model_id} is not complete on this machine, and the Hub is switched off by HF_HUB_OFFLINE. "
            "Unset it to download, or use a local folder."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk became full while {model_id} was downloaded. Make room and try again: it goes on from there."
    if isinstance(error, PermissionError):
        return f"There is no place to keep {model_id}: the cache cannot be written. Set HF_HOME to a folder of yours."
    return (
        f"The Hub cannot be reached, and {model_id} is not complete on this machine. "
        "Check the connection, or use a local folder."
    )


STATUSES: Mapping[int, str] = {
    401: "the Hub does not accept the token in HF_TOKEN. Make a new one that may read, or unset it.",
    403: "the Hub refuses access with this account. Set HF_TOKEN to a token that may read this model.",
    429: "the Hub asks for patience, too many requests came from here. Try again in a few minutes.",
}


def _account() -> str:
    if get_token() is None:
        return "Accept its conditions on its page of the Hub, and set HF_TOKEN to a token of that account."
    return (
        "The account of the token in HF_TOKEN is not on its list. Accept its conditions on its page of the Hub first."
    )
