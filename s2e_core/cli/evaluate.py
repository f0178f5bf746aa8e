"""The command `evaluate`: every figure of a few edits and steering strengths.

Knows options, the terminal and the JSON object; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_core.data import Behavior, behavior_gate_texts
from s2e_core.export import load_edit
from s2e_core.measure import (
    EVALUATION_COLUMNS,
    HOW,
    Evaluation,
    Plan,
    evaluate,
    evaluations_to_rows,
    format_evaluations,
    settings_label,
    steering_grid,
)
from s2e_core.method import build_edit
from s2e_core.model import LoadedModel
from s2e_core.settings import EditSettings
from s2e_core.values import Edited, Steered, Variant

from .arguments import (
    add_behavior,
    add_extraction,
    add_questions,
    parse_gammas,
)
from .command import Command
from .dials import choose_suggestion, parse_settings
from .json_output import (
    BEHAVIOR,
    CONTRAST,
    ESTIMATE,
    MODEL,
    RECIPE,
    TRIAL,
    Fields,
    describe_behavior,
    describe_contrast,
    describe_estimate,
    describe_model,
    describe_recipe,
    describe_trial,
)
from .measuring import (
    read_plan,
    to_steering_trials,
)
from .terminal import (
    ProgressLine,
    check_exists,
    check_formats,
    extract_chosen,
    load_chosen_behavior,
    load_chosen_model,
    open_output,
)

_DIFFERENCE: Fields = {
    "variant": "Label of the other variant.",
    "difference": ("The difference.", ESTIMATE),
}
_VARIANT: Fields = {
    **TRIAL,
    "recipe": ("The recipe; null for other variants.", RECIPE),
    "figures": (
        "Every figure, with its 95 % interval.",
        [{"name": "Name of the figure.", **ESTIMATE, "how": "How the figure is made."}],
    ),
    "against": ("Attribute minus that of every other variant, prompt by prompt.", [_DIFFERENCE]),
}
EVALUATE_FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "contrast": ("Contrast set of the behaviour.", CONTRAST),
    "behavior": ("The behaviour that was measured.", BEHAVIOR),
    "split": "Split of the behaviour's prompts.",
    "prompts": "Largest number of prompts of each side; null if all were asked.",
    "samples": "Answers per prompt.",
    "temperature": "Sampling temperature; 0 is greedy.",
    "seed": "Random seed, the same for every variant.",
    "max_new_tokens": "Largest length of an answer.",
    "variants": ("Every variant, the untouched model first.", [_VARIANT]),
    "intervals": "How the intervals are made.",
}
INTERVALS = (
    "95 % intervals over the prompts: Wilson for shares, else the bootstrap; for changes of scores and for what is "
    "kept, no narrower than with one prompt lost or gained."
)


def add_evaluate(sub: argparse.ArgumentParser) -> None:
    add_behavior(sub)
    add_extraction(sub)
    sub.add_argument(
        "--recipe", type=Path, action="append", default=[], help="a saved edit; may be given several times"
    )
    sub.add_argument(
        "--settings",
        type=parse_settings,
        action="append",
        default=[],
        metavar="DIALS",
        help="an edit by its dials: RHO_ATTN,RHO_MLP,ALPHA[,STRENGTH] such as off,0.45,0.4,0.5; "
        "gate,GAMMA[,MU[,SIZE]] such as gate,0.5,10,100; both with a + between; or suggested; may be given several "
        "times",
    )
    sub.add_argument("--gamma", type=parse_gammas, metavar="GAMMA,...", help="steering strengths to compare with")
    add_questions(sub, split="test", prompts=None)
    sub.add_argument("--csv", metavar="FILE", help="write the figures as CSV instead of the table; - is the terminal")


@dataclass(frozen=True, eq=False)
class _Evaluated:
    """The figures of all variants."""

    loaded: LoadedModel
    behavior: Behavior
    plan: Plan
    evaluations: tuple[Evaluation, ...]
    recipes: dict[str, Path]
    """The recipes by the label of their variant."""


def run_evaluation(options: argparse.Namespace) -> _Evaluated:
    """All figures of saved edits, settings and steering strengths beside the untouched model's."""
    check_exists(*options.recipe)
    check_formats(options)
    behavior, loaded = load_chosen_behavior(options), load_chosen_model(options)
    plan = read_plan(options, behavior)
    variants = list(_load_variants(options, loaded, behavior))
    with ProgressLine("answers and texts") as progress:
        evaluations = evaluate(
            loaded, plan, [variant for _, variant in variants], labels=[label for label, _ in variants],
            progress=progress,
        )  # fmt: skip
    return _Evaluated(loaded, behavior, plan, evaluations, {path.name: path for path in options.recipe})


