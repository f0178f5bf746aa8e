"""Downloads and the recipe upload: (store, session, format) to status lines and, at the end, a file.

Knows the core's exports and the work folder. Every file lies in a folder of its own below the server's file cache, from
which it is served in place and cleaned up; nothing a visitor typed becomes part of a path.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from s2e_core import ExportError, LoadedModel, RecipeError, WeightEdit
from s2e_core.adapter import export_adapter
from s2e_core.export import ExportDtype, ExportFormat, export_checkpoint
from s2e_core.recipe import load_edit, save_edit
from s2e_core.types import Progress
from s2e_core.verify import verify_export

from . import readouts
from .session import Session
from .store import ModelStore
from .work import Work


@dataclass(frozen=True, eq=False)
class Parcel:
    """A file ready to be downloaded, and what was found when it was checked (Markdown)."""

    path: Path
    report: str


def exported(store: ModelStore, session: Session, kind: str, dtype: ExportDtype = "stored") -> Iterator[str | Parcel]:
    """Status lines while a checkpoint, adapter or recipe is written and checked, then the parcel."""
    loaded, edit = store.model(session.model), session.edit
    formats: dict[str, ExportFormat] = {
        "checkpoint": "checkpoint" if dtype == "stored" else "checkpoint-float32",
        "adapter": "adapter",
        "recipe": "recipe",
    }
    format = formats[kind]
    if edit.is_empty:
        raise ExportError("Nothing is edited yet. Raise a count or lower ρ first.")
    name = f"steer2edit-{session.behavior}-{format}"
    store.work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=store.work))

    def stage(progress: Progress) -> Parcel:
        try:
            return _packed(loaded, edit, folder, name, format, progress)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    work = Work(stage)
    with closing(work.ticks()) as ticks:
        for done, total in ticks:
            yield f"Writing and checking: {done / total:.0%}" if total else "Writing …"
    yield work.result


def uploaded(store: ModelStore, session: Session, path: str | None) -> Session:
    """The session with the edit of an uploaded recipe. Raises RecipeError for none and for another base model's."""
    if not path:
        raise RecipeError("No file has arrived. Choose a recipe, a file ending in .safetensors, and upload it again.")
    edit = load_edit(path, base=store.model(session.model))
    return session.with_recipe(edit, Path(path).name)


def _packed(
    loaded: LoadedModel, edit: WeightEdit, folder: Path, name: str, format: ExportFormat, progress: Progress
) -> Parcel:
    if format == "recipe":
        path = save_edit(edit, folder / "steer2edit.safetensors")
        return Parcel(path, f"The recipe is ready: {readouts.megabytes(path.stat().st_size)}.")
    files = folder / name
    if format == "adapter":
        export_adapter(loaded, edit, files, progress=progress)
    else:
        dtype: ExportDtype = "stored" if format == "checkpoint" else "float32"
        export_checkpoint(loaded, edit, files, dtype=dtype, progress=progress)
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
