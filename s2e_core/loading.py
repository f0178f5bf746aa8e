"""Load a model and its tokenizer, read-only, with everything the other stages need to know about it.

Knows disk and Hub, devices and dtypes. Only safetensors weights are read and no code from a repository is ever run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from safetensors import SafetensorError

from . import hub
from .architecture import find_sites
from .checkpoint import FLOATS, INDEX, SINGLE, Checkpoint, open_checkpoint
from .dispatch import Target, read_model
from .errors import ExportError, ModelLoadError, S2EError, UnsupportedModelError
from .memory import available_memory, is_out_of_memory, memory_need, refuse_hopeless, weights_bytes
from .model_config import check_config, read_json
from .placement import SPREAD, Placement, Quantize, is_quantized, whole_weight
from .quantized import check_quantize, stored_method
from .residence import check_quantized, residence_warnings
from .site_check import verify_sites
from .site_weight import held_weight
from .spec import ModelSpec
from .text_checks import load_tokenizer, text_warnings
from .types import LoadedModel, Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUNDLED = "bundled"
BUNDLED_MODEL = Path(__file__).resolve().parent.parent / "assets" / "demo_model"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_SETTINGS_FILES = (*_TOKENIZER_FILES, "generation_config.json")
"""Beside config.json; a folder need not have them."""


def load_model(
    source: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    max_memory: Mapping[str, int] | None = None,
    quantize: Quantize | None = None,
    progress: Progress | None = None,
) -> LoadedModel:
    """Load a causal language model from "bundled", a local folder or a Hub id, and verify its heads and neurons.

    By default it runs on the GPU in the stored dtype where there is one, else on the CPU in fp32 (a CPU without
    matrix instructions for bf16 is several times slower in it). The device "auto" spreads a model over all GPUs and
    the memory, at most `max_memory` bytes of each ("cpu", "0", "1", ...), and leaves the rest on the disk. `quantize`
    runs it in fewer bits; scores and exports keep to the weights of the files. `progress` counts the bytes of a
    download; raising Cancelled in it stops. Raises ModelLoadError for a source that cannot be read, is damaged or
    larger than the memory, and UnsupportedModelError for a model whose components cannot be located.
    """
    folder, model_id, found_revision = _resolve(source, revision, progress)
    check_config(folder / "config.json", model_id)
    for name in _SETTINGS_FILES:
        if (folder / name).is_file():
            read_json(folder / name, model_id)
    method = stored_method(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    check_quantize(quantize, method, model_id)
    checkpoint = _checkpoint(folder, model_id)
    chosen: Target = SPREAD if device == SPREAD else default_device() if device is None else _device(device)
    if max_memory is not None and chosen != SPREAD:
        raise ModelLoadError("Limits of memory (--max-memory) need --device auto, which spreads the model. Add it.")
    # Quantised files say themselves in what they are to be computed, and their libraries know no other way.
    kept = None if method is not None else dtype or _dtype(chosen, checkpoint)
    warnings: tuple[str, ...] = ()
    if isinstance(chosen, torch.device):
        need = memory_need(checkpoint, chosen, kept, quantize=quantize, method=method)
        refuse_hopeless(model_id, checkpoint, need, method=method)
        warnings = (need.warning,) if need.warning else ()
    asked = Placement(str(chosen), kept, max_memory, quantize)
    try:
        loaded = _verified(folder, model_id, found_revision, chosen, asked, method)
    except (MemoryError, RuntimeError, S2EError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelLoadError(
            f"{model_id} does not fit into the memory of {_named(chosen)}. Choose a smaller model, a smaller dtype, "
            "fewer bits (--quantize int8 or int4), or --device auto."
        ) from error
    return replace(loaded, warnings=(*loaded.warnings, *warnings))


def _verified(
    folder: Path, model_id: str, revision: str | None, target: Target, asked: Placement, method: str | None
) -> LoadedModel:
    model, unused = _read(folder, model_id, target, asked)
    tokenizer, warnings = _tokenizer(folder, model_id)
    precise = None
    if asked.quantize is not None:  # the same model once more, all of it left in the files: what is scored and exported
        precise, _ = _read(folder, model_id, "disk", Placement())
    _refuse_not_finite(precise or model, model_id)
    warnings = (*warnings, *text_warnings(tokenizer, model_id), *_unused_warning(unused))
    spec = verify_sites(model, find_sites(model))
    if precise is not None:
        full = _same_sites(spec, find_sites(precise))
        check_quantized(model, spec, precise, full)
        spec = full
    loaded = LoadedModel(
        model=model,
        tokenizer=tokenizer,
        spec=spec,
        model_id=model_id,
        revision=revision,
        source=folder,
        fingerprint=fingerprint(precise or model, spec),
        precise=precise,
        placement=asked,
        stored_quantized=method or "",
    )
    return replace(loaded, warnings=(*warnings, *residence_warnings(loaded)))


def _unused_warning(unused: tuple[str, ...]) -> tuple[str, ...]:
    """Parts for images, layers beyond the configured depth, leftovers of a training: a person may have meant them."""
    if not unused:
        return ()
    names = f"{unused[0]}{' and others' if len(unused) > 1 else ''}"
    return (f"{len(unused):,} of the stored weights are not used ({names}); an export keeps them as they are.",)


def _same_sites(running: ModelSpec, precise: ModelSpec) -> ModelSpec:
    """The sites as the files have them, with what the quantised model showed of them."""
    if [(s.name, s.n_components, s.width) for s in running.sites] != [
        (s.name, s.n_components, s.width) for s in precise.sites
    ]:
        raise UnsupportedModelError(
            f"This {running.model_type} model has other heads and neurons when it is quantised. Load it without."
        )
    pairs = zip(running.sites, precise.sites, strict=True)
    return replace(precise, sites=tuple(replace(kept, post_norm=seen.post_norm) for seen, kept in pairs))


def _dtype(target: Target, checkpoint: Checkpoint) -> torch.dtype | None:
    """fp32 on a CPU; None, as stored, on a GPU, and where a spread model would not fit into memory as fp32."""
    if isinstance(target, torch.device):
        return torch.float32 if target.type == "cpu" else None
    cpu_alone = default_device().type == "cpu"
    fits = weights_bytes(checkpoint, torch.float32) <= (available_memory(torch.device("cpu")) or 0)
    return torch.float32 if cpu_alone and fits else None


def _named(target: Target) -> str:
    return str(target) if isinstance(target, torch.device) else "this machine"


def default_device() -> torch.device:
    """The fastest device of this machine."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError):  # an unknown name, or a kind of device this build of torch lacks
        raise ModelLoadError(f"This machine has no device {device}. Use cpu, or the name of an existing GPU.") from None


