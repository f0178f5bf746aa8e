"""Which files make up a model, told by their names alone: what loading needs of a folder or a repository.

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
"""Configuration, tokenizer, template, licence. Weights are chosen one by one; code never comes."""
SHARDS = re.compile(r"model-\d+-of-\d+\.safetensors")
VOCABULARIES = ("tokenizer.json", "*vocab*", "*.model", "*.tiktoken", "tekken.json")
"""Of which a tokenizer needs one at least."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def check_names(model_id: str, names: Collection[str]) -> None:
    """Raise ModelLoadError, saying what is there instead, unless there are a configuration and safetensors weights."""
    weights = SINGLE in names or INDEX in names
    if CONFIG in names and weights:
        return
    if "adapter_config.json" in names:
        raise ModelLoadError(f"{model_id} is an adapter without its model. Name the model that it was made for.")
    if not weights and any(name.endswith(".gguf") for name in names):
        raise ModelLoadError(
            f"{model_id} has its weights as GGUF, for llama.cpp and programs like it. Choose the transformers model "
            "that they were made from."
        )
    if CONFIG not in names:
        raise ModelLoadError(f"{model_id} has no config.json. Choose the folder or repository of a transformers model.")
    raise ModelLoadError(_no_weights(model_id, names))


def wanted_files(model_id: str, names: Sequence[str]) -> tuple[str, ...]:
    """What loading needs of a repository's files. Raises ModelLoadError where there is no model to be read."""
    check_names(model_id, names)
    weights = [SINGLE] if SINGLE in names else [name for name in names if SHARDS.fullmatch(name)]
    if not weights:
        raise ModelLoadError(_no_weights(model_id, names))
    small = [name for name in names if "/" not in name and any(fnmatch(name, pattern) for pattern in SMALL_FILES)]
    templates = [name for name in names if fnmatch(name, "additional_chat_templates/*.jinja")]
    return tuple(dict.fromkeys([*small, *templates, *weights]))


def check_vocabulary(model_id: str, names: Collection[str]) -> None:
    """Raise ModelLoadError where no tokenizer can be made of these files."""
    if not any(fnmatch(name, pattern) for name in names for pattern in VOCABULARIES):
        raise ModelLoadError(
            f"{model_id} has no tokenizer (tokenizer.json). Save it into the same folder, with the tokenizer's "
            "save_pretrained."
        )


def _no_weights(model_id: str, names: Collection[str]) -> str:
    pickled = any(name.endswith(PICKLES) for name in names)
    found = "only pickled weights (.bin or .pt), which can run code when they are read, and " if pickled else ""
    return (
        f"{model_id} has {found}no safetensors weights, the only format that this program reads. Choose a revision or "
        "another repository that has them, or save the model again with save_pretrained."
    )
