"""Build a model directly on its target: on one device, spread over several, or left on the disk.

Knows transformers' loading and accelerate's device maps. Weights on the disk are read from the checkpoint's own files;
those that transformers rearranges (fused experts) go to a temporary folder that is removed with the model.
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
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from s2e_core.errors import ModelLoadError
from s2e_core.files import Checkpoint
from s2e_core.model import SPREAD, Quantize

from .memory import WORKING_SHARE, available_memory
from .quantized import keep_weight_layout, quantization_settings, read_quantization_method, request_dequantizing
from .quanto_file import MAP, read_quanto

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Target: TypeAlias = torch.device | Literal["auto", "disk"]
NO_ADAPTER = {"subfolder": ".none"}
"""Folder in which transformers looks for an adapter: one beside the weights would be applied in silence."""
MAX_TIED_RATIO = 2
"""Largest ratio of a model's weights to those in its files, which store tied weights once."""


def read_model(
    folder: Path,
    target: Target,
    dtype: torch.dtype | None,
    *,
    generation: GenerationConfig | None = None,
    max_memory: Mapping[str, int] | None = None,
    quantize: Quantize | None = None,
) -> tuple[PreTrainedModel, tuple[str, ...], tuple[str, ...]]:
    """Return (model in eval mode, names of weights that the files lack, names of stored weights without a use).

    `dtype` None keeps the stored one. `target` "auto" spreads the model; "disk" leaves every weight in the files, to be
    read one at a time. The model's generation config is `generation`, by default an empty one. Raises what transformers
    raises, and ModelLoadError if the files do not allow `target`.
    """
    config = _read_config(folder)
    if (folder / MAP).is_file():
        if isinstance(target, str):
            raise ModelLoadError("Files of optimum-quanto run on one device. Leave --device auto out.")
        model, missing, unused = read_quanto(folder, config, target)
        model.generation_config = generation or GenerationConfig()
        return model.eval().requires_grad_(False), missing, unused
    method = read_quantization_method(config.to_dict())
    request_dequantizing(config, method)
    options: dict[str, Any] = {"device_map": _device_map(target)}
    offload_folder = None
    if isinstance(target, str):
        # residence.py reports what stays on the disk.
        logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)
        offload_folder = tempfile.mkdtemp(prefix="s2e-offloaded-")
        options["offload_folder"] = offload_folder
        if target == SPREAD:
            options["max_memory"] = budget(max_memory, only_gpus=quantize is not None or method == "bitsandbytes")
    if quantize is not None:
        options["quantization_config"] = quantization_settings(quantize, dtype)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype or "auto",
            use_safetensors=True,
            generation_config=generation or GenerationConfig(),
            trust_remote_code=False,
            output_loading_info=True,
            adapter_kwargs=NO_ADAPTER,
            **options,
        )
    except BaseException:
        _remove(offload_folder)
        raise
    weakref.finalize(model, _remove, offload_folder)
    keep_weight_layout(model)
    missing, unused = (tuple(sorted(report[name])) for name in ("missing_keys", "unexpected_keys"))
    return model.eval().requires_grad_(False), missing, unused


def _read_config(folder: Path) -> PreTrainedConfig:
    """Read the configuration, except for what changes the form of outputs and not the model."""
    plain = {"return_dict": True, "output_attentions": False, "output_hidden_states": False}
    return AutoConfig.from_pretrained(folder, trust_remote_code=False, **plain)


def config_exceeds_files(folder: Path, checkpoint: Checkpoint) -> bool:
    """Check whether config.json describes far more weights than the files contain.

    transformers would allocate the rest in memory before it reports anything missing. Raises what transformers raises.
    """
    config = _read_config(folder)
    stored = checkpoint.tensors().values()
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    if isinstance(layers, int) and layers > len(stored):
        return True
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    n_stored = sum(tensor.numel for tensor in stored)
    return sum(parameter.numel() for parameter in model.parameters()) > MAX_TIED_RATIO * n_stored


def budget(max_memory: Mapping[str, int] | None, *, only_gpus: bool = False) -> dict[str | int, int]:
    """Return the bytes that a spread model may take per device: `max_memory`, else what is free less working memory.

    Raises ModelLoadError if `max_memory` names a device that this machine does not have or the model cannot use.
    """
    free = {str(n): available_memory(torch.device("cuda", n)) or 0 for n in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        free["mps"] = available_memory(torch.device("mps")) or 0
    elif not (only_gpus and free):  # a quantised model runs on GPUs only, or on a CPU only
        free["cpu"] = available_memory(torch.device("cpu")) or 0
    limits = {name: int(n / WORKING_SHARE) for name, n in free.items()}
    if unknown := [name for name in max_memory or {} if name not in limits]:
        raise ModelLoadError(
            f"--max-memory sets a limit for {unknown[0]}, but this model can be spread only over "
            f"{' and '.join(limits)} here. Choose one of these."
        )
    limits |= max_memory or {}
    return {int(name) if name.isdigit() else name: n for name, n in limits.items()}


def _device_map(target: Target) -> Any:
    return target if target == SPREAD else {"": target}


def _remove(folder: str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
