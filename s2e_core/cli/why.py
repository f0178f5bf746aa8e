"""The command that sets attribution beside cause: what single components do to the behaviour, measured.

Knows options, the terminal and the JSON objects; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
import csv
from typing import Any

from s2e_core.data import Behavior
from s2e_core.errors import SettingsError
from s2e_core.measure import Plan, own_pairs
from s2e_core.method import build_edit
from s2e_core.model import LoadedModel, component_label
from s2e_core.spec import KINDS
from s2e_core.values import ContrastSet, WeightEdit
from s2e_core.why import HOWS, N_HEADS, N_NEURONS, CausalMap, Effect, causal_map

from .arguments import add_contrast, add_extraction, parse_count, parse_names, parse_seed
from .command import Command
from .dials import add_settings, check_settings, choose_texts, read_settings
from .json_output import (
    CONTRAST,
    ESTIMATE,
    MODEL,
    SETTINGS,
    Fields,
    describe_contrast,
    describe_estimate,
    describe_model,
    describe_optional,
    describe_settings,
)
from .terminal import (
    ProgressLine,
    check_formats,
    extract_chosen,
    load_chosen_behavior,
    load_contrast_and_model,
    open_output,
)

EFFECT: Fields = {
    "kind": '"head" or "neuron".',
    "layer": "Number of the layer, from 0.",
    "index": "Number of the component in its layer, from 0.",
    "name": "Name for a person.",
    "g": "Alignment: cosine of the component's mean output with the steering direction.",
    "how": '"zeroed", "mean" (set to its mean), "edited alone", or "left out" (of the whole edit).',
    "margin": ("Change of the margin between wanted and unwanted responses, nats a token.", ESTIMATE),
    "wanted": ("Change of the wanted responses' own log-likelihood, nats a token.", ESTIMATE),
    "kl": ("KL on these responses from the model without the intervention, nats a token.", ESTIMATE),
}
AGREEMENT: Fields = {
    "how": "The intervention.",
    "kind": '"heads", "neurons" or "all".',
    "correlation": ("The rank correlation over components; null for too few.", ESTIMATE),
}
FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "contrast": ("Contrast set of the scores.", CONTRAST),
    "texts": ("Examples whose responses were read.", CONTRAST),
    "settings": ('Settings of the edit that "edited alone" and "left out" are about.', SETTINGS),
    "n_texts": "Number of responses that were read, wanted and unwanted together.",
    "agreement": (
        "Spearman's rank correlation of g with what a component's presence does to the margin (of |g| for the edit).",
        [AGREEMENT],
    ),
    "unneeded": "Names of components of large |g| that have no clear effect when they are zeroed.",
    "overlooked": "Names of components of small |g| that have the largest clear effects when they are zeroed.",
    "effects": ("Every intervention on every component that was tried.", [EFFECT]),
}


def add_why(sub: argparse.ArgumentParser) -> None:
    add_contrast(sub)
    add_extraction(sub)
    add_settings(sub)
    sub.add_argument(
        "--try-heads", type=parse_count, default=N_HEADS, metavar="N",
        help=f"heads with the largest |g| to try (default {N_HEADS:,}: all of a model of usual size)",
    )  # fmt: skip
    sub.add_argument(
        "--try-neurons", type=parse_count, default=N_NEURONS, metavar="N",
        help=f"neurons with the largest |g| to try (default {N_NEURONS})",
    )  # fmt: skip
    sub.add_argument(
        "--how", type=parse_names, default=list(HOWS), metavar="LIST", help=f"interventions (default {','.join(HOWS)})"
    )
    sub.add_argument(
        "--own-answers", action="store_true",
        help="read the model's own better and worse answers to the behaviour's development prompts, not the examples",
    )  # fmt: skip
    sub.add_argument("--seed", type=parse_seed, default=0, help="random seed of the own answers")
    sub.add_argument("--csv", metavar="FILE", help="write all effects as CSV instead; - is standard output")


def show_why(options: argparse.Namespace) -> None:
    _, _, texts, _, found = _measure(options)
    if options.csv is not None:
        rows = found.rows()
        with open_output(options.csv) as file:
            csv.writer(file).writerows([list(rows[0]) if rows else [], *(row.values() for row in rows)])
        return
    print(f"{len(found.g)} components on {found.n_texts} responses of {texts.name}; 95 % intervals over responses")
    for how in options.how:
        for kind in KINDS:
            agreement = found.agreement(how, kind)
            if agreement is not None:
                figure = f"{agreement.value:+.2f} [{agreement.low:+.2f}, {agreement.high:+.2f}]"
                print(f"{how:<13} rank agreement with g: {figure} over {agreement.count} {kind}")
    for title, effects in (
        ("large |g|, no clear effect", found.unneeded()),
        ("small |g|, clear effect", found.overlooked()),
    ):
        print(title)
        for effect in effects:
            print(f"  {_line(found, effect)}")


def _line(found: CausalMap, effect: Effect) -> str:
    margin = effect.margin
    return (
        f"{component_label(found.spec, effect.component):<24} g {found.g[effect.component]:+.3f}, {effect.how}: "
        f"margin {margin.value:+.4f} [{margin.low:+.4f}, {margin.high:+.4f}], KL {effect.kl.value:.4f}"
    )


def describe_why(options: argparse.Namespace) -> dict[str, Any]:
    loaded, contrast, texts, edit, found = _measure(options)
    return {
        "model": describe_model(loaded),
        "contrast": describe_contrast(contrast),
        "texts": describe_contrast(texts),
        "settings": describe_settings(edit.settings),
        "n_texts": found.n_texts,
        "agreement": [
            {
                "how": how,
                "kind": kind or "all",
                "correlation": describe_optional(describe_estimate, found.agreement(how, kind)),
            }
            for how in options.how
            for kind in (None, *KINDS)
        ],
        "unneeded": [component_label(found.spec, effect.component) for effect in found.unneeded()],
        "overlooked": [component_label(found.spec, effect.component) for effect in found.overlooked()],
        "effects": [_describe_effect(found, effect) for effect in found.effects],
    }


def _describe_effect(found: CausalMap, effect: Effect) -> dict[str, Any]:
    site = found.spec.sites[effect.component.site]
    return {
        "kind": site.kind.removesuffix("s"),
        "layer": site.layer,
        "index": effect.component.index,
        "name": component_label(found.spec, effect.component),
        "g": found.g[effect.component],
        "how": effect.how,
        "margin": describe_estimate(effect.margin),
        "wanted": describe_estimate(effect.wanted),
        "kl": describe_estimate(effect.kl),
    }


def _measure(options: argparse.Namespace) -> tuple[LoadedModel, ContrastSet, ContrastSet, WeightEdit, CausalMap]:
    for how in options.how:
        if how not in HOWS:
            raise SettingsError(f'There is no intervention "{how}". Choose among: {", ".join(HOWS)}.')
    if options.own_answers and not options.behavior:
        raise SettingsError("--own-answers needs the prompts of a behaviour. Give --behavior, or leave the option out.")
    needs_texts = check_settings(options)
    check_formats(options)
    contrast, loaded = load_contrast_and_model(options)
    gate_texts = choose_texts(options, loaded, contrast) if needs_texts else None
    extraction = extract_chosen(options, loaded, contrast, gate_texts)
    edit = build_edit(extraction, read_settings(options, extraction.scores))
    texts = _own_answers(options, loaded, load_chosen_behavior(options)) if options.own_answers else contrast
    with ProgressLine("intervening") as progress:
        found = causal_map(
            loaded, extraction, edit, texts, n_heads=options.try_heads, n_neurons=options.try_neurons,
            hows=options.how, progress=progress,
        )  # fmt: skip
    return loaded, contrast, texts, edit, found


def _own_answers(options: argparse.Namespace, loaded: LoadedModel, behavior: Behavior) -> ContrastSet:
    with ProgressLine("asking the model") as progress:
        pairs = own_pairs(loaded, Plan(behavior, "development"), options.seed, progress=progress)
    if pairs is None:
        raise SettingsError(
            "The model's own answers to the development prompts hardly differ, so none is better than another. Leave "
            "--own-answers out to read the examples."
        )
    return pairs


COMMAND = Command(
    "why", "Which components the behaviour really depends on, beside their g.", add_why, show_why,
    describe=describe_why, fields=FIELDS,
)  # fmt: skip