def show_evaluation(options: argparse.Namespace) -> None:
    evaluations = run_evaluation(options).evaluations
    if options.csv is not None:
        with open_output(options.csv) as file:
            csv.writer(file, lineterminator="\n").writerows([EVALUATION_COLUMNS, *evaluations_to_rows(evaluations)])
        return
    print("\n".join(format_evaluations(evaluations)), end="\n\n")
    names = {name for evaluation in evaluations for name in evaluation.figures()}
    print("\n".join(f"{name}: {how}" for name, how in HOW.items() if name in names))
    print(f"In brackets: {INTERVALS}")


def describe_evaluation(options: argparse.Namespace) -> dict[str, Any]:
    run = run_evaluation(options)
    return {
        "model": describe_model(run.loaded),
        "contrast": describe_contrast(run.behavior.contrast),
        "behavior": describe_behavior(run.behavior, less_is_better=run.plan.less_is_better),
        "split": options.split,
        "prompts": options.prompts,
        "samples": options.samples,
        "temperature": options.temperature,
        "seed": options.seed,
        "max_new_tokens": run.plan.length,
        "variants": [_describe_variant(evaluation, run.recipes) for evaluation in run.evaluations],
        "intervals": INTERVALS,
    }


def _describe_variant(evaluation: Evaluation, recipes: dict[str, Path]) -> dict[str, Any]:
    path, variant = recipes.get(evaluation.label), evaluation.variant
    return {
        **describe_trial(evaluation.result.trial),
        "recipe": describe_recipe(path, variant.edit) if path is not None and isinstance(variant, Edited) else None,
        "figures": [
            {"name": name, **describe_estimate(figure), "how": HOW[name]}
            for name, figure in evaluation.figures().items()
        ],
        "against": [
            {"variant": label, "difference": describe_estimate(figure)} for label, figure in evaluation.against.items()
        ],
    }


def _load_variants(
    options: argparse.Namespace, loaded: LoadedModel, behavior: Behavior
) -> Iterator[tuple[str, Variant]]:
    """The variants that the options name; by default the behaviour's suggested settings and steering strength."""
    for path in options.recipe:
        yield path.name, Edited(load_edit(path, base=loaded))
    bare = not options.recipe and not options.settings and options.gamma is None
    settings = ["suggested"] if bare else options.settings
    steering = steering_grid([behavior.gamma]) if bare else to_steering_trials(options.gamma)
    if settings or steering:
        edits = [dials if isinstance(dials, EditSettings) else behavior.settings for dials in settings]
        gated = any(edit is None or edit.needs_texts for edit in edits)
        texts = behavior_gate_texts(behavior) if gated else None
        extraction = extract_chosen(options, loaded, behavior.contrast, texts)
        for edit in edits:
            chosen = edit
            if chosen is None and texts is not None:
                chosen = choose_suggestion(options, loaded, extraction, behavior.contrast, texts)
            if chosen is None:
                continue
            yield settings_label(chosen), Edited(build_edit(extraction, chosen))
        for trial in steering:
            yield trial.label, Steered(extraction.directions, trial.gamma or 0.0)


COMMAND = Command(
        "evaluate",
        "All figures of saved edits, settings and steering strengths beside the untouched model's, on held-out "
        "prompts.",
        add_evaluate, show_evaluation, describe=describe_evaluation, fields=EVALUATE_FIELDS,
    )  # fmt: skip
