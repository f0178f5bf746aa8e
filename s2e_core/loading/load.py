"""Load a model and its tokenizer, read-only, with everything the other stages need to know about it.

Knows devices and dtypes, and puts together what the files, transformers and the checks of a built model say. Only
safetensors weights are read and no code from a repository is ever run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from s2e_core.errors import ModelLoadError, S2EError
from s2e_core.files import FLOATS, Checkpoint
from s2e_core.model import (
    SPREAD,
    LoadedModel,
    Placement,
    Quantize,
    embedding,
    find_sites,
    held_weight,
    is_quantized,
    verify_sites,
    whole_weight,
)
from s2e_core.progress import Progress
from s2e_core.spec import ModelSpec

from .build import Target, describes_more, read_model
from .file_names import check_vocabulary
from .files import ModelFiles, find_files
from .memory import available_memory, is_out_of_memory, memory_need, refuse_hopeless, weights_bytes
from .messages import lacking_weights, other_shapes, unreadable_model, unreadable_tokenizer
from .originals import check_originals, difference, same_sites
from .quantized import check_quantize
from .residence import residence_warnings
from .tokenizer import load_tokenizer, text_warnings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_model(
    source: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    max_memory: Mapping[str, int] | None = None,
    quantize: Quantize | None = None,
    originals: str | Path | None = None,
    progress: Progress | None = None,
) -> LoadedModel:
    """Load a causal language model from "bundled", a local folder or a Hub id, and verify its heads and neurons.

    By default it runs on the GPU in the stored dtype where there is one, else on the CPU in fp32 (a CPU without
    matrix instructions for bf16 is several times slower in it). The device "auto" spreads a model over all GPUs and
    the memory, at most `max_memory` bytes of each ("cpu", "0", "1", ...), and leaves the rest on the disk. `quantize`
    runs it in fewer bits; scores and exports keep to the weights of the files. Where the files of `source` are
    quantised themselves, `originals` names the full-precision ones that they were made from: these are then scored,
    edited and exported, and the result is theirs by name. `progress` counts the bytes of a download; raising Cancelled
    in it stops. Raises ModelLoadError for a source that cannot be read, is damaged, larger than the memory or made
    from other originals, and UnsupportedModelError for a model whose components cannot be located.
    """
    files = find_files(source, revision=revision, progress=progress)
    check_quantize(quantize, files.method, files.model_id)
    own = files
    if originals is not None:
        own = find_files(originals, progress=progress)
        check_originals(files, own)
    check_vocabulary(own.model_id, [path.name for path in own.folder.iterdir()])
    chosen: Target = SPREAD if device == SPREAD else default_device() if device is None else _device(device)
    if max_memory is not None and chosen != SPREAD:
        raise ModelLoadError("Limits of memory (--max-memory) need --device auto, which spreads the model. Add it.")
    # Quantised files say themselves in what they are to be computed, and their libraries know no other way.
    kept = None if files.method is not None else dtype or _dtype(chosen, files.checkpoint)
    warnings: tuple[str, ...] = ()
    if isinstance(chosen, torch.device):
        need = memory_need(files.checkpoint, chosen, kept, quantize=quantize, method=files.method)
        refuse_hopeless(files.model_id, files.checkpoint, need, method=files.method)
        warnings = (need.warning,) if need.warning else ()
    run_from = ""
    if own is not files:  # a worker on another machine has the Hub's in common, or a folder
        run_from = str(files.folder) if Path(source).is_dir() else f"{files.model_id}@{files.revision}"
    asked = Placement(str(chosen), kept, max_memory, quantize, run_from)
    try:
        loaded = _verified(files, own, chosen, asked)
    except (MemoryError, RuntimeError, S2EError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelLoadError(
            f"{files.model_id} does not fit into the memory of {_named(chosen)}. Choose a smaller model, a smaller "
            "dtype, fewer bits (--quantize int8 or int4), or --device auto."
        ) from error
    if files.method is not None and dtype not in (None, loaded.model.dtype):
        warnings += (f"Quantised files say themselves in what they are computed: {dtype} was asked for in vain.",)
    return replace(loaded, warnings=(*loaded.warnings, *warnings))


def _verified(files: ModelFiles, own: ModelFiles, target: Target, asked: Placement) -> LoadedModel:
    """`own` are the files that are scored and exported: `files` themselves, or their originals."""
    model, unused = _read(files, target, asked)
    tokenizer, warnings = _tokenizer(own)
    precise = None
    if asked.quantize is not None or own is not files:  # the model once more, all of it left in the files
        precise, unused = _read(own, "disk", Placement())
        _refuse_not_finite(precise, own.model_id)
    _refuse_not_finite(model, files.model_id)
    embedded = embedding(model)
    vocabulary = None if embedded is None else int(embedded.get_parameter("weight").shape[0])
    warnings = (*warnings, *text_warnings(tokenizer, own.model_id, vocabulary), *_unused_warning(unused))
    spec = verify_sites(model, find_sites(model))
    if precise is not None:
        spec = _full_spec(model, spec, precise, files, own)
    loaded = LoadedModel(
        model=model,
        tokenizer=tokenizer,
        spec=spec,
        model_id=own.model_id,
        revision=own.revision,
        source=own.folder,
        fingerprint=fingerprint(precise or model, spec),
        precise=precise,
        placement=asked,
        stored_quantized=files.method or "",
    )
    return replace(loaded, warnings=(*warnings, *residence_warnings(loaded)))


def _full_spec(
    model: PreTrainedModel, spec: ModelSpec, precise: PreTrainedModel, files: ModelFiles, own: ModelFiles
) -> ModelSpec:
    """The sites of the full-precision files. Raises ModelLoadError where `model` is not the same in fewer bits."""
    full = find_sites(precise)
    found = same_sites(spec, full)
    other = "it has other heads and neurons" if found is None else difference(model, spec, precise, full)
    if found is not None and other is None:
        return found
    if own is files:
        raise ModelLoadError(f"Quantised, {files.model_id} is another model: {other}. Load it without --quantize.")
    raise ModelLoadError(
        f"{own.model_id} is not the model that {files.model_id} was made from: {other}. Give --originals the "
        "full-precision files of the same model."
    )


def _unused_warning(unused: tuple[str, ...]) -> tuple[str, ...]:
    """Parts for images, layers beyond the configured depth, leftovers of a training: a person may have meant them."""
    if not unused:
        return ()
    if len(unused) == 1:
        return (f"The stored weight {unused[0]} is not used; an export keeps it as it is.",)
    return (
        f"{len(unused):,} of the stored weights are not used ({unused[0]} and others); an export keeps them as they "
        "are.",
    )


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
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError):  # an unknown name, or a kind of device this build of torch lacks
        found = torch.device("meta")
    if found.type == "meta":  # shapes without numbers
        raise ModelLoadError(f"This machine has no device {device}. Use cpu, or the name of an existing GPU.")
    return found


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


def _read(files: ModelFiles, target: Target, asked: Placement) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The model, and the names of the stored weights that it does not use."""
    try:
        if files.method is None and describes_more(files.folder, files.checkpoint):
            raise ModelLoadError(other_shapes(files))
        model, missing, unused = read_model(
            files.folder, target, asked.dtype, max_memory=asked.max_memory, quantize=asked.quantize
        )
    except S2EError:
        raise
    except Exception as error:  # a configuration may ask for anything
        raise ModelLoadError(unreadable_model(files, error)) from error
    if missing:  # transformers would go on with random numbers
        raise ModelLoadError(lacking_weights(files, missing))
    return model, unused


def _tokenizer(files: ModelFiles) -> tuple[PreTrainedTokenizerBase, tuple[str, ...]]:
    try:
        return load_tokenizer(files.folder)
    except Exception as error:  # what tokenizers raises has no type of its own
        raise ModelLoadError(unreadable_tokenizer(files, error)) from error


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
