"""The commands that make an edit and show what it does: a recipe, and answers side by side.

Knows options, the terminal and the JSON objects; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_core.errors import SettingsError
from s2e_core.export import load_edit, rank_of, save_edit
from s2e_core.generation import compare
from s2e_core.measure import settings_label
from s2e_core.method import EditSummary, build_edit, combine, summarize
from s2e_core.model import LoadedModel
from s2e_core.spec import KINDS
from s2e_core.values import ContrastSet, Edited, Example, Original, Steered, Variant, WeightEdit
from s2e_core.why import Parting, parting

from .arguments import add_contrast, add_extraction, parse_seed
from .command import Command
from .dials import add_settings, check_settings, choose_suggestion, choose_texts, read_settings, wants_suggestion
from .json_output import (
    CONTRAST,
    MODEL,
    RECIPE,
    Fields,
    describe_contrast,
    describe_model,
    describe_optional,
    describe_recipe,
)
from .terminal import (
    check_exists,
    check_writable,
    extract_chosen,
    load_chosen_contrast,
    load_chosen_model,
    load_contrast_and_model,
    readable,
)

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
    add_extraction(sub)
    add_settings(sub)
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="RECIPE", help="safetensors file to write")


def show_edit(options: argparse.Namespace) -> None:
    _, edit, summary, path = _write_edit(options)
    if edit.settings.needs_texts:
        harmless = f"; harmless texts: {edit.provenance.harmless}" if edit.provenance.harmless else ""
        print(f"{edit.settings.family}: {settings_label(edit.settings)}{harmless}")
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
    needs_texts = check_settings(options)
    contrast, loaded = load_contrast_and_model(options)
    suggested = wants_suggestion(options)
    texts = choose_texts(options, loaded, contrast) if needs_texts or suggested else None
    extraction = extract_chosen(options, loaded, contrast, texts)
    if suggested and texts is not None:
        settings = choose_suggestion(options, loaded, extraction, contrast, texts, options.family)
    else:
        settings = read_settings(options, extraction.scores)
    edit = build_edit(extraction, settings)
    return loaded, edit, summarize(extraction.scores, edit), save_edit(edit, options.output)


def add_combine(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("recipes", nargs="+", type=Path, metavar="RECIPE", help="recipes of edits of one model")
    sub.add_argument(
        "--strengths", nargs="+", type=float, metavar="FACTOR", help="one for each recipe (default 1, as it is)"
    )
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="RECIPE", help="safetensors file to write")


def combine_recipes(options: argparse.Namespace) -> None:
    check_exists(*options.recipes)
    check_writable(options.output)
    edit = combine([load_edit(path) for path in options.recipes], options.strengths)
    path = save_edit(edit, options.output)
    counts = " and ".join(f"{edit.count(kind)} {kind}" for kind in KINDS)
    print(f"{len(edit.parts)} edits as one, rank {rank_of(edit)}, {counts}: {path}")


LIKELY: Fields = {"token": "The token.", "probability": "Its probability."}
PARTED: Fields = {
    "token": "The token.",
    "kl": "KL of the edited model from the original at this token, nats.",
    "original": ("Likeliest tokens of the original.", [LIKELY]),
    "edited": ("Likeliest tokens of the edited model.", [LIKELY]),
}
PARTING: Fields = {
    "first": "Index of the first token in whose place the edited model would write another; null for none.",
    "mean_kl": "Mean KL from the original over the answer, nats a token.",
    "moved": "Mean |h' - h| / |h| of the residual stream after every layer.",
    "tokens": ("Tokens of the original's answer.", [PARTED]),
}
ANSWER: Fields = {
    "prompt": "The prompt.",
    "original": "Answer of the untouched model.",
    "edited": "Answer of the edited model; null without --recipe.",
    "steered": "Answer of the steered model; null without --gamma.",
    "parting": ("Where the edited model leaves the original's answer; null without --parting.", PARTING),
}
COMPARE_FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "recipe": ("Recipe of the edited model; null without --recipe.", RECIPE),
    "contrast": ("Contrast set of the steering direction; null without --gamma.", CONTRAST),
    "gamma": "Steering strength; null without --gamma.",
    "max_new_tokens": "Largest length of an answer.",
    "temperature": "Sampling temperature; 0 is greedy.",
    "seed": "Random seed, the same for every variant.",
    "answers": ("The answers to every prompt.", [ANSWER]),
}


def add_compare(sub: argparse.ArgumentParser) -> None:
    add_contrast(sub)
    add_extraction(sub)
    sub.add_argument("prompts", nargs="+", metavar="PROMPT")
    sub.add_argument("--recipe", type=Path, help="show the edited model's answer")
    sub.add_argument("--gamma", type=float, help="show the steered model's answer at this strength")
    sub.add_argument("--max-new-tokens", type=int, default=64)
    sub.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    sub.add_argument("--seed", type=parse_seed, default=0)
    sub.add_argument(
        "--parting", action="store_true", help="also say at which token the edited model leaves the original's answer"
    )


def show_comparison(options: argparse.Namespace) -> None:
    comparison = _load_variants(options)
    for prompt, texts in _answer_prompts(comparison, options):
        print(f"> {prompt}")
        for label, text in texts.items():
            print(f"[{label}] {text.strip()}")
        if options.parting:
            print(f"[parting] {_parting_words(_part(comparison, prompt, texts))}")


def _parting_words(found: Parting | None) -> str:
    if found is None:
        return "the original's answer is empty"
    kl = f"KL {found.mean_kl:.3f} nats a token"
    if found.first is None:
        return f"nowhere: the edited model would have written the same {len(found.tokens)} tokens; {kl}"
    at = found.tokens[found.first]
    (own, own_share), (other, other_share) = at.original[0], at.variant[0]
    return (
        f'token {found.first + 1} of {len(found.tokens)}: "{own}" ({own_share:.0%}) becomes "{other}" '
        f"({other_share:.0%}); {kl}"
    )


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
            {
                "prompt": prompt,
                **{label: texts.get(label) for label in ("original", "edited", "steered")},
                "parting": _describe_parting(_part(comparison, prompt, texts)) if options.parting else None,
            }
            for prompt, texts in _answer_prompts(comparison, options)
        ],
    }


def _describe_parting(found: Parting | None) -> dict[str, Any] | None:
    if found is None:
        return None
    tokens = [
        {
            "token": one.token,
            "kl": one.kl,
            "original": [dict(zip(LIKELY, pair, strict=True)) for pair in one.original],
            "edited": [dict(zip(LIKELY, pair, strict=True)) for pair in one.variant],
        }
        for one in found.tokens
    ]
    return {"first": found.first, "mean_kl": found.mean_kl, "moved": found.moved, "tokens": tokens}


@dataclass(frozen=True, eq=False)
class _Comparison:
    """What answers the prompts."""

    loaded: LoadedModel
    variants: dict[str, Variant]
    edit: WeightEdit | None
    contrast: ContrastSet | None


def _part(comparison: _Comparison, prompt: str, texts: dict[str, str]) -> Parting | None:
    """Where the edited model leaves the original's answer; None if that is empty."""
    if not texts["original"]:
        return None
    return parting(comparison.loaded, Example(prompt, texts["original"]), comparison.variants["edited"])


def _load_variants(options: argparse.Namespace) -> _Comparison:
    if options.parting and options.recipe is None:
        raise SettingsError("--parting is about an edited model. Give --recipe too, or leave it out.")
    check_exists(options.recipe)
    contrast = load_chosen_contrast(options) if options.gamma is not None else None
    loaded = load_chosen_model(options)
    contrast = None if contrast is None else readable(options, contrast, loaded)
    variants: dict[str, Variant] = {"original": Original()}
    edit = load_edit(options.recipe, base=loaded) if options.recipe else None
    if edit is not None:
        variants["edited"] = Edited(edit)
    if contrast is not None:
        variants["steered"] = Steered(extract_chosen(options, loaded, contrast).directions, options.gamma)
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
        "edit", "A recipe from a contrast set and settings.", add_edit, show_edit,
        describe=describe_edit, fields=EDIT_FIELDS,
    ),
    Command(
        "combine", "One recipe of several, laid on each other, each with a strength.", add_combine, combine_recipes,
        needs_model=False,
    ),
    Command(
        "compare", "Original, edited and steered answers to the prompts.", add_compare, show_comparison,
        describe=describe_comparison, fields=COMPARE_FIELDS,
    ),
)  # fmt: skip
