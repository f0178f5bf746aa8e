"""Push an exported folder to the Hub, private by default, with the token of the person who asks.

Files are uploaded one by one; a single commit at the end makes them visible. The token goes to the huggingface_hub
client and is stored nowhere. No message contains the token, an address or a response of the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    validate_repo_id,
)

from s2e_core.errors import ExportError
from s2e_core.files import LEFTOVER
from s2e_core.progress import Progress

from .card import CARD_FILE

_TOKEN = re.compile(r"[\x21-\x7e]+")
_CREATED_BY_HUB = {".gitattributes"}  # every new repository contains it
_MESSAGE = "Upload an edit made with Steer2Edit"


def push_to_hub(
    folder: str | Path, repo_id: str, token: str, *, private: bool = True, progress: Progress | None = None
) -> str:
    """Upload an exported checkpoint or adapter to a new repository `owner/name`; returns the address of its page.

    An empty repository of that name, such as an interrupted push leaves behind, is used if its visibility is the same.
    `progress` counts bytes after each file and may raise Cancelled. Files are visible only after the final commit.

    Raises ExportError if the folder is not a finished export, the name or the token is malformed, or the Hub refuses.
    """
    folder = Path(folder)
    files = _files(folder)
    token = check_push(repo_id, token)
    try:
        with _without_bars():
            return _push(HfApi(token=token), folder, files, repo_id, private, progress or (lambda done, total: None))
    except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
        # Without a cause: the client's error may contain the request, and so the token.
        raise ExportError(_explain(repo_id, error)) from None


def check_push(repo_id: str, token: str) -> str:
    """The token without surrounding space. Raises ExportError if the name or the token is malformed."""
    _check_name(repo_id)
    token = token.strip()
    if not _TOKEN.fullmatch(token):  # given an empty token, the client would use the one of this machine
        raise ExportError(
            "A push needs an access token of your own Hub account with write permission: a line of letters and digits "
            "that starts with hf_."
        )
    return token


def _push(api: HfApi, folder: Path, files: list[Path], repo_id: str, private: bool, progress: Progress) -> str:
    sizes = [file.stat().st_size for file in files]
    n_sent, total = 0, sum(sizes)
    progress(n_sent, total)
    _create(api, repo_id, private)
    operations = []
    for file, size in zip(files, sizes, strict=True):
        operation = CommitOperationAdd(file.relative_to(folder).as_posix(), file)
        api.preupload_lfs_files(repo_id, additions=[operation])
        operations.append(operation)
        n_sent += size
        progress(n_sent, total)
    api.create_commit(repo_id, operations, commit_message=_MESSAGE)
    return f"{api.endpoint}/{repo_id}"


def _create(api: HfApi, repo_id: str, private: bool) -> None:
    """Create the repository, or accept the empty one that an interrupted push left behind."""
    try:
        api.create_repo(repo_id, private=private)
    except HfHubHTTPError as error:
        if error.response.status_code != 409:
            raise
        repository = api.model_info(repo_id)
        if {file.rfilename for file in repository.siblings or ()} - _CREATED_BY_HUB:
            raise ExportError(
                f"{repo_id} already exists on the Hub and contains files, which a push never changes. Choose another "
                "name."
            ) from None
        if bool(repository.private) != private:
            raise ExportError(
                f"{repo_id} already exists on the Hub and is {'private' if repository.private else 'public'}. Choose "
                "another name, or change its visibility on its page first."
            ) from None


def _files(folder: Path) -> list[Path]:
    """Every file of an export, small ones first. Raises ExportError if the folder is not a finished export."""
    is_finished = (folder / CARD_FILE).is_file() and not LEFTOVER.fullmatch(folder.name)
    has_config = any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
    if not (is_finished and has_config and any(folder.glob("*.safetensors"))):
        raise ExportError(
            f"{folder.name} is not a finished export: a model card, a configuration and safetensors weights were "
            "expected. Export the checkpoint or the adapter first, then name its folder."
        )
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    visible = [path for path in files if not any(p.startswith(".") for p in path.relative_to(folder).parts[:-1])]
    return sorted(visible, key=lambda path: (path.stat().st_size, path))


def _check_name(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        is_valid = False
    else:
        is_valid = repo_id.count("/") == 1
    if not is_valid:
        problem = f'"{repo_id[:100]}" is not a repository name' if repo_id else "The repository has no name yet"
        raise ExportError(
            f"{problem}. Give it as owner/name, with your account or organisation as the owner: letters, digits and "
            "single - _ . between them."
        )


@contextmanager
def _without_bars() -> Iterator[None]:
    """Turn off the client's progress bars, which would fill a server's log."""
    were_on = not are_progress_bars_disabled()
    if were_on:
        disable_progress_bars()
    try:
        yield
    finally:
        if were_on:
            enable_progress_bars()


def _explain(repo_id: str, error: Exception) -> str:
    """What a refused or failed request means, and what to do."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the client wraps errors in large files
    owner = repo_id.split("/")[0]
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE switches the Hub off on this machine. Unset it to push."
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return {
            401: "The Hub does not accept this token. Create one with write permission in your Hub settings.",
            402: f"The Hub refuses: {owner} has no storage left. Free some, or push to another account.",
            403: f"This token may not write to {owner}. Use a token with write permission there, or another owner.",
            404: f"The Hub cannot find {repo_id} with this token. Check the owner's name and the token's permissions.",
            429: "The Hub received too many requests from here. Try again in a few minutes.",
        }.get(status, f"The Hub refused the push to {repo_id} ({status}); try again later with the same name.")
    if isinstance(error, ValueError) and "README.md" in str(error):  # the client first has the card checked
        return (
            f"The Hub does not accept the model card of {repo_id}: the front matter (the lines between ---) is "
            "invalid. Correct it in README.md of an exported folder, and push that folder with the command line."
        )
    if isinstance(error, httpx2.ConnectError):
        return "The Hub cannot be reached. Check the connection and try again: files that arrived are not sent again."
    return (
        f"The upload to {repo_id} was interrupted. Check the connection and try again with the same name: files that "
        "arrived are not sent again."
    )
