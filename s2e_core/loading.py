"""Load a model and its tokenizer, read-only, with everything the other stages need to know about it.

Knows disk and Hub, devices and dtypes. Only safetensors weights are read and no code from a repository is ever run.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from . import hub
from .architecture import find_sites
from .checkpoint import FLOATS, INDEX, SINGLE, Checkpoint, open_checkpoint
from .errors import ExportError, ModelLoadError, S2EError
from .memory import MemoryNeed, is_out_of_memory, memory_need, refuse_hopeless
from .model_config import check_config
from .site_check import verify_sites
from .site_weight import held_weight
from .spec import ModelSpec
from .text_checks import load_tokenizer, text_warnings
from .types import LoadedModel, Progress

BUNDLED = "bundled"
BUNDLED_MODEL = Path(__file__).resolve().parent.parent / "assets" / "demo_model"


def load_model(
    source: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    progress: Progress | None = None,
) -> LoadedModel:
    """Load a causal language model from "bundled", a local folder or a Hub id, and verify its heads and neurons.

    By default it runs on the GPU in the stored dtype where there is one, else on the CPU in fp32 (a CPU without
    matrix instructions for bf16 is several times slower in it). `progress` counts the bytes of a download; raising
    Cancelled in it stops. Raises ModelLoadError for a source that cannot be read, is damaged or larger than the
    memory, and UnsupportedModelError for a model whose components cannot be located.
    """
    folder, model_id, found_revision = _resolve(source, revision, progress)
    chosen = default_device() if device is None else _device(device)
    kept = dtype or (torch.float32 if chosen.type == "cpu" else None)
    checkpoint = _checkpoint(folder, model_id)
    need = memory_need(checkpoint, chosen, kept)
    refuse_hopeless(model_id, checkpoint, need)
    try:
        return _verified(folder, model_id, found_revision, chosen, kept, need)
    except (MemoryError, RuntimeError, S2EError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelLoadError(
            f"{model_id} does not fit into the memory of {chosen}. Choose a smaller model, a smaller dtype or another "
            "device."
        ) from error


def _verified(
    folder: Path, model_id: str, revision: str | None, device: torch.device, dtype: torch.dtype | None, need: MemoryNeed
) -> LoadedModel:
    model, tokenizer, warnings = _read(folder, model_id, device, dtype)
    _refuse_not_finite(model, model_id)
    warnings = (*warnings, *text_warnings(tokenizer, model_id), *filter(None, [need.warning]))
    spec = verify_sites(model, find_sites(model))
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        spec=spec,
        model_id=model_id,
        revision=revision,
        source=folder,
        fingerprint=fingerprint(model, spec),
        warnings=warnings,
    )


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


def _read(
    folder: Path, model_id: str, device: torch.device, dtype: torch.dtype | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, tuple[str, ...]]:
    """(model on its device, its tokenizer, warnings about that); dtype None keeps the stored one."""
    check_config(folder / "config.json", model_id)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype or "auto",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        tokenizer, warnings = load_tokenizer(folder)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300].replace(str(folder) + os.sep, "").replace(str(folder), model_id)
        raise ModelLoadError(f"{model_id} could not be loaded: {reason}") from error
    if report["missing_keys"]:  # transformers would go on with random numbers
        raise ModelLoadError(
            f"{model_id} lacks the weights {', '.join(sorted(report['missing_keys'])[:3])}. Download or save it again."
        )
    return model.eval().requires_grad_(False).to(device), tokenizer, warnings


def _refuse_not_finite(model: PreTrainedModel, model_id: str) -> None:
    """One NaN in a weight makes every score and text NaN. The sum tells it without a second copy of the weight."""
    for name, parameter in model.named_parameters():
        if parameter.is_meta or parameter.dtype not in FLOATS.values():
            continue
        values = parameter.detach()
        if not bool(values.sum(dtype=torch.float32).isfinite()) and not bool(values.isfinite().all()):
            raise ModelLoadError(
                f"{model_id} is damaged: {name} holds values that are not finite numbers (NaN or infinity). "
                "Download or save the model again."
            )
