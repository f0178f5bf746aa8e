"""Write a folder with an adapter: its own files, and beside them card, recipe and licence. Knows no kind of adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from s2e_core.files import Meter, stage_folder, write_files
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import WeightEdit

from .card import card_and_recipe, change_of_edited_matrices, licence_files
from .how_to_load import CardKind


def with_companions(
    loaded: LoadedModel, edit: WeightEdit, kind: CardKind, own: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Every file of the folder, by name; the card gives the size of the edit as 0, which takes long to compute."""
    licence = {path.name: path.read_bytes() for path in licence_files(loaded.source)}
    return {**own, **card_and_recipe(loaded, edit, kind, size=0.0), **licence}


def write_adapter_folder(
    loaded: LoadedModel,
    edit: WeightEdit,
    kind: CardKind,
    own: Mapping[str, bytes],
    folder: str | Path,
    progress: Progress | None,
) -> Path:
    """Write the folder, which must be new or empty, completely or not at all. Raises ExportError if that fails."""
    files = with_companions(loaded, edit, kind, own)
    total = sum(len(content) for content in files.values())
    with stage_folder(folder, total) as target:
        meter = Meter(total, progress)
        size = change_of_edited_matrices(loaded, edit, tick=meter.still)
        write_files(target, files | card_and_recipe(loaded, edit, kind, size), meter)
    return Path(folder)
