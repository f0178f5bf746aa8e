"""An exported folder to the Hub, with the token of the person who asks and of nobody else, private by default.

Knows the huggingface_hub client; nothing of models. The files go one by one and become visible by one commit at the
end. The token is handed to the client and kept nowhere; no message holds it, an address or an answer of the server.
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
_OF_THE_HUB = {".gitattributes"}  # what a new repository holds by itself
_MESSAGE = "Upload an edit made with Steer2Edit"


def push_to_hub(
    folder: str | Path, repo_id: str, token: str, *, private: bool = True, progress: Progress | None = None
) -> str:
    """Upload an exported checkpoint or adapter to a new repository `owner/name`; returns the address of its page.

    An empty repository of that name, as a push that broke off leaves it, is used again where it is as private as asked.
    `progress` counts bytes after each file and may raise Cancelled. Raises ExportError; files are visible there only
    after the commit at the end.
    """
    folder = Path(folder)
    files = _files(folder)
    token = check_push(repo_id, token)
    try:
        with _no_bars():
            return _pushed(HfApi(token=token), folder, files, repo_id, private, progress or (lambda done, total: None))
    except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
        # No cause: what the client raises may hold the request, and with it the token.
        raise ExportError(_sentence(repo_id, error)) from None


def check_push(repo_id: str, token: str) -> str:
    """The token without the space around it. Raises ExportError for a name or a token that cannot be one."""
    _check_name(repo_id)
    token = token.strip()
    if not _TOKEN.fullmatch(token):  # an empty one would make the client look for the token of this machine
        raise ExportError(
            "A push needs an access token of your own account on the Hub, with the right to write: a line of letters "
            "and digits that starts with hf_."
        )
    return token


def _pushed(api: HfApi, folder: Path, files: list[Path], repo_id: str, private: bool, progress: Progress) -> str:
    sizes = [file.stat().st_size for file in files]
    done, total = 0, sum(sizes)
    progress(done, total)
    _create(api, repo_id, private)
    operations = []
    for file, size in zip(files, sizes, strict=True):
        operation = CommitOperationAdd(file.relative_to(folder).as_posix(), file)
        api.preupload_lfs_files(repo_id, additions=[operation])
        operations.append(operation)
        done += size
        progress(done, total)
    api.create_commit(repo_id, operations, commit_message=_MESSAGE)
    return f"{api.endpoint}/{repo_id}"


def _create(api: HfApi, repo_id: str, private: bool) -> None:
    """A new repository, or the empty one of a push that broke off."""
    try:
        api.create_repo(repo_id, private=private)
    except HfHubHTTPError as error:
        if error.response.status_code != 409:
            raise
        there = api.model_info(repo_id)
        if {file.rfilename for file in there.siblings or ()} - _OF_THE_HUB:
            raise ExportError(
                f"{repo_id} already exists on the Hub and holds files, which a push never changes. Choose another name."
            ) from None
        if bool(there.private) != private:
            raise ExportError(
                f"{repo_id} already exists on the Hub and is {'private' if there.private else 'public'}. Choose "
                "another name, or change that on its page first."
            ) from None


def _files(folder: Path) -> list[Path]:
    """Every file of an export, small ones first. Raises ExportError for any other folder."""
    finished = (folder / CARD_FILE).is_file() and not LEFTOVER.fullmatch(folder.name)
    named = any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
    if not (finished and named and any(folder.glob("*.safetensors"))):
        raise ExportError(
            f"{folder.name} is not a finished export: a model card, a configuration and safetensors weights were "
            "expected. Export the checkpoint or the adapter first, and name its folder."
        )
    inside = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    visible = [path for path in inside if not any(p.startswith(".") for p in path.relative_to(folder).parts[:-1])]
    return sorted(visible, key=lambda path: (path.stat().st_size, path))


def _check_name(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        valid = False
    else:
        valid = repo_id.count("/") == 1
    if not valid:
        wrong = f'"{repo_id[:100]}" is not a name for a repository' if repo_id else "The repository has no name yet"
        raise ExportError(
            f"{wrong}. Give it as owner/name, with your account or organisation as the owner: letters, digits and "
            "single - _ . between them."
        )


@contextmanager
def _no_bars() -> Iterator[None]:
    """The client without its progress bars, which would go to the log of a server."""
    shown = not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def _sentence(repo_id: str, error: Exception) -> str:
    """What a refused or broken request means, and what to do."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the client wraps what happens to a large file
    owner = repo_id.split("/")[0]
    if isinstance(error, OfflineModeIsEnabled):
        return "The Hub is switched off on this machine by HF_HUB_OFFLINE. Unset it to push."
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return {
            401: "The Hub does not accept this token. Make a new one with the right to write, in your settings there.",
            402: f"The Hub refuses: {owner} has no room left for it. Free some, or push to another account.",
            403: f"This token may not write to {owner}. Use a token with the right to write there, or another owner.",
            404: f"The Hub finds no place {repo_id} for this token. Check the owner's name and the token's rights.",
            429: "The Hub asks for patience, too many requests came from here. Try again in a few minutes.",
        }.get(status, f"The Hub refused the push to {repo_id} ({status}). Please try again later with the same name.")
    if isinstance(error, ValueError) and "README.md" in str(error):  # the client has the card checked first
        return (
            f"The Hub does not accept the model card for {repo_id}: the lines between --- at its beginning say what it "
            "does not know. Correct them in README.md of an exported folder, and push that with the command line."
        )
    if isinstance(error, httpx2.ConnectError):
        return "The Hub cannot be reached. Check the connection and try again: what has arrived is not sent again."
    return (
        f"The upload to {repo_id} broke off before the Hub confirmed it. Check the connection and try again with the "
        "same name: what has arrived is not sent again."
    )
