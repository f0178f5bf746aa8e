"""Write `evaluate.sh` beside an export: the same tasks of lm-eval for the untouched model and its rivals.

Knows lm-eval 0.4.13's command line and its file of steering vectors. Nothing here runs it.
"""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from s2e_core.data import choose_behaviors_folder, list_behaviors, load_behavior
from s2e_core.errors import ExportError
from s2e_core.model import LoadedModel, folds_system, has_chat_template
from s2e_core.values import Steered, WeightEdit

from .how_to_load import PLACEHOLDER, CardKind, base_to_load

EVALUATE_FILE = "evaluate.sh"
STEERING_FILE = "recipe/steering.pt"
"""File name of the steering vectors, in the recipe's folder: some programs take a .pt beside a model for weights."""
RUNS: Mapping[str, str] = {
    "original": "the untouched model",
    "prompt": "the untouched model with a system prompt",
    "steered": "the untouched model with steered activations",
    "edited": "this export",
}
"""Meaning of every run by the name of its folder of results."""
_HEAD = """#!/usr/bin/env bash
# Measures this edit with lm-eval (lm-evaluation-harness), beside the model that it was made from.
#   pip install "lm_eval[hf,ifeval]==0.4.13"
#   bash evaluate.sh [FOLDER]        # the results go to FOLDER, by default lm-eval-results
#   steer2edit results FOLDER        # one table of all runs
# Steer2Edit wrote this file and did not run it.
set -euo pipefail

TASKS=truthfulqa_mc2,gsm8k,ifeval,mmlu
BATCH_SIZE=8

RESULTS="${1:-lm-eval-results}"
mkdir -p -- "$RESULTS"
RESULTS="$(cd -- "$RESULTS" && pwd)"
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
"""
_NO_STEERING = {
    True: "Left out: a recipe has no steering vectors. Export with --steer GAMMA and the recipe's examples.",
    False: "Left out: lm-eval cannot add these directions to the modules of this model.",
}
"""Why no run is steered, by whether the vectors are unknown."""
_COMMON = """--tasks "$TASKS" --batch_size "$BATCH_SIZE" --output_path "$RESULTS/{run}\""""


def evaluation_files(
    loaded: LoadedModel, edit: WeightEdit, kind: CardKind, steered: Steered | None = None
) -> dict[str, bytes]:
    """The script by its file name, and the steering vectors if they are known: a recipe alone lacks their lengths.

    Raises ExportError if the vectors belong to another model.
    """
    vectors = None if steered is None else steering_vectors(loaded, steered)
    files = {EVALUATE_FILE: _script(loaded, edit, kind, vectors).encode()}
    return {**files, STEERING_FILE: _encode(vectors)} if vectors else files


def steering_vectors(loaded: LoadedModel, steered: Steered) -> dict[str, Tensor]:
    """gamma v (d,) of every module that is steered, by its path below `model.base_model`, where lm-eval looks.

    Empty if a direction cannot be added there: the module contains fused experts, or is outside of that model.
    """
    directions = steered.directions
    if not directions.spec.same_sites(loaded.spec):
        raise ExportError("The steering directions belong to another model. Extract them from the edit's base model.")
    paths = {module: path for path, module in loaded.model.base_model.named_modules()}
    vectors: dict[str, Tensor] = {}
    for site, unit, norm in zip(loaded.spec.sites, directions.unit, directions.norm, strict=True):
        vector = steered.gamma * norm * unit
        if not vector.any():
            continue
        places = [paths.get(loaded.model.get_submodule(place)) for place in site.places]
        if site.experts or None in places:
            return {}
        vectors |= {path: vector.clone() for path in places if path is not None}
    return vectors


def _encode(vectors: Mapping[str, Tensor]) -> bytes:
    """The file that lm-eval reads for `--model steered`; torch also loads it with weights_only."""
    entries = {
        path: {"steering_vector": vector, "steering_coefficient": 1.0, "action": "add"}
        for path, vector in vectors.items()
    }
    buffer = io.BytesIO()
    torch.save(entries, buffer)
    return buffer.getvalue()


def _script(loaded: LoadedModel, edit: WeightEdit, kind: CardKind, vectors: Mapping[str, Tensor] | None) -> str:
    """The text of the script; `vectors` is None if they are not known, and empty if lm-eval cannot add them."""
    base = _model_args(loaded, base_to_load(loaded))
    edited = _model_args(loaded, None) if kind == "checkpoint" else {**base, "peft": "."}
    steered = {**base, "steer_path": STEERING_FILE}
    parts = {
        "original": _command(loaded, "original", base),
        "prompt": _prompt_part(loaded, edit, base),
        "steered": _command(loaded, "steered", steered) if vectors else f"# {_NO_STEERING[vectors is None]}",
        "edited": _command(loaded, "edited", edited),
    }
    has_placeholder = base["pretrained"].startswith(PLACEHOLDER)
    note = f"\n# Put the folder of the untouched model in the place of {PLACEHOLDER}...\n" if has_placeholder else ""
    return _HEAD + note + "".join(f"\n# {RUNS[run].capitalize()}\n{part}\n" for run, part in parts.items())


def _prompt_part(loaded: LoadedModel, edit: WeightEdit, base: Mapping[str, Any]) -> str:
    """The run with a system prompt, or a comment that says why there is none."""
    system = _system_prompt(loaded, edit)
    if not system:
        return "# Left out: no bundled behaviour with a system prompt belongs to this edit."
    if has_chat_template(loaded.tokenizer) and folds_system(loaded.tokenizer):
        return "# Left out: the chat template has no system role, and lm-eval would drop the system prompt."
    return _command(loaded, "prompt", base, system=system)


def _model_args(loaded: LoadedModel, base: str | None) -> dict[str, Any]:
    """lm-eval's arguments of the untouched model, or, for None, of the checkpoint in the script's folder."""
    args: dict[str, Any] = {"pretrained": base or ".", "dtype": str(loaded.dtype).removeprefix("torch.")}
    if base is not None and loaded.revision:
        args["revision"] = loaded.revision
    if base is not None and loaded.gguf is not None:
        args["gguf_file"] = loaded.gguf.file
    return {**args, "chat_template_args": dict(loaded.template_args)} if loaded.template_args else args


def _command(loaded: LoadedModel, run: str, args: Mapping[str, Any], system: str = "") -> str:
    """One run of lm-eval. Its arguments of the model are JSON, in which no comma of a path divides anything."""
    model = "steered" if run == "steered" else "hf"
    lines = [f"lm_eval --model {model} --model_args {shlex.quote(json.dumps(args, ensure_ascii=False))}"]
    if system:
        lines.append(f"--system_instruction {shlex.quote(system)}")
    if has_chat_template(loaded.tokenizer):
        lines.append("--apply_chat_template")
    return " \\\n  ".join([*lines, _COMMON.format(run=run)])


def _system_prompt(loaded: LoadedModel, edit: WeightEdit) -> str:
    """What asks in words for what the edit does; empty if a part of it is of no bundled behaviour with a prompt."""
    folder = choose_behaviors_folder(loaded.source)
    prompts = []
    for made_from in dict.fromkeys((p.provenance.contrast_name, p.provenance.contrast_hash) for p in edit.parts):
        name, content_hash = made_from
        if name not in list_behaviors(folder):
            return ""
        behavior = load_behavior(name, folder)
        if behavior.contrast.content_hash != content_hash or not behavior.system_prompt:
            return ""
        prompts.append(behavior.system_prompt)
    return "\n\n".join(prompts)
