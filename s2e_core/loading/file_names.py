"""Choose the files that make up a model, in a folder or a repository, by their names alone.

Knows names; opens nothing and knows neither the disk nor the Hub.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatch

from s2e_core.errors import ModelLoadError
from s2e_core.files import INDEX, SINGLE

CONFIG = "config.json"
SMALL_FILES = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "README.md", "LICENSE*", "NOTICE*")
"""Configuration, tokenizer, template and licence. Weights are chosen one by one; code is never downloaded."""
SHARDS = re.compile(r"model-\d+-of-\d+\.safetensors")
VOCABULARIES = ("tokenizer.json", "*vocab*", "*.model", "*.tiktoken", "tekken.json")
"""Vocabulary files, of which a tokenizer needs at least one."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def check_names(model_id: str, names: Collection[str]) -> None:
    """Raise ModelLoadError, naming what there is instead, unless there are config.json and safetensors weights."""
    weights = SINGLE in names or INDEX in names
    if CONFIG in names and weights:
        return
    if "adapter_config.json" in names:
        raise ModelLoadError(f"{model_id} is an adapter without its model. Choose the model that it was made for.")
    if not weights and any(name.endswith(".gguf") for name in names):
        raise ModelLoadError(
            f"{model_id} has its weights in the format GGUF, for llama.cpp and similar programs. Choose the "
            "transformers model that they were made from."
        )
    if CONFIG not in names:
        raise ModelLoadError(f"{model_id} has no config.json. Choose the folder or repository of a transformers model.")
    raise ModelLoadError(_explain_no_weights(model_id, names))


def choose_files(model_id: str, names: Sequence[str]) -> tuple[str, ...]:
    """Choose the files of a repository that loading needs. Raises ModelLoadError if they do not make up a model."""
    check_names(model_id, names)
    weights = [SINGLE] if SINGLE in names else [name for name in names if SHARDS.fullmatch(name)]
    if not weights:
        raise ModelLoadError(_explain_no_weights(model_id, names))
    small = [name for name in names if "/" not in name and any(fnmatch(name, pattern) for pattern in SMALL_FILES)]
    templates = [name for name in names if fnmatch(name, "additional_chat_templates/*.jinja")]
    return tuple(dict.fromkeys([*small, *templates, *weights]))


def check_vocabulary(model_id: str, names: Collection[str]) -> None:
    """Raise ModelLoadError if no tokenizer can be built from these files."""
    if not any(fnmatch(name, pattern) for name in names for pattern in VOCABULARIES):
        raise ModelLoadError(
            f"{model_id} has no tokenizer (tokenizer.json). Save it into the same folder, with the tokenizer's "
            "save_pretrained."
        )


def _explain_no_weights(model_id: str, names: Collection[str]) -> str:
    has_pickles = any(name.endswith(PICKLES) for name in names)
    instead = "only pickled weights (.bin or .pt), which can run code when they are read, and " if has_pickles else ""
    return (
        f"{model_id} has {instead}no safetensors weights, the only format that this program reads. Choose a revision "
        "or another repository that has them, or save the model again with save_pretrained."
    )
