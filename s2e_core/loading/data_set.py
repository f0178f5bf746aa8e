"""Download one file of a data set from the Hub into the local cache, or find it there.

Knows the names of files that are read as examples, not what they contain. No code of a data set is downloaded or run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, get_cached_repo_tree, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.file_download import repo_folder_name

from s2e_core.errors import ContrastDataError, ModelLoadError
from s2e_core.progress import Progress
from s2e_core.text import readable_size

from .hub import PATIENCE_SECONDS, NoBar, check_disk
from .hub_errors import explain_failure
from .transfer import BrokenTransfer, fetch

DATA_SET = re.compile(
    r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?P<file>(?:/[\w][\w.-]*)+)?"
    r"(?:@(?P<revision>[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)*))?"
)
"""Data set on the Hub: owner/name, or owner/name/file for one of its files, both also with @revision."""
ADDRESS = re.compile(
    r"(?:https?:/{1,2})?(?:www\.)?(?:huggingface\.co|hf\.co)/datasets/(?P<id>[\w.-]+/[\w.-]+)"
    r"(?:/(?:viewer|discussions)(?:/.*)?|/(?:tree|blob|resolve)/(?P<revision>[\w.-]+)(?P<file>(?:/[\w.-]+)+)?)?/?(?:\?.*)?"
)
"""Address of a data set on the Hub, or of one of its files; a path has lost one of the slashes after https."""
READABLE = re.compile(r".*\.(?:(?:jsonl|ndjson|json|csv|tsv|txt)(?:\.gz)?|parquet|arrow|feather)", re.IGNORECASE)
"""Name of a file that can be read as examples."""
MAX_BYTES = 2_000_000_000
"""Largest file of a data set that is downloaded."""
_NO_DATA = frozenset({"dataset_infos.json", "dataset_info.json", "state.json", "package.json", "requirements.txt"})
_SHARD = re.compile(r"-\d{5}-of-(\d{5})")
NAMED = 12


def is_data_set(source: str | Path) -> bool:
    """Whether a source names a data set of the Hub, and no existing file."""
    return not Path(source).exists() and DATA_SET.fullmatch(data_set_name(str(source))) is not None


def data_set_name(source: str) -> str:
    """The name owner/name/file@revision of a data set's address on the Hub; anything else as it is, without spaces."""
    text = source.strip()
    address = ADDRESS.fullmatch(text)
    if address is None:
        return text
    file, revision = address["file"] or "", address["revision"] or ""
    return f"{address['id']}{file}{revision and '@'}{revision}"


def download_data_set(source: str, *, max_bytes: int = MAX_BYTES, progress: Progress | None = None) -> tuple[Path, str]:
    """(file in the cache, sentence on which one it is) of owner/name@revision or owner/name/file@revision.

    Without a file, the only one of the training split is taken, or its first part; it may have `max_bytes` bytes.
    `progress` receives bytes and may raise Cancelled. Without a connection, a file in the cache is used. Raises
    ContrastDataError for every failure.
    """
    match = DATA_SET.fullmatch(data_set_name(source))
    if match is None:
        raise ContrastDataError(f'"{source}" is neither a file nor a data set of the form owner/name@revision.')
    name, file, revision = match["id"], (match["file"] or "").removeprefix("/"), match["revision"]
    try:
        return _download_or_find(name, file, revision, max_bytes, progress or (lambda done, total: None))
    except ModelLoadError as error:  # the disk is too full
        raise ContrastDataError(str(error)) from error
    except (BrokenTransfer, httpx2.HTTPError, OSError, ValueError) as error:
        raise ContrastDataError(explain_failure("data set", name, revision, error)) from error


def _download_or_find(
    name: str, file: str, revision: str | None, max_bytes: int, progress: Progress
) -> tuple[Path, str]:
    try:
        info = HfApi().dataset_info(name, revision=revision, files_metadata=True, timeout=PATIENCE_SECONDS)
    except HFValidationError:
        raise
    except (httpx2.TransportError, OfflineModeIsEnabled) as error:
        return _find(name, file, revision, error)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
    chosen = choose_data_file(name, sizes, file)
    if sizes[chosen] > max_bytes:
        raise ContrastDataError(
            f"{chosen} of {name} has {readable_size(sizes[chosen])}, and at most {readable_size(max_bytes)} are "
            "downloaded. Name a smaller file, as owner/name/file."
        )
    storage = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="dataset")
    if not (storage / "snapshots" / str(info.sha) / chosen).exists():
        check_disk(name, sizes[chosen])
        url = hf_hub_url(name, chosen, repo_type="dataset", revision=info.sha)
        fetch(url, storage / "blobs", partial(_report, progress, sizes[chosen]))
    folder = snapshot_download(
        name, repo_type="dataset", revision=revision, allow_patterns=[chosen], tqdm_class=NoBar
    )  # the client links the file into a snapshot
    return Path(folder) / chosen, f"{chosen} of {name}, commit {str(info.sha)[:8]}.{_part(chosen)}"


def _report(progress: Progress, total: int, n_bytes: int) -> None:
    progress(n_bytes, total)


def _part(file: str) -> str:
    shard = _SHARD.search(file)
    return f" It is one of {int(shard[1])} parts; the others are not read." if shard and int(shard[1]) > 1 else ""


def _find(name: str, file: str, revision: str | None, error: Exception) -> tuple[Path, str]:
    """The file of an earlier download. Raises `error` if the cache has none."""
    try:
        tree = get_cached_repo_tree(name, repo_type="dataset", revision=revision)
        chosen = choose_data_file(name, {entry.path: 0 for entry in tree}, file)
        folder = snapshot_download(
            name, repo_type="dataset", revision=revision, allow_patterns=[chosen], local_files_only=True
        )
    except (CachedRepoTreeNotFoundError, LocalEntryNotFoundError):
        raise error from None
    return Path(folder) / chosen, f"{chosen} of {name}, as downloaded before.{_part(chosen)}"


def choose_data_file(name: str, sizes: Mapping[str, int], file: str = "") -> str:
    """The file to read: the one that is named, the only one, or the first part of the only training split.

    Raises ContrastDataError, naming the files, if it is not there or the choice is open.
    """
    readable = sorted(filter(_is_data, sizes))
    if file:
        if file in readable:
            return file
        raise ContrastDataError(f"{name} has no readable file {file}. {_list_files(readable)}")
    candidates = readable
    if len(candidates) > 1:
        candidates = [path for path in readable if "train" in path.lower()] or readable
    kinds = {_SHARD.sub("", path) for path in candidates}
    if len(kinds) == 1:
        return candidates[0]
    if not readable:
        raise ContrastDataError(
            f"{name} has no file of a kind that is read: JSONL, JSON, CSV, TSV, TXT, Parquet or Arrow. A data set that "
            "is made by a program of its own cannot be read here."
        )
    raise ContrastDataError(f"{name} has several files. Name one, as owner/name/file. {_list_files(readable)}")


def _is_data(path: str) -> bool:
    last = path.rsplit("/", 1)[-1].lower()
    return READABLE.fullmatch(last) is not None and last not in _NO_DATA and last[0] != "."


def _list_files(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} others" if len(names) > NAMED else ""
    return f"Its files are {', '.join(names[:NAMED])}{more}." if names else "It has none that can be read."
