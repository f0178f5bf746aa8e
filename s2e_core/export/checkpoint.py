"""The edited model as a folder that every program loads like the original: its files, with the edit in the weights.

Knows which files go along and what is said in them; the loaded model is compared with, never written.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from s2e_core.errors import ExportError
from s2e_core.files import Checkpoint, Meter, copy_file, open_checkpoint, staged, write_files
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import WeightEdit

from .adapter import adapter_files, check_edit
from .card import CARD_FILE, own_files, relative_size
from .recipe import recipe_bytes
from .shards import ExportDtype, data_size, shard_size, write_shards
from .stored_edit import check_stored_plain, stored_changes

ExportFormat = Literal["checkpoint", "checkpoint-float32", "adapter", "recipe"]

_BASE_CARD = "README_base.md"
_WEIGHT_SUFFIXES = (
    (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".gguf", ".onnx", ".onnx_data", ".npz")
    + (".index.json",)
)  # fmt: skip


def export_checkpoint(
    loaded: LoadedModel,
    edit: WeightEdit,
    folder: str | Path,
    *,
    dtype: ExportDtype = "stored",
    progress: Progress | None = None,
) -> Path:
    """Copy the model's checkpoint into `folder`, which must be new or empty, with the edit in its weights.

    `dtype` "stored" keeps every tensor's dtype and every other byte; "float32" writes all weights as fp32, twice the
    size of bf16, so that no small change is lost to rounding. Adds a model card and the recipe; files that hold the
    unedited weights in other formats are left out. `progress` counts bytes. Raises ExportError; then, as after
    `Cancelled`, nothing is left behind.
    """
    check_edit(loaded, edit)
    checkpoint = open_checkpoint(loaded.source)
    if Path(folder).resolve().is_relative_to(checkpoint.folder.resolve()):
        raise ExportError("The export would lie inside the folder of the model it is made from; choose another folder.")
    changes = stored_changes(checkpoint, loaded, edit)
    expected = {f"{site.name}.{site.parameter}" for site in (edit.spec.sites[i] for i in edit.edited_sites())}
    companions = _companions(checkpoint)
    # The card without the edit's size, which takes long to find: a few letters less.
    total = _checkpoint_size(checkpoint, own_files(loaded, edit, "checkpoint", size=0.0), dtype)
    with staged(folder, total) as target:
        meter = Meter(total, progress)
        files = own_files(loaded, edit, "checkpoint", relative_size(loaded, edit, tick=meter.still))
        if not write_shards(checkpoint, target, changes, expected, dtype, meter):
            raise ExportError(
                "The edit is too small for the stored number format: after rounding, nothing would change. Export it "
                "as float32 or as an adapter, or raise the strength."
            )
        _copy_companions(checkpoint, companions, target, dtype, meter)
        write_files(target, files, meter)
        for shard in checkpoint.shards:
            shard.check_unchanged()
            (target / shard.path.name).chmod(stat.S_IMODE(shard.path.stat().st_mode))
    return Path(folder)


def export_size(loaded: LoadedModel, edit: WeightEdit, format: ExportFormat) -> int:
    """Bytes that an export will take on disk, within 1 %, without reading a weight.

    Raises ExportError for an edit or a source that cannot be exported.
    """
    if format == "recipe":
        return len(recipe_bytes(edit))
    check_edit(loaded, edit)
    if format == "adapter":
        return sum(len(content) for content in adapter_files(loaded, edit, size=0.0, exact=False).values())
    check_stored_plain(loaded)
    dtype: ExportDtype = "float32" if format == "checkpoint-float32" else "stored"
    return _checkpoint_size(open_checkpoint(loaded.source), own_files(loaded, edit, "checkpoint", size=0.0), dtype)


def _checkpoint_size(checkpoint: Checkpoint, files: Mapping[str, bytes], dtype: ExportDtype) -> int:
    shards = sum(shard_size(shard, dtype) for shard in checkpoint.shards)
    companions = sum(path.stat().st_size for path in _companions(checkpoint))
    return shards + companions + sum(len(content) for content in files.values())


def _companions(checkpoint: Checkpoint) -> list[Path]:
    """Every file that goes along: configs, tokenizer, templates, licence; not weights in other formats."""
    files = []
    for path in sorted(checkpoint.folder.rglob("*")):
        inside = path.relative_to(checkpoint.folder)
        hidden = any(part.startswith(".") for part in inside.parts[:-1])  # .git, .cache
        other_weights = path != checkpoint.index and path.name.endswith(_WEIGHT_SUFFIXES)
        program = len(inside.parts) > 1 and path.suffix in (".py", ".pyc")  # how a model was made is not part of it
        if path.is_file() and not (hidden or other_weights or program) and inside != Path(_BASE_CARD):
            files.append(path)
    return files


def _copy_companions(
    checkpoint: Checkpoint, companions: Sequence[Path], target: Path, dtype: ExportDtype, meter: Meter
) -> None:
    for path in companions:
        inside = path.relative_to(checkpoint.folder)
        # The base model's card stays beside the new one.
        copied = target / (_BASE_CARD if inside == Path(CARD_FILE) else inside)
        copy_file(path, copied, meter)
        if dtype == "float32" and (path == checkpoint.index or inside == Path("config.json")):
            size = sum(data_size(shard, dtype) for shard in checkpoint.shards)
            _rewrite_json(copied, size if path == checkpoint.index else None)


def _rewrite_json(path: Path, total_size: int | None) -> None:
    """Make a copied index or config say float32."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if total_size is None:
        content = {**_float32_everywhere(content), "dtype": "float32"}
    else:
        content["metadata"] = {**content.get("metadata", {}), "total_size": total_size}
    mode = path.stat().st_mode
    path.chmod(0o600)  # a read-only source gives a read-only copy
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    path.chmod(mode)


def _float32_everywhere(config: dict[str, Any]) -> dict[str, Any]:
    """A config whose `dtype` and `torch_dtype`, nested ones too, say float32."""
    return {
        key: "float32"
        if key in ("dtype", "torch_dtype")
        else _float32_everywhere(value)
        if isinstance(value, dict)
        else value
        for key, value in config.items()
    }
