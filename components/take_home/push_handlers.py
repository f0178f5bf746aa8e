"""A push to the Hub: (store, session, form, token) to progress and, at the end, the link.

Knows the core's exports and its push. The token is an argument that is handed on once and becomes part of no value: not
of the session, not of a message, not of a file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.shared import texts
from components.shared.session import Session
from components.shared.store import ModelStore
from components.shared.work import Work
from s2e_core import ExportError, WeightEdit, push_to_hub, verify_export
from s2e_core.export import ExportDtype, ExportFormat, check_push
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress

from . import push_words as words
from .handlers import compared_steering, file_stem, new_folder, written


@dataclass(frozen=True, eq=False)
class Form:
    """What is to be pushed, and where; the token is not part of it."""

    repository: str
    what: Literal["checkpoint", "adapter"] = "checkpoint"
    private: bool = True
    dtype: ExportDtype = "stored"
    gamma: float | None = None
    """Strength of the steering that `evaluate.sh` compares with."""

    @property
    def format(self) -> ExportFormat:
        if self.what == "adapter":
            return "adapter"
        return "checkpoint" if self.dtype == "stored" else "checkpoint-float32"


def pushed(store: ModelStore, session: Session, form: Form, token: str | None) -> Iterator[str]:
    """Progress as HTML while the export is written, checked and sent, then the link to it.

    Raises ExportError for a name or a token that cannot be one, before anything is written, and where the files fail
    their check, or the Hub refuses.
    """
    token = check_push(form.repository.strip(), token or "")
    loaded, edit = store.model(session.model), session.taken
    if edit.is_empty:
        raise ExportError(texts.NOTHING_EDITED)
    phases = [words.writing]

    def stage(progress: Progress) -> str:
        folder = new_folder(store)
        try:
            files = written(
                loaded, edit, folder / file_stem(session), form.format, compared_steering(session, form.gamma), progress
            )
            verdict = _checked(loaded, edit, files, progress)
            phases.append(words.uploading)
            address = push_to_hub(files, form.repository.strip(), token, private=form.private, progress=progress)
            return words.pushed(address, form.private, verdict)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    work = Work(stage)
    with closing(work.ticks()) as ticks:
        for done, total in ticks:
            yield phases[-1](done, total)
    yield work.result


def _checked(loaded: LoadedModel, edit: WeightEdit, files: Path, progress: Progress) -> str:
    """What the check of the files says; files that fail it do not leave this machine."""
    found = verify_export(loaded, edit, files, progress=progress)
    sentence = next(iter(found.lines()))
    if not found.passed:
        because = "they could not be checked" if found.not_checked else "their check failed"
        raise ExportError(f"The files were not sent, because {because}. {sentence}")
    return sentence
