"""What a failed download from the Hub means, and what to do about it: one sentence for models and for data sets.

Knows the errors of the huggingface_hub client. No sentence contains a token, an address or a response of the server.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Literal

from huggingface_hub import get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from s2e_core.text import readable_size

from .transfer import BrokenTransfer

Wanted = Literal["model", "data set"]
LOCAL: Mapping[Wanted, str] = {"model": "folder", "data set": "file"}
"""What else a name may stand for: something on this machine."""
STATUSES: Mapping[int, str] = {
    401: "the Hub does not accept the token in HF_TOKEN. Create a new token that may read, or unset HF_TOKEN.",
    403: "the Hub refuses access with this account. Set HF_TOKEN to a token that may read this repository.",
    429: "the Hub received too many requests from this machine. Try again in a few minutes.",
}


def explain_failure(wanted: Wanted, name: str, revision: str | None, error: Exception) -> str:
    """Say what a failed download of a model or data set means, and what to do."""
    if isinstance(error, BrokenTransfer):
        return _explain_broken_transfer(name, error)
    if isinstance(error, HFValidationError):
        return f'"{name}" is neither an existing {LOCAL[wanted]} nor a Hub id of the form owner/name.'
    if isinstance(error, GatedRepoError):
        return f"{name} is gated: its owner grants access. {_explain_access()}"
    if isinstance(error, RevisionNotFoundError):
        return (
            f'{name} has no revision "{revision}". Check the branch, tag or commit (after the @, or of --revision), '
            "or leave it out for the newest."
        )
    if isinstance(error, DisabledRepoError):
        return f"{name} was disabled on the Hub. Choose another {wanted}."
    if isinstance(error, HfHubHTTPError):
        return _explain_status(wanted, name, error)
    if isinstance(error, OfflineModeIsEnabled):
        return (
            f"{name} is not complete on this machine, and the Hub is switched off by HF_HUB_OFFLINE. "
            f"Unset it to download, or use a local {LOCAL[wanted]}."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk became full while {name} was downloaded. Make room and try again: it will be resumed."
    if isinstance(error, PermissionError):
        return f"{name} cannot be saved: the cache is not writable. Set HF_HOME to a folder that you may write to."
    return (
        f"The Hub cannot be reached, and {name} is neither a {LOCAL[wanted]} here nor completely downloaded. "
        "Check the name and the connection."
    )


def _explain_status(wanted: Wanted, name: str, error: HfHubHTTPError) -> str:
    status = error.response.status_code
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return (
            f"The {wanted} {name} does not exist on the Hub (and no {LOCAL[wanted]} of this name here), or it is "
            f"private. Check the name; for a private {wanted}, set HF_TOKEN to a token that may read it."
        )
    return f"{name}: {STATUSES.get(status, f'the Hub answered with an error ({status}). Try again later.')}"


def _explain_broken_transfer(name: str, error: BrokenTransfer) -> str:
    if error.damaged:
        return f"A file of {name} arrived damaged and was removed. Try again, or use another network."
    return (
        f"The download of {name} broke off in the middle of a file ({readable_size(error.done)} of it are saved). "
        "Check the connection and try again: it will be resumed."
    )


def _explain_access() -> str:
    if get_token() is None:
        return "Accept the conditions on its Hub page, and set HF_TOKEN to a token of the same account."
    return "The account of the token in HF_TOKEN has no access. Accept the conditions on its Hub page first."
