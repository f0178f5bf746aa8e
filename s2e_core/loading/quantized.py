"""Quantised weights: which stored formats can be read, and quantising a full-precision checkpoint while it is loaded.

Knows a configuration's `quantization_config`, headers of weights, and transformers' quantisation settings; the
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
"""Stored formats that can be read, and the package that each needs."""
MODULES: Mapping[str, str] = MappingProxyType(
    {"optimum-quanto": "optimum.quanto", "compressed-tensors": "compressed_tensors"}
)
"""Names to import, where they are not the package's."""
TURNED_BACK: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {"fp8": {"dequantize": True}, "mxfp4": {"dequantize": True}, "compressed-tensors": {"run_compressed": False}}
)
"""Formats that become plain numbers while they are loaded, and the setting that asks for it."""

A_WEIGHT = re.compile(r"(weight(_packed)?|_proj(_blocks)?)$")
"""Of a stored tensor's name. Others may well be whole numbers: masks, positions, tables of tokens."""


def stored_method(config: Mapping[str, Any]) -> str | None:
    """How the weights of a checkpoint are quantised, as its config.json says; None where they are not."""
    text = config.get("text_config")
    settings = config.get("quantization_config") or (text.get("quantization_config") if isinstance(text, dict) else {})
    if not isinstance(settings, Mapping) or not settings:
        return None
    bits = settings.get("load_in_4bit") or settings.get("load_in_8bit")
    return str(settings.get("quant_method") or ("bitsandbytes" if bits else "an unnamed method"))


def check_stored(method: str | None, model_id: str) -> None:
    """Raise ModelLoadError for a format that cannot be read, or whose package is not installed."""
    if method is None:
        return
    if method not in NEEDED:
        raise ModelLoadError(
            f"The weights of {model_id} are stored quantised in a format ({method}) that this program cannot turn back "
            "into numbers. Load the full-precision model that it was made from; --quantize int8 or int4 makes that "
            "one small too."
        )
    _need(NEEDED[method], f"{model_id} is stored quantised with {method}, which needs")


def check_unstated(formats: Mapping[str, str], method: str | None, model_id: str) -> None:
    """Raise ModelLoadError where the stored tensors and what config.json says of quantising them contradict each other.

    `formats` are the number formats of all stored tensors by name, `method` is that of `stored_method`. Whole numbers
    would otherwise be taken for the weights themselves, which they stand for, and scales left out.
    """
    if method is not None:
        if all(number_format in FLOATS for number_format in formats.values()):
            raise ModelLoadError(
                f"The config.json of {model_id} says that its weights are quantised ({method}), and they are not. "
                "Remove quantization_config from it, or download the model again."
            )
        return
    scales = {name.rpartition(".")[0]: name for name in formats if "scale" in name}
    for name, number_format in formats.items():
        if number_format in FLOATS or not A_WEIGHT.search(name):
            continue
        scale = scales.get(name.rpartition(".")[0])
        if number_format.startswith("F8") and scale is None:  # cast, and no more
            continue
        raise ModelLoadError(
            f"{model_id} could not be loaded: its weight {name} is stored as {number_format}"
            f"{f', with scales in {scale}' if scale else ''}, and no quantization_config in its config.json says what "
            f"these numbers stand for. Expected were weights stored as {', '.join(FLOATS)}. Load the full-precision "
            "model that it was made from, or download this one again with its own config.json."
        )


def check_quantize(quantize: Quantize | None, method: str | None, model_id: str) -> None:
    """Raise ModelLoadError where a checkpoint cannot be quantised at load."""
    if quantize is None:
        return
    if method is not None:
        raise ModelLoadError(f"{model_id} is quantised already ({method}). Leave --quantize out.")
    _need("bitsandbytes", f"--quantize {quantize} needs")


def _need(package: str | None, why: str) -> None:
    if package is not None and not _is_installed(MODULES.get(package, package)):
        raise ModelLoadError(f"{why} the package {package}, which is not installed. Run pip install {package}.")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that contains it
        return False


def turn_back(config: Any, method: str | None) -> None:
    """Ask, in a configuration that was just read, for plain numbers where a format's own kernels need a certain GPU."""
    if method is not None and method in TURNED_BACK:
        config.quantization_config = {**config.quantization_config, **TURNED_BACK[method]}


def quantizer(quantize: Quantize, dtype: torch.dtype | None) -> BitsAndBytesConfig:
    """transformers' settings for quantising at load; `dtype` is that of the computation in between."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of every cast, in every layer
    if quantize == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype or torch.bfloat16
    )


def keep_order(model: nn.Module) -> None:
    """Keep bitsandbytes from laying out 4-bit weights anew in the first forward pass on some CPUs, past reading."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
