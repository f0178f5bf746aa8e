"""Build a model from its folder straight where it is to be: on one device, spread over several, or left on the disk.

Knows transformers' loading and accelerate's device maps. What stays on the disk is read from the checkpoint's own
files; what transformers stores otherwise than the files have it (fused experts) goes to a folder that is removed with
the model.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from s2e_core.errors import ModelLoadError
from s2e_core.files import Checkpoint
from s2e_core.model import SPREAD, Quantize

from .memory import WORKING_SHARE, available_memory
from .quantized import keep_order, quantizer, stored_method, turn_back
from .quanto_file import MAP, read_quanto

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Target: TypeAlias = torch.device | Literal["auto", "disk"]
TIED = 2
"""A model may have so many times the weights of its files, where some stand for others."""


def read_model(
    folder: Path,
    target: Target,
    dtype: torch.dtype | None,
    *,
    max_memory: Mapping[str, int] | None = None,
    quantize: Quantize | None = None,
) -> tuple[PreTrainedModel, tuple[str, ...], tuple[str, ...]]:
    """(model in eval mode, names of weights that the files lack, and of those that it does not use).

    dtype None keeps the stored one.

    `target` "auto" spreads the model; "disk" leaves every weight in the files, to be read one at a time. Raises what
    transformers raises.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if (folder / MAP).is_file():
        if isinstance(target, str):
            raise ModelLoadError("Files of optimum-quanto run on one device. Leave --device auto out.")
        model, missing, unused = read_quanto(folder, config, target)
        return model.eval().requires_grad_(False), missing, unused
    method = stored_method(config.to_dict())
    turn_back(config, method)
    options: dict[str, Any] = {"device_map": _device_map(target)}
    kept = None
    if isinstance(target, str):
        logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)  # we tell what lies on the disk ourselves
        kept = tempfile.mkdtemp(prefix="s2e-offloaded-")
        options["offload_folder"] = kept
        if target == SPREAD:
            options["max_memory"] = budget(max_memory, gpus_alone=quantize is not None or method == "bitsandbytes")
    if quantize is not None:
        options["quantization_config"] = quantizer(quantize, dtype)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype or "auto",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    except BaseException:
        _remove(kept)
        raise
    weakref.finalize(model, _remove, kept)
    keep_order(model)
    missing, unused = (tuple(sorted(report[name])) for name in ("missing_keys", "unexpected_keys"))
    return model.eval().requires_grad_(False), missing, unused


def describes_more(folder: Path, checkpoint: Checkpoint) -> bool:
    """Whether config.json describes far more weights than the files hold.

    transformers would make up the rest, in memory, before it says that anything is missing. Raises what it raises.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    stored = checkpoint.tensors().values()
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    if isinstance(layers, int) and layers > len(stored):
        return True
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return sum(parameter.numel() for parameter in model.parameters()) > TIED * sum(tensor.numel for tensor in stored)


def budget(asked: Mapping[str, int] | None, *, gpus_alone: bool = False) -> dict[str | int, int]:
    """Bytes that a spread model may take, per device: what was asked for, else what is free less room to work in.

    Raises ModelLoadError for a limit of a place that this machine does not have, or that the model may not use.
    """
    free = {str(n): available_memory(torch.device("cuda", n)) or 0 for n in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        free["mps"] = available_memory(torch.device("mps")) or 0
    elif not (gpus_alone and free):  # a quantised model runs on GPUs alone, or on a CPU alone
        free["cpu"] = available_memory(torch.device("cpu")) or 0
    limits = {place: int(n / WORKING_SHARE) for place, n in free.items()}
    if unknown := [place for place in asked or {} if place not in limits]:
        raise ModelLoadError(
            f"A limit of memory was given for {unknown[0]} (--max-memory), and this model can be spread over "
            f"{' and '.join(limits)} here. Name one of these."
        )
    limits |= asked or {}
    return {int(place) if place.isdigit() else place: n for place, n in limits.items()}


def _device_map(target: Target) -> Any:
    return target if target == SPREAD else {"": target}


def _remove(folder: str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
