"""The JSON objects of `--json`: the values that several commands share, and how their fields are described.

Knows the core's values, not the commands: each command's own fields are described next to it. Version 1 of the schema;
a field may be added in the same version, but none changes its meaning or disappears.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s2e_core.data import Behavior
from s2e_core.measure import Estimate, Result, Sweep, Trial, sweep_results
from s2e_core.model import LoadedModel
from s2e_core.settings import EditSettings
from s2e_core.settings_json import settings_to_json
from s2e_core.values import ContrastSet, Provenance, WeightEdit

VERSION = 1
WIDTH = 116

Fields = Mapping[str, "str | tuple[str, Fields] | tuple[str, Sequence[Fields]]"]
"""Meaning of every field of an object by its name.

A field that is itself an object is (meaning, its fields), a list of objects (meaning, [fields of each]).
"""

HEADER: Fields = {
    "command": "Name of the command.",
    "version": "Version of this schema.",
}
ESTIMATE: Fields = {
    "value": "The figure.",
    "low": "Lower end of its 95 % confidence interval.",
    "high": "Upper end.",
    "prompts": "Number of prompts behind it; several answers to one prompt count once.",
}
MODEL: Fields = {
    "id": "Name of the model: the folder's name or the Hub id.",
    "revision": "Commit of a Hub model; null for a local folder.",
    "fingerprint": "SHA-256 of the weights that can be edited.",
    "type": "Model type, as in config.json.",
    "number_format": "Number format in which the model ran.",
    "device": "Device on which it ran.",
    "template": "Arguments and date that the chat template was rendered with; null if it takes none.",
    "adapter": "Name of the LoRA adapter that is merged into the weights; null if there is none.",
}
CONTRAST: Fields = {
    "name": "Name of the contrast set.",
    "hash": "SHA-256 of its examples in order.",
}
GATE: Fields = {
    "gamma": "How much the gate steers.",
    "mu": "How strictly harmless texts are protected; 0 is baked steering.",
    "size": "Number of components that the gate is kept to; null for all.",
}
SETTINGS: Fields = {
    "family": '"elastic net" (the paper\'s edit), "baked steering", "gated steering", or a sum, with " + " between.',
    "rho_attn": "Budget of the heads; null if they are off.",
    "rho_mlp": "Budget of the neurons; null if they are off.",
    "alpha": "L1 share of the budget.",
    "strength": "Multiplier of every lambda and of the gate.",
    "strengths": "Multipliers of single components, as [site, index, factor].",
    "only": "Components to which the edit is restricted, as [site, index]; null if it is not restricted.",
    "included": "Components included by hand, as [site, index].",
    "excluded": "Components excluded by hand, as [site, index].",
    "layers": "First and last layer that may be edited; null if all may.",
    "gate": ("Baked or gated steering; null for the paper's edit.", GATE),
    "protect": "Number of input directions of harmless texts to which the edit is made silent; 0 for none.",
}
TRIAL: Fields = {
    "arm": '"original" (the untouched model), "edit" or "steering".',
    "label": "Name for a person.",
    "settings": ("Settings of the edit; null for the other arms.", SETTINGS),
    "gamma": "Steering strength; null for the other arms.",
}
RESULT: Fields = {
    **TRIAL,
    "attribute": ("Mean score on the attribute prompts; if less is better, mean tokens.", ESTIMATE),
    "utility": ("Mean score on the utility prompts.", ESTIMATE),
    "utility_kept": ("Utility divided by the untouched model's, prompt by prompt.", ESTIMATE),
    "tokens": ("Mean tokens of the answers to the utility prompts.", ESTIMATE),
    "kl": ("KL from the untouched model on harmless texts, in nats a token; null where it was not needed.", ESTIMATE),
    "empty": ("Share of empty answers to the attribute prompts.", ESTIMATE),
    "repeated": ("Share of answers to the attribute prompts that are stuck in a loop.", ESTIMATE),
    "off_topic": ("Share of answers to the attribute prompts on neither side of the behaviour.", ESTIMATE),
}
SWEEP: Fields = {
    "split": "Split of the behaviour's prompts.",
    "samples": "Answers per prompt.",
    "temperature": "Sampling temperature; 0 is greedy.",
    "seed": "Random seed.",
    "max_new_tokens": "Largest length of an answer.",
    "attribute_prompts": "Number of attribute prompts.",
    "utility_prompts": "Number of utility prompts.",
    "results": ("Figures of every trial.", [RESULT]),
}
BEHAVIOR: Fields = {
    "name": "Name of the behaviour.",
    "title": "Its title.",
    "less_is_better": "True if a smaller attribute is better, as for the length of reasoning.",
}
RECIPE: Fields = {
    "path": "The recipe's file, as given.",
    "settings": ("Settings of its edit.", SETTINGS),
    "contrast": ("Contrast set that it was made from.", CONTRAST),
    "harmless": "Harmless texts that a gate was fitted on, for a person; null for the paper's edit.",
}
SHAPES: Mapping[str, Fields] = {
    "estimate": ESTIMATE,
    "model": MODEL,
    "contrast": CONTRAST,
    "settings": SETTINGS,
    "trial": TRIAL,
    "result": RESULT,
    "sweep": SWEEP,
    "behavior": BEHAVIOR,
    "recipe": RECIPE,
}
"""Objects that occur in several places, by the name under which `--json --help` describes them once."""


def to_json(command: str, record: Mapping[str, Any]) -> str:
    """The object as one line of JSON. Numbers that are not finite become null, which JSON can say."""
    return json.dumps(
        {"command": command, "version": VERSION, **_replace_nan(record)}, ensure_ascii=False, allow_nan=False
    )


def _replace_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _replace_nan(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_replace_nan(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def describe_estimate(figure: Estimate) -> dict[str, Any]:
    return {"value": figure.value, "low": figure.low, "high": figure.high, "prompts": figure.count}


def describe_model(loaded: LoadedModel) -> dict[str, Any]:
    return {
        "id": loaded.model_id,
        "revision": loaded.revision,
        "fingerprint": loaded.fingerprint,
        "type": loaded.spec.model_type,
        "number_format": str(loaded.dtype).removeprefix("torch."),
        "device": str(loaded.device),
        "template": json.loads(loaded.template) if loaded.template else None,
        "adapter": Path(loaded.adapter).name or None,
    }


def describe_contrast(contrast: ContrastSet) -> dict[str, Any]:
    return {"name": contrast.name, "hash": contrast.content_hash}


def describe_source(provenance: Provenance) -> dict[str, Any]:
    """The contrast set that a value was computed from."""
    return {"name": provenance.contrast_name, "hash": provenance.contrast_hash}


def describe_recipe(path: Path, edit: WeightEdit) -> dict[str, Any]:
    return {
        "path": str(path),
        "settings": describe_settings(edit.settings),
        "contrast": describe_source(edit.provenance),
        "harmless": edit.provenance.harmless or None,
    }


def describe_settings(settings: EditSettings) -> dict[str, Any]:
    gate: dict[str, Any] = {"gate": None, "protect": settings.protect}  # a recipe contains them only if they are used
    return {"family": settings.family, **gate, **settings_to_json(settings)}


def describe_behavior(behavior: Behavior, *, less_is_better: bool) -> dict[str, Any]:
    return {"name": behavior.name, "title": behavior.title, "less_is_better": less_is_better}


def describe_trial(trial: Trial) -> dict[str, Any]:
    return {
        "arm": trial.arm,
        "label": trial.label,
        "settings": describe_optional(describe_settings, trial.settings),
        "gamma": trial.gamma,
    }


def describe_result(result: Result) -> dict[str, Any]:
    return {
        **describe_trial(result.trial),
        "attribute": describe_estimate(result.attribute),
        "utility": describe_estimate(result.utility),
        "utility_kept": describe_estimate(result.kept),
        "tokens": describe_estimate(result.tokens),
        "kl": describe_optional(describe_estimate, result.kl),
        **{flaw.replace("-", "_"): describe_estimate(share) for flaw, share in result.flaws.items()},
    }


def describe_sweep(sweep: Sweep) -> dict[str, Any]:
    counts = {side: len({q.prompt for q in sweep.questions if q.side == side}) for side in ("attribute", "utility")}
    return {
        "split": sweep.split,
        "samples": sweep.samples,
        "temperature": sweep.temperature,
        "seed": sweep.seed,
        "max_new_tokens": sweep.max_new_tokens,
        **{f"{side}_prompts": count for side, count in counts.items()},
        "results": [describe_result(result) for result in sweep_results(sweep)],
    }


def describe_optional(describe: Callable[[Any], dict[str, Any]], value: Any) -> dict[str, Any] | None:
    """null for None."""
    return None if value is None else describe(value)


def field_lines(command: str, fields: Fields) -> Iterator[str]:
    """The fields of a command's object for `--json --help`; objects that occur in several places come last, once."""
    yield f"With --json, standard output contains one JSON object (schema version {VERSION}) with these fields:"
    yield ""
    yield from _lines({**HEADER, "command": f'"{command}".', **fields}, "")
    names = [name for name, shape in SHAPES.items() if _uses(fields, shape)]
    for name in names:
        yield from ("", f"Every {name}:", "")
        yield from _lines(SHAPES[name], "")
    yield ""
    yield "An object of estimates, settings and so on is null if there is none; so is a number that is not finite."


def _lines(fields: Fields, indent: str) -> Iterator[str]:
    for name, field in fields.items():
        meaning, shape = (field, None) if isinstance(field, str) else field
        many = isinstance(shape, Sequence)
        inner = shape[0] if isinstance(shape, Sequence) else shape
        shared = next((known for known, shape in SHAPES.items() if shape is inner), "")
        kind = f"(list of {shared or 'object'}s) " if many else f"({shared}) " if shared else ""
        text = f"{indent}  {name}: {kind}{meaning}"
        yield from textwrap.wrap(text, WIDTH, subsequent_indent=f"{indent}    ")
        if inner is not None and not shared:
            yield from _lines(inner, indent + "  ")


def _uses(fields: Fields, shape: Fields) -> bool:
    """True if an object of this shape occurs anywhere in the fields."""
    inner = [field[1] for field in fields.values() if not isinstance(field, str)]
    objects = [item[0] if isinstance(item, Sequence) else item for item in inner]
    return any(item is shape or _uses(item, shape) for item in objects)
