"""Choose the files that make up a model, in a folder or a repository, by their names alone.

Knows names; opens nothing and knows neither the disk nor the Hub.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatch

from s2e_core.errors import ModelLoadError
from s2e_core.files import CARD, INDEX, LICENCES, SINGLE, is_companion

CONFIG = "config.json"
SHARDS = re.compile(r"model-\d+-of-\d+\.safetensors")
VOCABULARIES = ("tokenizer.json", "*vocab*", "*.model", "*.tiktoken", "tekken.json")
"""Vocabulary files, of which a tokenizer needs at least one."""
GGUF = ".gguf"
GGUF_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
"""Ending of the name of a GGUF file that contains only a part of a model."""
BESIDE_GGUF = (CARD, *LICENCES)
"""Card and licence beside a GGUF file, which contains everything else itself."""
NOT_A_MODEL = re.compile(r"(^|/)mmproj|imatrix")
"""Marks in the names of GGUF files without a language model: encoders of images, and statistics for quantising."""
MISTRAL = ("params.json", "consolidated.safetensors", "consolidated.safetensors.index.json")
"""Files of Mistral's own layout, which transformers does not read."""
MOST_NAMES = 20
"""Number of GGUF files that an error lists by name."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def check_names(model_id: str, names: Collection[str]) -> None:
    """Raise ModelLoadError, naming what there is instead, unless there are config.json and safetensors weights."""
    weights = SINGLE in names or INDEX in names
    if CONFIG in names and weights:
        return
    if "adapter_config.json" in names:
        raise ModelLoadError(
            f"{model_id} is an adapter without its model. Choose the model that it was made for, and give the adapter "
            "as --adapter."
        )
    if "params.json" in names or (CONFIG in names and any(name in MISTRAL for name in names)):
        raise ModelLoadError(
            f"{model_id} has Mistral's own layout ({', '.join(name for name in MISTRAL if name in names)}), which "
            "transformers does not read. Choose a repository that has config.json and model.safetensors as well."
        )
    if CONFIG not in names:
        raise ModelLoadError(f"{model_id} has no config.json. Choose the folder or repository of a transformers model.")
    raise ModelLoadError(_explain_no_weights(model_id, names))


def choose_files(model_id: str, names: Sequence[str]) -> tuple[str, ...]:
    """Choose the files of a repository that loading needs: those of a transformers model, or else of a GGUF file.

    Raises ModelLoadError if they do not make up a model, or if there are several GGUF files.
    """
    if gguf := find_gguf(model_id, names):
        return files_of_gguf(model_id, names, gguf)
    check_names(model_id, names)
    weights = [SINGLE] if SINGLE in names else [name for name in names if SHARDS.fullmatch(name)]
    if not weights:
        raise ModelLoadError(_explain_no_weights(model_id, names))
    index = [INDEX] if INDEX in names else []
    return tuple(dict.fromkeys([*(name for name in names if is_companion(name)), *index, *weights]))


def is_weights(name: str) -> bool:
    """Whether a file has a name under which weights are read."""
    return name == SINGLE or bool(SHARDS.fullmatch(name)) or name.endswith(GGUF)


def find_gguf(model_id: str, names: Collection[str]) -> str | None:
    """Find the only GGUF file among the names of a folder or repository without safetensors weights; None if none.

    Raises ModelLoadError, listing the files, if there are several: one of them must be named.
    """
    found = sorted(name for name in names if name.endswith(GGUF) and not NOT_A_MODEL.search(name))
    if not found or SINGLE in names or INDEX in names:
        return None
    whole = [name for name in found if not GGUF_PART.search(name)]
    if len(whole) > 1:
        raise ModelLoadError(
            f"{model_id} contains several GGUF files: {_list(whole)}. Name one of them, as in {model_id}/{whole[0]}."
        )
    return whole[0] if whole else found[0]


def files_of_gguf(model_id: str, names: Sequence[str], gguf: str) -> tuple[str, ...]:
    """Choose the files to download with a GGUF file of a repository. Raises ModelLoadError if the file does not exist.

    A part of a model is refused before gigabytes arrive that cannot be used.
    """
    if gguf not in names:
        others = [name for name in names if name.endswith(GGUF)]
        hint = f"It has {_list(others)}." if others else "It has no GGUF file."
        raise ModelLoadError(f"{model_id} does not contain {gguf}. {hint}")
    if GGUF_PART.search(gguf):
        raise ModelLoadError(explain_part(model_id, gguf))
    return (*(name for name in names if any(fnmatch(name, pattern) for pattern in BESIDE_GGUF)), gguf)


def explain_part(model_id: str, name: str) -> str:
    """Explain that a model in several GGUF files cannot be read."""
    return (
        f"{model_id} could not be loaded: {name} is one of several parts of a model, and transformers reads only a "
        "GGUF of one file. Join the parts with llama-gguf-split --merge, or choose another file."
    )


def _list(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + rest


def check_vocabulary(model_id: str, names: Collection[str]) -> None:
    """Raise ModelLoadError if no tokenizer can be built from these files."""
    if not any(fnmatch(name, pattern) for name in names for pattern in VOCABULARIES):
        raise ModelLoadError(
            f"{model_id} has no tokenizer (tokenizer.json). Save it into the same folder, with the tokenizer's "
            "save_pretrained."
        )


def _explain_no_weights(model_id: str, names: Collection[str]) -> str:
    if any(SHARDS.fullmatch(name) for name in names):
        return (
            f"{model_id} has the weights in shards, but not {INDEX}, which says what is in each. Download that file "
            "too, or save the model again with save_pretrained."
        )
    has_pickles = any(name.endswith(PICKLES) for name in names)
    instead = "only pickled weights (.bin or .pt), which can run code when they are read, and " if has_pickles else ""
    return (
        f"{model_id} has {instead}no safetensors weights. This program reads only these and GGUF files. Choose "
        "a revision or another repository that has them, or save the model again with save_pretrained."
    )
