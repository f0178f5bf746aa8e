"""The command `find`: the best edit, and the best steering strength, within a budget.

Knows options, the terminal and the JSON object; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_core.data import Behavior, behavior_gate_texts
from s2e_core.export import save_edit
from s2e_core.measure import (
    SHORT_BUDGET,
    Found,
    LikelihoodFound,
    SearchBudget,
    SearchPlan,
    Trial,
    find_edit,
    search_budget,
)
from s2e_core.method import build_edit
from s2e_core.model import LoadedModel
from s2e_core.values import ContrastSet, WeightEdit

from .arguments import (
    add_extraction,
    add_floor,
    add_leave_out_long,
    add_ray,
    add_sampling,
    parse_count,
    parse_kl,
    parse_positive,
)
from .command import Command
from .found import describe_found, show_found
from .json_output import (
    BEHAVIOR,
    CONTRAST,
    ESTIMATE,
    MODEL,
    RECIPE,
    SWEEP,
    TRIAL,
    Fields,
    describe_contrast,
    describe_model,
    describe_optional,
    describe_recipe,
    describe_trial,
)
from .measuring import (
    ARMS,
    check_workers,
    choose_asker,
    say_how_to_resume,
)
from .screened import (
    BY_LIKELIHOOD,
    SCREENED,
    check_likelihood_options,
    describe_likelihood,
    describe_screened,
    search_by_likelihood,
    show_likelihood,
)
from .terminal import (
    ProgressLine,
    check_writable,
    extract_chosen,
    load_chosen_behavior,
    load_contrast_and_model,
)

FIND_FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "contrast": ("Contrast set of the edits and of the steering direction.", CONTRAST),
    "behavior": ("The behaviour that was measured; null in a search by likelihood alone.", BEHAVIOR),
    "floor": "Share of the untouched model's utility to keep; null in a search by likelihood alone.",
    "trials": "Number of edits that were screened by likelihood.",
    "edit": ("The chosen edit; null if none keeps the floor.", TRIAL),
    "steering": ("The chosen steering strength; null if none keeps the floor.", TRIAL),
    "keeps_floor": (
        "Verdict on held-out prompts by arm; null if the arm was not checked there.",
        {"edit": "True if the chosen edit keeps the floor there.", "steering": "The same for steering."},
    ),
    "lead": ("Attribute of the edit minus that of steering on held-out prompts, prompt by prompt.", ESTIMATE),
    "held_out": (
        "The untouched model and the chosen trials on prompts that nothing was chosen by: the figures to report. "
        "null if nothing was chosen, or if the behaviour has no such prompts.",
        SWEEP,
    ),
    "finals": ("The finalists on the whole development split: what the choice rests on.", SWEEP),
    "development": ("All trials that were asked prompts; null in a search by likelihood alone.", SWEEP),
    "screened": ("Likelihoods of given texts, by which the edits were found that are asked.", [SCREENED]),
    "by_likelihood": (
        "The choice by likelihood alone; null if the prompts of a behaviour were measured.",
        BY_LIKELIHOOD,
    ),
    "recipe": ("Recipe of the chosen edit; null without --recipe or if no edit was chosen.", RECIPE),
    "answers": "Folder of the answers, as given; null without -o.",
}


def add_find(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--behavior", metavar="NAME", help="a bundled behaviour (`info` lists them) or a folder like one")
    sub.add_argument(
        "--contrast",
        type=Path,
        metavar="FILE",
        help="your own examples: measured on the behaviour's prompts, or without --behavior by likelihood alone",
    )
    add_leave_out_long(sub)
    add_extraction(sub)
    add_floor(sub)
    sub.add_argument(
        "--trials", type=parse_count, metavar="N", help=f"edits to screen by likelihood {_default('n_trials')}"
    )
    sub.add_argument(
        "--shortlist", type=parse_positive, metavar="N", help=f"edits to ask prompts {_default('shortlist')}"
    )
    sub.add_argument(
        "--prompts", type=parse_positive, metavar="N", help=f"prompts of each side to search on {_default('prompts')}"
    )
    sub.add_argument(
        "--samples",
        type=parse_positive,
        metavar="N",
        help=f"answers per prompt in the final rounds {_default('samples')}",
    )
    sub.add_argument(
        "--held-out",
        type=parse_positive,
        metavar="N",
        help=f"held-out prompts of the behaviour {_default('held_out')}; all harmless ones are asked",
    )
    sub.add_argument(
        "--kl", type=parse_kl, metavar="NATS", help="by likelihood alone: largest KL on harmless texts (default 0.05)"
    )
    sub.add_argument(
        "--harmless",
        type=Path,
        metavar="FILE",
        help="by likelihood alone: harmless prompts in place of those that ship",
    )
    add_sampling(sub)
    add_ray(sub)
    sub.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="keeps every answer; the same command resumes it"
    )
    sub.add_argument("--recipe", type=Path, metavar="RECIPE", help="save the chosen edit to this file")


def _default(name: str) -> str:
    usual = getattr(SearchBudget(), name)
    return f"(default {usual or 'all'}, or {getattr(SHORT_BUDGET, name)} for a large model on a CPU)"


def _with_budget(options: argparse.Namespace, loaded: LoadedModel) -> argparse.Namespace:
    """The options with what the model can afford for those that were not given."""
    budget = search_budget(loaded)
    usual = {"trials": budget.n_trials, "gammas": budget.gammas, "finalists": budget.finalists}
    usual |= {name: getattr(budget, name) for name in ("shortlist", "prompts", "samples", "held_out")}
    given = {name: value for name, value in vars(options).items() if value is not None}
    return argparse.Namespace(**{**vars(options), **usual, **given})


@dataclass(frozen=True, eq=False)
class _Search:
    """A search, by prompts or by likelihood alone, and the recipe of its edit."""

    loaded: LoadedModel
    contrast: ContrastSet
    behavior: Behavior | None
    result: Found | LikelihoodFound
    recipe: Path | None
    edit: WeightEdit | None
    """The edit in the recipe; None if no recipe was written."""
    n_trials: int
    """Number of edits that were to be screened."""


def run_search(options: argparse.Namespace) -> _Search:
    """The best edit, and the best steering, that keep the utility or stay under a bound of KL."""
    check_workers(options)
    check_writable(options.recipe)
    check_likelihood_options(options)
    contrast, loaded = load_contrast_and_model(options)
    options = _with_budget(options, loaded)
    behavior = load_chosen_behavior(options) if options.behavior else None
    result: Found | LikelihoodFound
    if behavior is None:
        extraction, result = search_by_likelihood(options, loaded, contrast)
    else:
        extraction = extract_chosen(options, loaded, contrast, behavior_gate_texts(behavior))
        with say_how_to_resume(options.output), choose_asker(options, loaded) as asker:
            with ProgressLine("answers") as progress:
                plan = _plan(options, behavior, contrast)
                result = find_edit(loaded, extraction, plan, path=options.output, asker=asker, progress=progress)
    edit, chosen = None, _chosen(result)[0]
    if options.recipe and chosen is not None and chosen.settings is not None:
        edit = build_edit(extraction, chosen.settings)
    recipe = None if edit is None else save_edit(edit, options.recipe)
    return _Search(loaded, contrast, behavior, result, recipe, edit, options.trials)


def _plan(options: argparse.Namespace, behavior: Behavior, contrast: ContrastSet) -> SearchPlan:
    return SearchPlan(
        behavior, floor=options.floor, n_trials=options.trials, shortlist=options.shortlist, contrast=contrast,
        prompts=options.prompts, samples=options.samples, temperature=options.temperature, seed=options.seed,
        finalists=options.finalists, gammas=options.gammas, max_new_tokens=options.max_new_tokens,
        held_out=options.held_out,
    )  # fmt: skip


def _chosen(result: Found | LikelihoodFound) -> tuple[Trial | None, Trial | None]:
    """The chosen edit and the chosen steering strength."""
    if isinstance(result, Found):
        return result.edit, result.steering
    edit, steering = (None if each is None else each.trial for each in (result.edit, result.steering))
    return edit, steering


def show_search(options: argparse.Namespace) -> None:
    search = run_search(options)
    if isinstance(search.result, Found):
        show_found(search.result)
    else:
        show_likelihood(search.result)
    if search.recipe is not None:
        print(f"The edit is saved: {search.recipe}")


def describe_search(options: argparse.Namespace) -> dict[str, Any]:
    search = run_search(options)
    result = search.result
    edit, steering = _chosen(result)
    recipe = None if search.edit is None or search.recipe is None else describe_recipe(search.recipe, search.edit)
    record: dict[str, Any] = dict.fromkeys(FIND_FIELDS)
    if isinstance(result, Found) and search.behavior is not None:
        record |= describe_found(result, search.behavior)
    elif isinstance(result, LikelihoodFound):
        record |= {"by_likelihood": describe_likelihood(result, search.contrast)}
        record |= {"keeps_floor": dict.fromkeys(ARMS)}
    return record | {
        "model": describe_model(search.loaded),
        "contrast": describe_contrast(search.contrast),
        "trials": search.n_trials,
        "edit": describe_optional(describe_trial, edit),
        "steering": describe_optional(describe_trial, steering),
        "screened": [describe_screened(each) for each in result.screened],
        "recipe": recipe,
        "answers": options.output,
    }


COMMAND = Command(
        "find", "The best edit, and the best steering, that keep the utility; checked on held-out prompts.",
        add_find, show_search, describe=describe_search, fields=FIND_FIELDS,
    )  # fmt: skip
