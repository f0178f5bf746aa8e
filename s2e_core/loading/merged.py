"""Merge a LoRA adapter into its base once: the result is an ordinary checkpoint, and everything else reads that.

PEFT merges; the sum is taken in fp32 and stored in the number format of the base. The checkpoint stays in a folder of
the Hub's cache and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from s2e_core.errors import ModelLoadError, S2EError
from s2e_core.files import FLOATS, Checkpoint, is_companion

from .build import NO_ADAPTER
from .config import read_json
from .files import MERGED, ModelFiles, check_pointers, find_files
from .gguf import SHARD_SIZE, appearing, cache_folder
from .memory import available_memory, is_out_of_memory

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
LAYOUT = 1
"""Version of the folders that this file writes."""


def has_adapter(folder: Path) -> bool:
    """Whether an adapter lies in a folder."""
    return (folder / CONFIG_FILE).is_file()


def merge(files: ModelFiles, adapter: str | Path) -> ModelFiles:
    """Return the files of the base with a LoRA adapter merged into it, named BASE+ADAPTER.

    The first call holds the model in memory as fp32 and writes a checkpoint of the base's size. Raises ModelLoadError
    if the adapter cannot be read, is no LoRA or does not fit, or if the base is quantised.
    """
    folder = Path(adapter).resolve()
    name = f"{files.model_id}+{folder.name}"
    _check_adapter(files, folder)
    target = cache_folder() / f"{folder.name}-{_key(files, folder)}"
    if not target.is_dir():
        _check_memory(files, folder)
        try:
            with appearing(target, name) as temporary:
                _write(files, folder, temporary / "model")
                (temporary / MERGED).write_text(json.dumps({"adapter": _adapter_hash(folder)}), encoding="utf-8")
        except S2EError:
            raise
        except Exception as error:  # an adapter of another program can cause any error
            if is_out_of_memory(error):
                raise ModelLoadError(_explain_memory(files, folder)) from error
            reason = " ".join(str(error).split())[:200].replace(str(folder), folder.name).rstrip(".")
            raise ModelLoadError(
                f"The adapter {folder.name} cannot be merged into {files.model_id}: {reason}. Choose an adapter that "
                "was made for this model."
            ) from error
    return replace(find_files(target / "model"), model_id=name, revision=None, gguf=files.gguf)


def _check_memory(files: ModelFiles, folder: Path) -> None:
    free = available_memory(torch.device("cpu"))
    if free is not None and 4 * sum(tensor.numel for tensor in files.checkpoint.tensors().values()) > free:
        raise ModelLoadError(_explain_memory(files, folder))


def _explain_memory(files: ModelFiles, folder: Path) -> str:
    return (
        f"Merging the adapter {folder.name} into {files.model_id} needs more memory than is free, 4 bytes for each "
        "weight of both. Use a machine with more memory."
    )


def _check_adapter(files: ModelFiles, folder: Path) -> None:
    if files.method is not None:
        raise ModelLoadError(
            f"An adapter cannot be merged into the quantised files of {files.model_id}. Choose the full-precision "
            "model."
        )
    if not folder.is_dir() or not has_adapter(folder):
        raise ModelLoadError(f"{folder.name} is no folder with an {CONFIG_FILE}. Give --adapter the folder of a LoRA.")
    if not (folder / WEIGHTS_FILE).is_file():
        raise ModelLoadError(
            f"The adapter {folder.name} has no {WEIGHTS_FILE}, and other formats can run code when they are read. Save "
            "the adapter again with save_pretrained."
        )
    check_pointers(folder, [CONFIG_FILE, WEIGHTS_FILE], folder.name)
    config = read_json(folder / CONFIG_FILE, folder.name)
    kind = str(config.get("peft_type"))
    if kind != "LORA":
        raise ModelLoadError(f"The adapter {folder.name} is of the type {kind[:40]}. Only LoRA can be merged here.")
    if config.get("megatron_config"):  # PEFT would import whatever module the file names
        raise ModelLoadError(f"The adapter {folder.name} is made for Megatron. Save it again for transformers.")


def _key(files: ModelFiles, folder: Path) -> str:
    """Another key if the base, the adapter or this program's way of merging changes."""
    stamps = [shard.stamp for shard in files.checkpoint.shards]
    digest = hashlib.sha256(f"{LAYOUT} {files.folder} {stamps} {_adapter_hash(folder)}".encode())
    for path in sorted(files.folder.iterdir()):
        if is_companion(path.name) and path.is_file():
            digest.update(f"{path.name} {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _adapter_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _write(files: ModelFiles, folder: Path, target: Path) -> None:
    from peft import PeftModel

    base = AutoModelForCausalLM.from_pretrained(
        files.folder,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        generation_config=files.rules.config(),
        adapter_kwargs=NO_ADAPTER,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base, folder)
    if any("missing adapter keys" in str(warning.message) for warning in caught):
        raise ModelLoadError(
            f"The weights of the adapter {folder.name} are not those that its {CONFIG_FILE} describes for "
            f"{files.model_id}. Choose an adapter that was made for this model."
        )
    merged = model.merge_and_unload(safe_merge=True)
    merged.to(_stored_dtype(files.checkpoint)).save_pretrained(target, max_shard_size=SHARD_SIZE)
    for path in files.folder.iterdir():
        if is_companion(path.name) and path.is_file():
            shutil.copyfile(path, target / path.name)


def _stored_dtype(checkpoint: Checkpoint) -> torch.dtype:
    """The number format of most of the numbers in a checkpoint."""
    counts: dict[torch.dtype, int] = {}
    for tensor in checkpoint.tensors().values():
        if tensor.dtype in FLOATS:
            counts[FLOATS[tensor.dtype]] = counts.get(FLOATS[tensor.dtype], 0) + tensor.numel
    return max(counts, key=lambda dtype: counts[dtype])
