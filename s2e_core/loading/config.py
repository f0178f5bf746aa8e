"""Check what a model's config.json says of its type, its task and its need for code.

This happens before anything else is read. Knows the model types of transformers by name; loads no weight.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from s2e_core.errors import ModelLoadError
from s2e_core.model import refuse_by_name

from .quantized import check_stored, read_quantization_method

OTHER_TASKS = re.compile(r"For(MaskedLM|\w*Classification|QuestionAnswering|MultipleChoice|PreTraining)$")
"""Classes of models that cannot continue a text: they have no language model head, or attend to later tokens."""


def check_config(config: Mapping[str, Any], model_id: str) -> None:
    """Raise ModelLoadError unless `config` is that of a causal language model that transformers can build.

    Raises UnsupportedModelError if no model of this type can be edited, whatever its weights are.
    """
    model_type = str(config.get("model_type", ""))
    if model_type not in CONFIG_MAPPING:
        raise ModelLoadError(_explain_unknown_type(model_id, model_type, needs_code="auto_map" in config))
    classes = architectures(config)
    check_stored(read_quantization_method(config), model_id)
    reason = ""
    if classes and all(OTHER_TASKS.search(name) for name in classes):
        reason = "it does not continue a text"
    elif model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        reason = (
            f"transformers {transformers.__version__} has the type {model_type} only for another task, or for images "
            "or sound beside text"
        )
    if reason:
        raise ModelLoadError(
            f"{model_id} is not a causal language model ({', '.join(classes) or model_type}): {reason}. Choose a "
            "model that generates text, such as a Llama, Qwen or Gemma."
        )
    refuse_by_name(model_type)


def architectures(config: Mapping[str, Any]) -> list[str]:
    """The names of the classes that a configuration is meant for; none if it does not list them."""
    names = config.get("architectures")
    return [str(name) for name in names] if isinstance(names, list) else []


def read_json(file: Path, model_id: str) -> dict[str, Any]:
    """Read a settings file of a model. Raises ModelLoadError if the file is not a JSON object."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ModelLoadError(
            f"{model_id} could not be loaded: its {file.name} cannot be read. Download or save the model again."
        )
    return content


def _explain_unknown_type(model_id: str, model_type: str, *, needs_code: bool) -> str:
    if needs_code:
        return (
            f"{model_id} could not be loaded: it needs code from its own repository (auto_map), which this program "
            "never runs. Choose a model whose type is part of transformers."
        )
    type_words = f'the model type "{model_type[:60]}"' if model_type else "no model type"
    return (
        f"{model_id} could not be loaded: its config.json has {type_words}, which transformers "
        f"{transformers.__version__} does not know. Choose another model, or a version of it in transformers' format."
    )
