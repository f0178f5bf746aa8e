"""Explain to a person why a model cannot be built from its files, whatever transformers raised.

Knows the errors of transformers and the content of a configuration; builds nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import transformers
from safetensors import SafetensorError

from .config import architectures, read_json
from .file_names import CONFIG
from .files import TOKENIZER_CONFIG, ModelFiles

READABLE_ERRORS = (SafetensorError, OSError, ValueError, RuntimeError, ImportError)
"""Errors whose text, as transformers raises them, is fit for a person."""
MAX_CHARACTERS = 300
TOKENIZERS = (".model", ".tiktoken", "tekken.json")
"""Endings of the names of tokenizer files that need a package of their own."""


def explain_model_error(files: ModelFiles, error: Exception) -> str:
    """Explain an error while a model was built: a wrong configuration fails anywhere in transformers."""
    text = " ".join(str(error).split())[:MAX_CHARACTERS]
    # For experts, transformers raises only that a conversion failed, and prints the reason.
    if "ignore_mismatched_sizes" in text or "CONVERSION" in text:
        return explain_other_shapes(files)
    if isinstance(error, READABLE_ERRORS):
        return _complete_sentence(files, text)
    settings = _flatten(files.config)
    cause = next((f"{name}: {value}" for name, value in settings if error.args == (value,)), text)
    return _complete_sentence(
        files,
        f"transformers {transformers.__version__} cannot build a model from its {CONFIG} ({cause}). Correct it, or "
        "download or save the model again.",
    )


def explain_other_shapes(files: ModelFiles) -> str:
    reason = f"weights are missing, or have other shapes than its {CONFIG} says. Download or save the model again."
    return _complete_sentence(files, reason)


def explain_missing_weights(files: ModelFiles, missing: Sequence[str]) -> str:
    """Explain that the files lack the weights named `missing`."""
    classes = architectures(files.config)
    if classes and all(name.endswith("Model") and not name.endswith("HeadModel") for name in classes):
        return (
            f"{files.model_id} is not a causal language model ({', '.join(classes)}): it has no language model head "
            f"({missing[0]}). Choose a model that generates text, such as a Llama, Qwen or Gemma."
        )
    return (
        f"{files.model_id} lacks the weights {', '.join(missing[:3])}. Download or save it again; if its files are "
        f"complete, transformers {transformers.__version__} looks for these under other names."
    )


def explain_tokenizer_error(files: ModelFiles, error: Exception) -> str:
    settings = files.folder / TOKENIZER_CONFIG
    if settings.is_file() and "auto_map" in read_json(settings, files.model_id):
        return _complete_sentence(
            files,
            "its tokenizer needs code from its own repository (auto_map), which this program never runs. Choose a "
            "model whose tokenizer is part of transformers.",
        )
    names = [path.name for path in files.folder.iterdir()]
    if "tokenizer.json" not in names and (missing := _missing_packages(names)):
        found = ", ".join(name for name in names if name.endswith(TOKENIZERS))
        needed = " and ".join(f"the package {package}" for package in missing)
        return _complete_sentence(
            files,
            f"its tokenizer ({found}) needs {needed}. Run pip install {' '.join(missing)}, or add the same model's "
            "tokenizer.json.",
        )
    if isinstance(error, READABLE_ERRORS):
        return _complete_sentence(files, " ".join(str(error).split())[:MAX_CHARACTERS])
    return _complete_sentence(
        files,
        "its tokenizer is damaged, or of a type that transformers does not know. Download or save the model again.",
    )


def _missing_packages(names: Sequence[str]) -> list[str]:
    """The packages that the tokenizer's file needs and this machine lacks."""
    if "tekken.json" in names:
        needed = {"mistral_common": "mistral-common"}
    elif any(name.endswith(".tiktoken") for name in names):
        needed = {"tiktoken": "tiktoken"}
    elif any(name.endswith(".model") for name in names):
        needed = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}
    else:
        needed = {}
    return [package for module, package in needed.items() if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that would contain it
        return False


def _complete_sentence(files: ModelFiles, reason: str) -> str:
    """Make a sentence of a reason, without the path of the folder, which is private."""
    reason = reason.replace(str(files.folder) + os.sep, "").replace(str(files.folder), files.model_id)
    return f"{files.model_id} could not be loaded: {reason}{'' if reason.endswith(('.', '!', '?')) else '.'}"


def _flatten(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every name and value of a configuration, including nested ones."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flatten(value)
        else:
            yield name, value
