"""Quantised weights: which stored formats can be read, and how a model is quantised while it is loaded.

Knows a configuration's `quantization_config`, the headers of weights and transformers' quantisation settings. The
libraries that do the work are optional. Loads no weight.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from s2e_core.errors import ModelLoadError
from s2e_core.files import FLOATS
from s2e_core.model import Quantize

NEEDED: Mapping[str, str | None] = MappingProxyType(
    {
        "bitsandbytes": "bitsandbytes",
        "torchao": "torchao",
        "quanto": "optimum-quanto",
        "compressed-tensors": "compressed-tensors",
        "fp8": None,
        "mxfp4": None,
    }
)
"""Stored formats that can be read, and the package that each needs: None if it needs none."""
MODULES: Mapping[str, str] = MappingProxyType(
    {"optimum-quanto": "optimum.quanto", "compressed-tensors": "compressed_tensors"}
)
"""Import names of the packages whose import name differs."""
DEQUANTIZING: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {"fp8": {"dequantize": True}, "mxfp4": {"dequantize": True}, "compressed-tensors": {"run_compressed": False}}
)
"""Formats that are dequantised while they are loaded, and the setting that requests it."""
WEIGHT_NAME = re.compile(r"(weight(_packed)?|_proj(_blocks)?)$")
"""Endings of the names of weights. Other tensors may be integers: masks, positions, tables of tokens."""


def read_quantization_method(config: Mapping[str, Any]) -> str | None:
    """Return the quantisation method of a checkpoint that its config.json states; None if it states none."""
    text = config.get("text_config")
    settings = config.get("quantization_config") or (text.get("quantization_config") if isinstance(text, dict) else {})
    if not isinstance(settings, Mapping) or not settings:
        return None
    bits = settings.get("load_in_4bit") or settings.get("load_in_8bit")
    return str(settings.get("quant_method") or ("bitsandbytes" if bits else "an unnamed method"))


def check_stored(method: str | None, model_id: str) -> None:
    """Raise ModelLoadError if a format cannot be read, or its package is not installed."""
    if method is None:
        return
    if method not in NEEDED:
        raise ModelLoadError(
            f"The weights of {model_id} are quantised in a format ({method}) that this program cannot read. Load the "
            "full-precision model that it was made from; --quantize int8 or int4 makes that model small too."
        )
    require_package(NEEDED[method], f"The files of {model_id} are quantised with {method}, which needs")


def check_number_formats(formats: Mapping[str, str], method: str | None, model_id: str) -> None:
    """Raise ModelLoadError if the stored tensors and the quantisation stated in config.json contradict each other.

    `formats` has the number format of every stored tensor by name, `method` is the result of
    `read_quantization_method`. Without this check, quantised integers would be taken for the weights themselves and
    their scales ignored.
    """
    if method is not None:
        if all(number_format in FLOATS for number_format in formats.values()):
            raise ModelLoadError(
                f"The config.json of {model_id} says that its weights are quantised ({method}), but they are not. "
                "Remove quantization_config from it, or download the model again."
            )
        return
    scales = {name.rpartition(".")[0]: name for name in formats if "scale" in name}
    for name, number_format in formats.items():
        if number_format in FLOATS or not WEIGHT_NAME.search(name):
            continue
        scale = scales.get(name.rpartition(".")[0])
        if number_format.startswith("F8") and scale is None:  # a plain cast, without scales
            continue
        raise ModelLoadError(
            f"{model_id} could not be loaded: its weight {name} is stored as {number_format}"
            f"{f', with scales in {scale}' if scale else ''}, and no quantization_config in its config.json says what "
            f"these numbers stand for. Weights stored as {', '.join(FLOATS)} were expected. Load the full-precision "
            "model that it was made from, or download this one again with its own config.json."
        )


def check_quantize(quantize: Quantize | None, method: str | None, model_id: str) -> None:
    """Raise ModelLoadError if a checkpoint cannot be quantised at load."""
    if quantize is None:
        return
    if method is not None:
        raise ModelLoadError(f"{model_id} is already quantised ({method}). Leave out --quantize.")
    require_package("bitsandbytes", f"--quantize {quantize} needs")


def require_package(package: str | None, subject: str) -> None:
    """Raise ModelLoadError, which begins with `subject`, unless an optional package is installed."""
    if package is not None and not _is_installed(MODULES.get(package, package)):
        raise ModelLoadError(f"{subject} the package {package}, which is not installed. Run pip install {package}.")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False


def request_dequantizing(config: Any, method: str | None) -> None:
    """Change a configuration so that a format whose own kernels need certain GPUs is loaded as plain numbers."""
    if method is not None and method in DEQUANTIZING:
        config.quantization_config = {**config.quantization_config, **DEQUANTIZING[method]}


def quantization_settings(quantize: Quantize, dtype: torch.dtype | None) -> BitsAndBytesConfig:
    """Return transformers' settings for quantising at load; int4 weights are multiplied in `dtype`."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it logs every cast in every layer
    if quantize == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype or torch.bfloat16
    )


def keep_weight_layout(model: nn.Module) -> None:
    """Keep bitsandbytes from rearranging 4-bit weights in the first forward pass, as it does on some CPUs.

    Rearranged weights can no longer be read.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
