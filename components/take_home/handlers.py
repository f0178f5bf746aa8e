"""Downloads: (store, session, format) to status lines and, at the end, a file.

Knows the core's exports and the work folder. Every file lies in a folder of its own below the server's file cache, from
which it is served in place and cleaned up; nothing a visitor typed becomes part of a path.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from components.shared import texts
from components.shared.model_names import split_text
from components.shared.session import Session
from components.shared.store import ModelStore
from components.shared.work import Work
from s2e_core import ExportError, WeightEdit, export_adapter, export_checkpoint, save_edit, verify_export
from s2e_core.export import ExportDtype, ExportFormat, export_gguf_lora, export_mlx
from s2e_core.interop import CONTROL_VECTOR_NOTE, save_control_vector
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.text import readable_size
from s2e_core.values import Steered


@dataclass(frozen=True, eq=False)
class Parcel:
    """A file ready to be downloaded, and what was found when it was checked (Markdown)."""

    path: Path
    report: str


def exported(
    store: ModelStore, session: Session, kind: str, dtype: ExportDtype = "stored", gamma: float | None = None
) -> Iterator[str | Parcel]:
    """Status lines while a checkpoint, adapter, recipe or control vector is written and checked, then the parcel.

    `gamma` is the strength of the steering that its `evaluate.sh` compares with.
    """
    if kind == "control-vector":
        yield _control_vector(store, session)
        return
    loaded, edit = store.model(session.model), session.taken
    formats: dict[str, ExportFormat] = {
        "checkpoint": "checkpoint" if dtype == "stored" else "checkpoint-float32",
        "adapter": "adapter",
        "gguf-lora": "gguf-lora",
        "mlx": "mlx",
        "recipe": "recipe",
    }
    format = formats[kind]
    if edit.is_empty:
        raise ExportError(texts.NOTHING_EDITED)
    name, folder, steered = f"{file_stem(session)}-{format}", new_folder(store), compared_steering(session, gamma)

    def stage(progress: Progress) -> Parcel:
        try:
            return _packed(loaded, edit, folder, name, format, steered, progress)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    work = Work(stage)
    with closing(work.ticks()) as ticks:
        for done, total in ticks:
            yield f"Writing and checking: {done / total:.0%}" if total else "Writing …"
    yield work.result


def file_stem(session: Session) -> str:
    """What a visitor's files are called: after the model and the behaviour, in letters that every system takes."""
    parts = ("steer2edit", split_text(session.model)[0], session.label)
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")[:40] for part in parts)


def compared_steering(session: Session, gamma: float | None) -> Steered | None:
    """The steering that an export's `evaluate.sh` compares with.

    None without a strength, or if the edit was not made from the directions on the page alone.
    """
    if not gamma or not isfinite(gamma) or session.under is not None or not session.made_here(session.edit):
        return None
    return Steered(session.scored.directions, gamma)


def new_folder(store: ModelStore) -> Path:
    """An empty folder of its own below the server's file cache."""
    store.work.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=store.work))


def _control_vector(store: ModelStore, session: Session) -> Parcel:
    """The steering directions on the page, which no edit belongs to: not even one that is empty."""
    named = replace(session, brought=None)  # an uploaded edit is not its direction
    path = save_control_vector(session.scored.directions, new_folder(store) / f"{file_stem(named)}.gguf")
    foreign = f" {texts.NOT_OF_THIS_EDIT}" if session.recipe and not session.made_here(session.edit) else ""
    return Parcel(path, f"{CONTROL_VECTOR_NOTE}{foreign}")


def written(
    loaded: LoadedModel,
    edit: WeightEdit,
    files: Path,
    format: ExportFormat,
    steered: Steered | None,
    progress: Progress,
) -> Path:
    """A checkpoint, or an adapter of any kind, in a new folder."""
    if format == "adapter":
        return export_adapter(loaded, edit, files, steered=steered, progress=progress)
    if format == "gguf-lora":
        return export_gguf_lora(loaded, edit, files, progress=progress)
    if format == "mlx":
        return export_mlx(loaded, edit, files, progress=progress)
    dtype: ExportDtype = "stored" if format == "checkpoint" else "float32"
    return export_checkpoint(loaded, edit, files, dtype=dtype, steered=steered, progress=progress)


def _packed(
    loaded: LoadedModel,
    edit: WeightEdit,
    folder: Path,
    name: str,
    format: ExportFormat,
    steered: Steered | None,
    progress: Progress,
) -> Parcel:
    if format == "recipe":
        path = save_edit(edit, folder / f"{name.removesuffix('-recipe')}.safetensors")
        return Parcel(path, f"The recipe is ready: {readable_size(path.stat().st_size)}.")
    files = written(loaded, edit, folder / name, format, steered, progress)
    found = verify_export(loaded, edit, files, progress=progress)
    path = zipped(files, folder / f"{name}.zip", progress)
    shutil.rmtree(files)
    sentence, *figures = found.lines()
    return Parcel(path, "\n".join([f"**{sentence}**", "", *(f"- {line}" for line in figures)]))


def zipped(files: Path, target: Path, progress: Progress) -> Path:
    """All files of a folder in one archive, uncompressed: weights do not shrink and a browser reads it at once."""
    paths = sorted(path for path in files.rglob("*") if path.is_file())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for number, path in enumerate(paths, start=1):
            progress(number, len(paths))
            archive.write(path, path.relative_to(files.parent))
    return target
