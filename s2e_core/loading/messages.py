"""Why a model cannot be built from its files, as a sentence: what transformers raised, in words for the person.

Knows the errors of transformers and what is in a configuration; builds nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import transformers
from safetensors import SafetensorError

from .config import read_json
from .file_names import CONFIG
from .files import TOKENIZER_CONFIG, ModelFiles

SAYS_ITSELF = (SafetensorError, OSError, ValueError, RuntimeError, ImportError)
"""Errors that transformers raises with a sentence."""
MOST_LETTERS = 300


def unreadable_model(files: ModelFiles, error: Exception) -> str:
    """A configuration may ask for anything, and transformers trips over it wherever it happens to."""
    said = " ".join(str(error).split())[:MOST_LETTERS]
    # Of experts, transformers says that a conversion failed, and prints why.
    if "ignore_mismatched_sizes" in said or "CONVERSION" in said:
        return other_shapes(files)
    if isinstance(error, SAYS_ITSELF):
        return _sentence(files, said)
    settings = _settings(files.config)
    asked = next((f"{name}: {value}" for name, value in settings if error.args == (value,)), said)
    return _sentence(
        files,
        f"transformers {transformers.__version__} can build no model from its {CONFIG} ({asked}). Correct it, or "
        "download or save the model again.",
    )


def other_shapes(files: ModelFiles) -> str:
    reason = f"weights are missing, or have other shapes than its {CONFIG} says. Download or save the model again."
    return _sentence(files, reason)


def lacking_weights(files: ModelFiles, missing: Sequence[str]) -> str:
    """`missing` are the names of weights that the model has and its files have not."""
    classes = [str(name) for name in files.config.get("architectures") or ()]
    if classes and all(name.endswith("Model") and not name.endswith("HeadModel") for name in classes):
        return (
            f"{files.model_id} is no causal language model ({', '.join(classes)}): it lacks what continues a text "
            f"({missing[0]}). Choose a model that generates text, such as a Llama, Qwen or Gemma."
        )
    return (
        f"{files.model_id} lacks the weights {', '.join(missing[:3])}. Download or save it again; if its files are "
        f"complete, transformers {transformers.__version__} looks for these under other names."
    )


def unreadable_tokenizer(files: ModelFiles, error: Exception) -> str:
    settings = files.folder / TOKENIZER_CONFIG
    if settings.is_file() and "auto_map" in read_json(settings, files.model_id):
        return _sentence(
            files,
            "its tokenizer needs code from its own repository (auto_map), which this program never runs. Choose a "
            "model whose tokenizer is part of transformers.",
        )
    if isinstance(error, SAYS_ITSELF):
        return _sentence(files, " ".join(str(error).split())[:MOST_LETTERS])
    return _sentence(
        files,
        "its tokenizer is damaged, or of a kind that transformers does not know. Download or save the model again.",
    )


def _sentence(files: ModelFiles, reason: str) -> str:
    """Without the path of the folder, which is nobody's business."""
    reason = reason.replace(str(files.folder) + os.sep, "").replace(str(files.folder), files.model_id)
    return f"{files.model_id} could not be loaded: {reason}{'' if reason.endswith(('.', '!', '?')) else '.'}"


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every name and value of a configuration, those inside others too."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _settings(value)
        else:
            yield name, value
