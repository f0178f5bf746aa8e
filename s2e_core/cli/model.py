"""The commands that look at a model: what it is, and which components write along a behaviour.

Knows options, the terminal and the JSON objects; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import Any

import torch

from s2e_core.data import choose_behaviors_folder, list_behaviors
from s2e_core.loading import available_memory, describe_template, describe_tokenizer, describe_weights_size, residence
from s2e_core.method import build_edit, mean_firing, relative_changes
from s2e_core.model import LoadedModel, component_namer, parameter_count, remarks
from s2e_core.spec import KINDS, ModelSpec
from s2e_core.text import readable_size
from s2e_core.values import ContrastSet, Extraction, WeightEdit
from s2e_core.why import Chance, chance, example_means

from .arguments import add_contrast, add_extraction, parse_count
from .command import Command
from .dials import add_settings, check_settings, choose_texts, read_settings
from .json_output import (
    CONTRAST,
    MODEL,
    SETTINGS,
    Fields,
    describe_contrast,
    describe_model,
    describe_settings,
)
from .terminal import (
    ProgressLine,
    check_formats,
    extract_chosen,
    load_chosen_model,
    load_contrast_and_model,
    open_output,
)

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


COMPONENT: Fields = {
    "kind": '"head" or "neuron".',
    "layer": "Number of the layer, from 0.",
    "index": "Number of the component in its layer, from 0.",
    "g": "Alignment: cosine of the component's mean output with the steering direction.",
    "lambda": "Strength of its edit under the settings; 0 if it is not edited.",
    "relative_change": "|dW| / |W| of the component.",
    "mean_contribution": "What the component writes along the unit direction on average.",
    "fires_on": "Mean of what its edit adds along the unit direction on the behaviour's texts; null without a gate.",
    "fires_off": "The same on harmless texts; null without a gate.",
    "low": "Lower end of the 95 % bootstrap interval of g over examples; null without --chance.",
    "high": "Upper end of that interval; null without --chance.",
    "p": "Share of permutations of the labels with at least this g |v|; null without --chance.",
    "band": "Largest |g| along 95 of 100 directions of chance; null without --chance.",
    "name": "Name for a person.",
}
SCORES_FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "contrast": ("Contrast set of the scores.", CONTRAST),
    "settings": ("Settings of the edit in the columns lambda and relative_change.", SETTINGS),
    "harmless": "Harmless texts that a gate was fitted on, for a person; null without a gate.",
    "n_components": "Number of components of the chosen kinds.",
    "components": (
        "The components, largest |g| first, or with a gate largest |fires_on|: all of them, or as many as --top says.",
        [COMPONENT],
    ),
}
FIRING = ("fires_on", "fires_off")
"""Columns that only an edit with a gate has: *when* it fires, where g says what a component writes."""
BY_CHANCE = ("low", "high", "p", "band")
"""Columns of --chance: whether g could be luck."""
WIDTHS = {
    "kind": 7, "layer": 5, "index": 6, "g": 8, "lambda": 8, "relative_change": 15, "mean_contribution": 17,
    "fires_on": 8, "fires_off": 9, "low": 8, "high": 8, "p": 7, "band": 7,
}  # fmt: skip
TOP = 20


def add_scores(sub: argparse.ArgumentParser) -> None:
    add_contrast(sub)
    add_extraction(sub)
    add_settings(sub)
    sub.add_argument("--kind", choices=("all", *KINDS), default="all")
    sub.add_argument("--top", type=parse_count, help=f"rows of the table (default {TOP}; with --json all)")
    sub.add_argument("--csv", metavar="FILE", help="write all components as CSV instead; - is standard output")
    sub.add_argument(
        "--chance", action="store_true",
        help="also say whether each g could be luck: its interval, a permutation test, the band of chance",
    )  # fmt: skip


def show_scores(options: argparse.Namespace) -> None:
    scores = _rank_components(options)
    left_out = (() if scores.edit.settings.needs_texts else FIRING) + (() if options.chance else BY_CHANCE)
    columns = [name for name in COMPONENT if name not in left_out]
    if options.csv is not None:
        with open_output(options.csv) as file:
            csv.writer(file).writerows([columns, *([row[name] for name in columns] for row in scores.rows)])
        return
    print("  ".join(name.rjust(WIDTHS.get(name, 0)) for name in columns))
    for row in scores.rows[: TOP if options.top is None else options.top]:
        cells = {name: f"{row[name]:.4f}" if isinstance(row[name], float) else str(row[name]) for name in columns}
        print("  ".join(cell.rjust(WIDTHS.get(name, 0)) for name, cell in cells.items()))


def describe_scores(options: argparse.Namespace) -> dict[str, Any]:
    scores = _rank_components(options)
    return {
        "model": describe_model(scores.loaded),
        "contrast": describe_contrast(scores.contrast),
        "settings": describe_settings(scores.edit.settings),
        "harmless": scores.edit.provenance.harmless or None,
        "n_components": len(scores.rows),
        "components": scores.rows[: options.top],
    }


Row = dict[str, Any]
"""One component: the fields of COMPONENT, in their order."""


@dataclass(frozen=True, eq=False)
class _Ranking:
    """The components of a model, ranked."""

    loaded: LoadedModel
    contrast: ContrastSet
    edit: WeightEdit
    rows: list[Row]


def _rank_components(options: argparse.Namespace) -> _Ranking:
    needs_texts = check_settings(options)
    check_formats(options)
    contrast, loaded = load_contrast_and_model(options)
    extraction = extract_chosen(
        options, loaded, contrast, choose_texts(options, loaded, contrast) if needs_texts else None
    )
    edit = build_edit(extraction, read_settings(options, extraction.scores))
    kinds = KINDS if options.kind == "all" else (options.kind,)
    rank = "g" if edit.settings.gate is None else "fires_on"
    by_chance = _read_chance(loaded, contrast, extraction) if options.chance else None
    rows = sorted(_component_rows(extraction, edit, kinds, by_chance), key=lambda row: -abs(row[rank]))
    return _Ranking(loaded, contrast, edit, rows)


def _read_chance(loaded: LoadedModel, contrast: ContrastSet, extraction: Extraction) -> Chance:
    with ProgressLine("reading examples") as progress:
        means = example_means(loaded, contrast, outliers=extraction.outliers, progress=progress)
    with ProgressLine("permuting labels") as progress:
        return chance(loaded, means, progress=progress)


def _component_rows(
    extraction: Extraction, edit: WeightEdit, kinds: tuple[str, ...], by_chance: Chance | None
) -> Iterator[Row]:
    scores, changes = extraction.scores, relative_changes(extraction.scores, edit)
    inputs = extraction.token_inputs
    firing = None if inputs is None else mean_firing(inputs, edit.right)
    for i, site in enumerate(scores.spec.sites):
        if site.kind in kinds:
            figures = (scores.g[i], edit.strength[i], changes[i], scores.contributions[i])
            n = site.n_components
            nothing = (torch.full((n,), torch.nan),)
            when = firing[i] if firing else 2 * nothing
            lucky = 4 * nothing
            if by_chance is not None:
                lucky = (by_chance.low[i], by_chance.high[i], by_chance.p[i], by_chance.band[i])
            columns = [column.tolist() for column in (*figures, *when, *lucky)]
            name, kind = component_namer(scores.spec, i), site.kind.removesuffix("s")
            for index, values in enumerate(zip(*columns, strict=True)):
                known = (None if isnan(value) else value for value in values)
                row = (kind, site.layer, index, *known, name(index))
                yield dict(zip(COMPONENT, row, strict=True))


COMMANDS = (
    Command(
        "info", "What the model is and where its components are.", lambda sub: None, show_info,
        describe=describe_info, fields=INFO_FIELDS,
    ),
    Command(
        "scores", "A ranked table of components, or all of them as CSV.", add_scores, show_scores,
        describe=describe_scores, fields=SCORES_FIELDS,
    ),
)  # fmt: skip