def fingerprint(model: PreTrainedModel, spec: ModelSpec) -> str:
    """SHA-256 over the names, shapes and the row and column sums of the weights of all sites, hexadecimal.

    The sums are of the bits of the bf16 values, as whole numbers: exact on every device, changed by any one value, and
    the same whether the checkpoint was loaded as bf16 or fp32.
    """
    digest = hashlib.sha256(spec.model_type.encode())
    for site in spec.sites:
        bits = held_weight(model, site).to(torch.bfloat16).view(torch.int16)
        digest.update(f"{site.name} {site.n_components} {site.width} {tuple(bits.shape)}".encode())
        for dim in (0, 1):  # the matrices of fused experts one below the other
            digest.update(bits.flatten(0, -2).sum(dim, dtype=torch.int64).cpu().numpy().tobytes())
    return digest.hexdigest()


def _resolve(source: str | Path, revision: str | None, progress: Progress | None) -> tuple[Path, str, str | None]:
    """(folder with the checkpoint, model id to show and to record, revision)."""
    if source == BUNDLED:
        source = BUNDLED_MODEL
    folder = Path(source)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelLoadError(
                f"The folder {folder.name} has no config.json. Choose the folder of a saved transformers model."
            )
        return folder.resolve(), folder.resolve().name, None
    if folder.is_absolute() or folder.exists() or str(source).startswith("."):
        raise ModelLoadError(f"There is no model folder {folder.name}. Choose an existing folder or a Hub id.")
    downloaded = hub.download(str(source), revision, progress=progress)
    return downloaded, str(source), downloaded.name  # a snapshot's folder is named after its commit


def _checkpoint(folder: Path, model_id: str) -> Checkpoint:
    """The headers of the weights: a damaged file is told before anything is built."""
    if not any((folder / name).is_file() for name in (SINGLE, INDEX)):
        pickled = any(path.suffix in hub.PICKLES for path in folder.iterdir())
        raise ModelLoadError(
            f"{model_id} has {'only pickled weights and ' if pickled else ''}no .safetensors weights, the only format "
            "this program reads. Save the model once more with save_pretrained."
        )
    try:
        return open_checkpoint(folder)
    except ExportError as error:
        raise ModelLoadError(f"{model_id} could not be loaded: {error}") from error


def _read(folder: Path, model_id: str, target: Target, asked: Placement) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The model, and the names of the stored weights that it does not use."""
    try:
        model, missing, unused = read_model(
            folder, target, asked.dtype, max_memory=asked.max_memory, quantize=asked.quantize
        )
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise _unreadable(folder, model_id, error) from error
    if missing:  # transformers would go on with random numbers
        raise ModelLoadError(
            f"{model_id} lacks the weights {', '.join(missing[:3])}. Download or save it again; if its files are "
            f"complete, transformers {transformers.__version__} looks for these under other names."
        )
    return model, unused


def _tokenizer(folder: Path, model_id: str) -> tuple[PreTrainedTokenizerBase, tuple[str, ...]]:
    try:
        return load_tokenizer(folder)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise _unreadable(folder, model_id, error) from error
    except Exception as error:  # noqa: BLE001  (what tokenizers raises has no type of its own)
        raise ModelLoadError(
            f"{model_id} could not be loaded: its tokenizer is damaged, or of a kind that transformers does not know. "
            "Download or save the model again."
        ) from error


def _unreadable(folder: Path, model_id: str, error: Exception) -> ModelLoadError:
    if "ignore_mismatched_sizes" in str(error):
        return ModelLoadError(
            f"{model_id} could not be loaded: its weights have other shapes than its config.json says. Download or "
            "save the model again."
        )
    reason = " ".join(str(error).split())[:300].replace(str(folder) + os.sep, "").replace(str(folder), model_id)
    return ModelLoadError(f"{model_id} could not be loaded: {reason}{'' if reason.endswith(('.', '!', '?')) else '.'}")


def _refuse_not_finite(model: PreTrainedModel, model_id: str) -> None:
    """One NaN in a weight makes every score and text NaN. The sum tells it without a second copy of the weight."""
    for name, parameter in model.named_parameters():
        if is_quantized(parameter) or parameter.dtype not in FLOATS.values():
            continue
        values = whole_weight(model, name)
        if not bool(values.sum(dtype=torch.float32).isfinite()) and not bool(values.isfinite().all()):
            raise ModelLoadError(
                f"{model_id} is damaged: {name} holds values that are not finite numbers (NaN or infinity). "
                "Download or save the model again."
            )
