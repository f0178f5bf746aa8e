"""The commands about a model and an edit of it: info, scores, edit, compare.

Knows options, the terminal and the JSON objects; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_core.data import choose_behaviors_folder, list_behaviors
from s2e_core.export import load_edit, save_edit
from s2e_core.generation import compare
from s2e_core.loading import available_memory, describe_template, describe_tokenizer, describe_weights_size, residence
from s2e_core.method import EditSummary, build_edit, relative_changes, summarize
from s2e_core.model import LoadedModel, component_namer, parameter_count, remarks
from s2e_core.spec import KINDS, ModelSpec
from s2e_core.text import readable_size
from s2e_core.values import ComponentScores, ContrastSet, Edited, Original, Steered, Variant, WeightEdit

from .arguments import add_contrast, add_settings, parse_count, parse_seed
from .command import Command
from .json_output import (
    CONTRAST,
    MODEL,
    RECIPE,
    SETTINGS,
    Fields,
    describe_contrast,
    describe_model,
    describe_optional,
    describe_recipe,
    describe_settings,
)
from .terminal import (
    check_exists,
    check_formats,
    check_settings,
    check_writable,
    extract_chosen,
    load_chosen_contrast,
    load_chosen_model,
    open_output,
    read_settings,
)

# ---- info -----------------------------------------------------------------------------------------------------------

_COUNT: Fields = {"components": "Number of components.", "layers": "Number of layers that have such components."}
INFO_FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "parameters": "Number of parameters.",
    "placement": "Where and in which number format it runs, for a person.",
    "memory": "Memory it takes and memory that is free, for a person.",
    "n_layers": "Number of layers.",
    "residual_width": "Width of the residual stream.",
    "heads": ("Attention heads.", _COUNT),
    "neurons": ("MLP neurons, with those of all experts.", _COUNT),
    "experts": (
        "Experts, if the model has any.",
        [{"count": "Experts of a layer.", "layers": "Number of layers that have so many."}],
    ),
    "tokenizer": "The tokenizer, for a person.",
    "chat_template": "The chat template, for a person.",
    "notes": "What a person should know about this model, as sentences.",
    "behaviors": "Names of the bundled behaviours for this model.",
}


def show_info(options: argparse.Namespace) -> None:
    loaded = load_chosen_model(options)
    record = _describe_info(loaded)
    heads, neurons = record["heads"], record["neurons"]
    experts = "".join(f", with {e['count']} experts in {e['layers']} of them" for e in record["experts"])
    rows = {
        "model": loaded.model_id,
        "revision": loaded.revision or "local",
        "type": loaded.spec.model_type,
        "parameters": f"{record['parameters']:,}",
        "device, dtype": record["placement"],
        "memory": record["memory"],
        "layers": str(record["n_layers"]),
        "residual width": str(record["residual_width"]),
        "heads": f"{heads['components']:,} in {heads['layers']} layers",
        "neurons": f"{neurons['components']:,} in {neurons['layers']} layers{experts}",
        "tokenizer": record["tokenizer"],
        "chat template": record["chat_template"],
        "fingerprint": loaded.fingerprint,
    }
    for label, value in rows.items():
        print(f"{label:<15} {value}")
    for sentence in record["notes"]:
        print(f"note            {sentence}")
    print(f"behaviors       {', '.join(record['behaviors'])}")


def describe_info(options: argparse.Namespace) -> dict[str, Any]:
    return _describe_info(load_chosen_model(options))


def _describe_info(loaded: LoadedModel) -> dict[str, Any]:
    spec = loaded.spec
    layers = {kind: len({spec.sites[i].layer for i in spec.of_kind(kind)}) for kind in KINDS}
    return {
        "model": describe_model(loaded),
        "parameters": parameter_count(loaded.model),
        "placement": residence(loaded),
        "memory": _describe_memory(loaded),
        "n_layers": spec.n_layers,
        "residual_width": spec.d_model,
        **{kind: {"components": spec.n_components(kind), "layers": layers[kind]} for kind in KINDS},
        "experts": [{"count": count, "layers": n_layers} for count, n_layers in _count_experts(spec).items()],
        "tokenizer": describe_tokenizer(loaded.tokenizer),
        "chat_template": describe_template(loaded.tokenizer),
        "notes": [*remarks(spec), *loaded.warnings],
        "behaviors": list_behaviors(choose_behaviors_folder(loaded.source)),
    }


def _count_experts(spec: ModelSpec) -> dict[int, int]:
    """{experts of a layer: number of layers that have so many}."""
    layers: dict[int, set[int]] = {}
    for site in spec.sites:
        if site.experts:
            layers.setdefault(site.experts, set()).add(site.layer)
    return {count: len(numbers) for count, numbers in layers.items()}


def _describe_memory(loaded: LoadedModel) -> str:
    free = available_memory(loaded.device)
    return describe_weights_size(loaded) + (f", {readable_size(free)} left on {loaded.device}" if free else "")


# ---- scores ---------------------------------------------------------------------------------------------------------

COMPONENT: Fields = {
    "kind": '"head" or "neuron".',
    "layer": "Number of the layer, from 0.",
    "index": "Number of the component in its layer, from 0.",
    "g": "Alignment: cosine of the component's mean output with the steering direction.",
    "lambda": "Strength of its edit under the settings; 0 if it is not edited.",
    "relative_change": "|dW| / |W| of the component.",
    "mean_contribution": "What the component writes along the unit direction on average.",
    "name": "Name for a person.",
}
SCORES_FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "contrast": ("Contrast set of the scores.", CONTRAST),
    "settings": ("Settings of the edit in the columns lambda and relative_change.", SETTINGS),
    "n_components": "Number of components of the chosen kinds.",
    "components": ("The components, largest |g| first: all of them, or as many as --top says.", [COMPONENT]),
}
TOP = 20


def add_scores(sub: argparse.ArgumentParser) -> None:
    add_contrast(sub)
    add_settings(sub)
    sub.add_argument("--kind", choices=("all", *KINDS), default="all")
    sub.add_argument("--top", type=parse_count, help=f"rows of the table (default {TOP}; with --json all)")
    sub.add_argument("--csv", metavar="FILE", help="write all components as CSV instead; - is standard output")


def show_scores(options: argparse.Namespace) -> None:
    scores = _rank_components(options)
    header, rows = tuple(COMPONENT), scores.rows
    if options.csv is not None:
        with open_output(options.csv) as file:
            csv.writer(file).writerows([header, *rows])
        return
    for row in (header, *rows[: TOP if options.top is None else options.top]):
        cells = [f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row]
        print("  ".join(cell.rjust(width) for cell, width in zip(cells, (7, 5, 6, 8, 8, 15, 17, 0), strict=True)))


def describe_scores(options: argparse.Namespace) -> dict[str, Any]:
    scores = _rank_components(options)
    return {
        "model": describe_model(scores.loaded),
        "contrast": describe_contrast(scores.contrast),
        "settings": describe_settings(scores.edit.settings),
        "n_components": len(scores.rows),
        "components": [dict(zip(COMPONENT, row, strict=True)) for row in scores.rows[: options.top]],
    }


Row = tuple[str, int, int, float, float, float, float, str]
"""One component, in the order of COMPONENT."""


@dataclass(frozen=True, eq=False)
class _Ranking:
    """The components of a model, ranked."""

    loaded: LoadedModel
    contrast: ContrastSet
    edit: WeightEdit
    rows: list[Row]


def _rank_components(options: argparse.Namespace) -> _Ranking:
    check_settings(options)
    check_formats(options)
    contrast, loaded = load_chosen_contrast(options), load_chosen_model(options)
    extraction = extract_chosen(loaded, contrast)
    scores = extraction.scores
    edit = build_edit(extraction, read_settings(options, scores))
    kinds = KINDS if options.kind == "all" else (options.kind,)
    rows = sorted(_component_rows(scores, edit, kinds), key=lambda row: -abs(row[3]))
    return _Ranking(loaded, contrast, edit, rows)


def _component_rows(scores: ComponentScores, edit: WeightEdit, kinds: tuple[str, ...]) -> Iterator[Row]:
    changes = relative_changes(scores, edit)
    for i, site in enumerate(scores.spec.sites):
        if site.kind in kinds:
            columns = (scores.g[i], edit.strength[i], changes[i], scores.contributions[i])
            name = component_namer(scores.spec, i)
            for index, (g, strength, change, contribution) in enumerate(
                zip(*(column.tolist() for column in columns), strict=True)
            ):
                kind = site.kind.removesuffix("s")
                yield kind, site.layer, index, g, strength, change, contribution, name(index)


# ---- edit -----------------------------------------------------------------------------------------------------------

EDIT_FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "recipe": ("The recipe that was written.", RECIPE),
    "heads": "Number of edited heads.",
    "neurons": "Number of edited neurons.",
    "layers": "Number of layers with an edited component.",
    "relative_size": "|dW| / |W| over all weights that can be edited.",
    "largest_change": "Largest |dW| / |W| of a component.",
}


def add_edit(sub: argparse.ArgumentParser) -> None:
    add_contrast(sub)
    add_settings(sub)
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="RECIPE", help="safetensors file to write")


def show_edit(options: argparse.Namespace) -> None:
    _, _, summary, path = _write_edit(options)
    print(
        f"{summary.n_heads} heads and {summary.n_neurons} neurons in {summary.n_layers} layers, "
        f"|dW|/|W| = {summary.relative_size:.4f}, largest component change {summary.largest_change:.4f}: {path}"
    )


def describe_edit(options: argparse.Namespace) -> dict[str, Any]:
    loaded, edit, summary, path = _write_edit(options)
    return {
        "model": describe_model(loaded),
        "recipe": describe_recipe(path, edit),
        "heads": summary.n_heads,
        "neurons": summary.n_neurons,
        "layers": summary.n_layers,
        "relative_size": summary.relative_size,
        "largest_change": summary.largest_change,
    }


def _write_edit(options: argparse.Namespace) -> tuple[LoadedModel, WeightEdit, EditSummary, Path]:
    check_writable(options.output)
    check_settings(options)
    contrast, loaded = load_chosen_contrast(options), load_chosen_model(options)
    extraction = extract_chosen(loaded, contrast)
    edit = build_edit(extraction, read_settings(options, extraction.scores))
    return loaded, edit, summarize(extraction.scores, edit), save_edit(edit, options.output)


# ---- compare --------------------------------------------------------------------------------------------------------

COMPARE_FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "recipe": ("Recipe of the edited model; null without --recipe.", RECIPE),
    "contrast": ("Contrast set of the steering direction; null without --gamma.", CONTRAST),
    "gamma": "Steering strength; null without --gamma.",
    "max_new_tokens": "Largest length of an answer.",
    "temperature": "Sampling temperature; 0 is greedy.",
    "seed": "Random seed, the same for every variant.",
    "answers": (
        "The answers to every prompt.",
        [
            {
                "prompt": "The prompt.",
                "original": "Answer of the untouched model.",
                "edited": "Answer of the edited model; null without --recipe.",
                "steered": "Answer of the steered model; null without --gamma.",
            }
        ],
    ),
}


def add_compare(sub: argparse.ArgumentParser) -> None:
    add_contrast(sub)
    sub.add_argument("prompts", nargs="+", metavar="PROMPT")
    sub.add_argument("--recipe", type=Path, help="show the edited model's answer")
    sub.add_argument("--gamma", type=float, help="show the steered model's answer at this strength")
    sub.add_argument("--max-new-tokens", type=int, default=64)
    sub.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    sub.add_argument("--seed", type=parse_seed, default=0)


def show_comparison(options: argparse.Namespace) -> None:
    for prompt, texts in _answer_prompts(_load_variants(options), options):
        print(f"> {prompt}")
        for label, text in texts.items():
            print(f"[{label}] {text.strip()}")


def describe_comparison(options: argparse.Namespace) -> dict[str, Any]:
    comparison = _load_variants(options)
    edit = comparison.edit
    return {
        "model": describe_model(comparison.loaded),
        "recipe": None if edit is None else describe_recipe(options.recipe, edit),
        "contrast": describe_optional(describe_contrast, comparison.contrast),
        "gamma": options.gamma,
        "max_new_tokens": options.max_new_tokens,
        "temperature": options.temperature,
        "seed": options.seed,
        "answers": [
            {"prompt": prompt, **{label: texts.get(label) for label in ("original", "edited", "steered")}}
            for prompt, texts in _answer_prompts(comparison, options)
        ],
    }


@dataclass(frozen=True, eq=False)
class _Comparison:
    """What answers the prompts."""

    loaded: LoadedModel
    variants: dict[str, Variant]
    edit: WeightEdit | None
    contrast: ContrastSet | None


def _load_variants(options: argparse.Namespace) -> _Comparison:
    check_exists(options.recipe)
    contrast = load_chosen_contrast(options) if options.gamma is not None else None
    loaded = load_chosen_model(options)
    variants: dict[str, Variant] = {"original": Original()}
    edit = load_edit(options.recipe, base=loaded) if options.recipe else None
    if edit is not None:
        variants["edited"] = Edited(edit)
    if contrast is not None:
        variants["steered"] = Steered(extract_chosen(loaded, contrast).directions, options.gamma)
    return _Comparison(loaded, variants, edit, contrast)


def _answer_prompts(comparison: _Comparison, options: argparse.Namespace) -> Iterator[tuple[str, dict[str, str]]]:
    """Each prompt with {variant: answer}, as soon as it is answered."""
    for prompt in options.prompts:
        *_, texts = compare(
            comparison.loaded,
            prompt,
            tuple(comparison.variants.values()),
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
            seed=options.seed,
        )
        yield prompt, dict(zip(comparison.variants, texts, strict=True))


COMMANDS = (
    Command(
        "info", "What the model is and where its components are.", lambda sub: None, show_info,
        describe=describe_info, fields=INFO_FIELDS,
    ),
    Command(
        "scores", "A ranked table of components, or all of them as CSV.", add_scores, show_scores,
        describe=describe_scores, fields=SCORES_FIELDS,
    ),
    Command(
        "edit", "A recipe from a contrast set and settings.", add_edit, show_edit,
        describe=describe_edit, fields=EDIT_FIELDS,
    ),
    Command(
        "compare", "Original, edited and steered answers to the prompts.", add_compare, show_comparison,
        describe=describe_comparison, fields=COMPARE_FIELDS,
    ),
)  # fmt: skip
