"""Export the edited model as a checkpoint: the files of the original with the edit in the weights.

The loaded model is only compared with the files, never written.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from s2e_core.errors import ExportError
from s2e_core.files import Checkpoint, Meter, copy_file, is_companion, open_checkpoint, stage_folder, write_files
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import Steered, WeightEdit

from .adapter import adapter_files, check_edit
from .card import CARD_FILE, card_and_recipe, change_of_edited_matrices
from .evaluating import evaluation_files
from .gguf_lora import gguf_lora_files
from .mlx import mlx_files
from .recipe import recipe_bytes
from .shards import ExportDtype, data_size, shard_size, write_shards
from .stored_edit import check_not_quantized, stored_changes

ExportFormat = Literal["checkpoint", "checkpoint-float32", "adapter", "gguf-lora", "mlx", "recipe"]

_BASE_CARD = "README_base.md"


def export_checkpoint(
    loaded: LoadedModel,
    edit: WeightEdit,
    folder: str | Path,
    *,
    dtype: ExportDtype = "stored",
    steered: Steered | None = None,
    progress: Progress | None = None,
) -> Path:
    """Copy the model's checkpoint into `folder`, which must be new or empty, with the edit in its weights.

    `dtype` "stored" keeps every tensor's dtype and every other byte; "float32" writes all weights as fp32, twice the
    size of bf16, so that rounding loses no small change. The export adds a model card and the recipe, and omits
    everything that does not belong to the model, such as unedited weights in other formats. `evaluate.sh` compares
    the edit with `steered` too. `progress` counts bytes.

    Raises ExportError if the checkpoint cannot be read, edited or written. After this error and after `Cancelled`,
    nothing is left behind.
    """
    check_edit(loaded, edit)
    checkpoint = open_checkpoint(loaded.source)
    if Path(folder).resolve().is_relative_to(checkpoint.folder.resolve()):
        raise ExportError("The export would be inside the folder of its own base model; choose another folder.")
    changes = stored_changes(checkpoint, loaded, edit)
    expected = {f"{site.name}.{site.parameter}" for site in (edit.spec.sites[i] for i in edit.edited_sites())}
    companions = _companions(checkpoint)
    # A card with size 0 is a few letters shorter; the real size takes long to compute.
    extra = evaluation_files(loaded, edit, "checkpoint", steered)
    total = _checkpoint_size(checkpoint, card_and_recipe(loaded, edit, "checkpoint", size=0.0) | extra, dtype)
    with stage_folder(folder, total) as target:
        meter = Meter(total, progress)
        size = change_of_edited_matrices(loaded, edit, tick=meter.still)
        files = card_and_recipe(loaded, edit, "checkpoint", size) | extra
        if not write_shards(checkpoint, target, changes, expected, dtype, meter):
            raise ExportError(
                "The edit is too small for the stored number format: rounding would remove it. Export float32 or an "
                "adapter, or raise the strength."
            )
        _copy_companions(checkpoint, companions, target, dtype, meter)
        write_files(target, files, meter)
        for shard in checkpoint.shards:
            shard.check_unchanged()
            (target / shard.path.name).chmod(stat.S_IMODE(shard.path.stat().st_mode))
    return Path(folder)


def export_size(loaded: LoadedModel, edit: WeightEdit, format: ExportFormat, steered: Steered | None = None) -> int:
    """Bytes that an export takes on disk, within 1 %, without reading a weight.

    `steered` is what `evaluate.sh` compares with, beside a checkpoint or an adapter for PEFT.

    Raises ExportError if the edit or the model cannot be exported.
    """
    if format == "recipe":
        return len(recipe_bytes(edit))
    check_edit(loaded, edit)
    if format == "adapter":
        return sum(
            len(content) for content in adapter_files(loaded, edit, size=0.0, steered=steered, exact=False).values()
        )
    if format == "gguf-lora":
        return sum(len(content) for content in gguf_lora_files(loaded, edit).values())
    if format == "mlx":
        return sum(len(content) for content in mlx_files(loaded, edit).values())
    check_not_quantized(loaded)
    dtype: ExportDtype = "float32" if format == "checkpoint-float32" else "stored"
    files = card_and_recipe(loaded, edit, "checkpoint", size=0.0)
    extra = evaluation_files(loaded, edit, "checkpoint", steered)
    return _checkpoint_size(open_checkpoint(loaded.source), files | extra, dtype)


def _checkpoint_size(checkpoint: Checkpoint, files: Mapping[str, bytes], dtype: ExportDtype) -> int:
    shards = sum(shard_size(shard, dtype) for shard in checkpoint.shards)
    companions = sum(path.stat().st_size for path in _companions(checkpoint))
    return shards + companions + sum(len(content) for content in files.values())


def _companions(checkpoint: Checkpoint) -> list[Path]:
    """Files to copy with the weights: configs, tokenizer, templates, card, licence, and the index of the shards."""
    folder = checkpoint.folder
    paths = sorted(path for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_file())
    return [path for path in paths if path == checkpoint.index or is_companion(path.relative_to(folder).as_posix())]


def _copy_companions(
    checkpoint: Checkpoint, companions: Sequence[Path], target: Path, dtype: ExportDtype, meter: Meter
) -> None:
    for path in companions:
        name = path.relative_to(checkpoint.folder)
        # The base model's card stays beside the new one.
        copy = target / (_BASE_CARD if name == Path(CARD_FILE) else name)
        copy_file(path, copy, meter)
        if dtype == "float32" and (path == checkpoint.index or name == Path("config.json")):
            size = sum(data_size(shard, dtype) for shard in checkpoint.shards)
            _declare_float32(copy, size if path == checkpoint.index else None)


def _declare_float32(path: Path, total_size: int | None) -> None:
    """Rewrite the copy of an index (`total_size` in bytes) or of a config (None) for float32 weights."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if total_size is None:
        content = {**_with_float32(content), "dtype": "float32"}
    else:
        content["metadata"] = {**content.get("metadata", {}), "total_size": total_size}
    mode = path.stat().st_mode
    path.chmod(0o600)  # a read-only source gives a read-only copy
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    path.chmod(mode)


def _with_float32(config: dict[str, Any]) -> dict[str, Any]:
    """The config with float32 in every `dtype` and `torch_dtype`, nested ones included."""
    return {
        key: "float32"
        if key in ("dtype", "torch_dtype")
        else _with_float32(value)
        if isinstance(value, dict)
        else value
        for key, value in config.items()
    }
