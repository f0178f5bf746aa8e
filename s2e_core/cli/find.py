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
    Arm,
    Estimate,
    Found,
    SearchPlan,
    difference,
    find_edit,
    format_figure,
    format_results,
    per_prompt,
    sweep_results,
)
from s2e_core.method import build_edit
from s2e_core.model import LoadedModel
from s2e_core.values import WeightEdit

from .arguments import (
    add_behavior,
    add_extraction,
    add_floor,
    add_ray,
    add_sampling,
    parse_count,
    parse_positive,
)
from .command import Command
from .json_output import (
    BEHAVIOR,
    CONTRAST,
    ESTIMATE,
    MODEL,
    RECIPE,
    SWEEP,
    TRIAL,
    Fields,
    describe_behavior,
    describe_contrast,
    describe_estimate,
    describe_model,
    describe_optional,
    describe_recipe,
    describe_sweep,
    describe_trial,
)
from .measuring import (
    ARMS,
    attribute_unit,
    check_workers,
    choose_asker,
    count_prompts,
    say_how_to_resume,
)
from .terminal import (
    ProgressLine,
    check_writable,
    extract_chosen,
    load_chosen_behavior,
    load_chosen_model,
)

FIND_FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "contrast": ("Contrast set of the edits and of the steering direction.", CONTRAST),
    "behavior": ("The behaviour that was measured.", BEHAVIOR),
    "floor": "Share of the untouched model's utility to keep.",
    "trials": "Number of edits that were proposed, beside the suggested settings.",
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
    "development": ("All trials of the search.", SWEEP),
    "recipe": ("Recipe of the chosen edit; null without --recipe or if no edit was chosen.", RECIPE),
    "answers": "Folder of the answers, as given; null without -o.",
}


def add_find(sub: argparse.ArgumentParser) -> None:
    add_behavior(sub)
    add_extraction(sub)
    add_floor(sub)
    sub.add_argument("--trials", type=parse_count, default=48, metavar="N", help="edits to try (default 48)")
    sub.add_argument(
        "--prompts", type=parse_positive, default=60, metavar="N", help="prompts of each side to search on"
    )
    sub.add_argument(
        "--samples", type=parse_positive, default=2, metavar="N", help="answers per prompt in the final rounds"
    )
    add_sampling(sub)
    add_ray(sub)
    sub.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="keeps every answer; the same command resumes it"
    )
    sub.add_argument("--recipe", type=Path, metavar="RECIPE", help="save the chosen edit to this file")


@dataclass(frozen=True, eq=False)
class _Search:
    """A search and the recipe of its edit."""

    loaded: LoadedModel
    behavior: Behavior
    result: Found
    recipe: Path | None
    edit: WeightEdit | None
    """The edit in the recipe; None if no recipe was written."""


def run_search(options: argparse.Namespace) -> _Search:
    """The best edit, and the best steering, that keep the utility; checked on held-out prompts."""
    check_workers(options)
    check_writable(options.recipe)
    behavior, loaded = load_chosen_behavior(options), load_chosen_model(options)
    plan = SearchPlan(
        behavior, floor=options.floor, n_trials=options.trials, prompts=options.prompts, samples=options.samples,
        temperature=options.temperature, seed=options.seed, max_new_tokens=options.max_new_tokens,
    )  # fmt: skip
    extraction = extract_chosen(options, loaded, behavior.contrast, behavior_gate_texts(behavior))
    with say_how_to_resume(options.output), choose_asker(options, loaded) as asker:
        with ProgressLine("answers") as progress:
            result = find_edit(loaded, extraction, plan, path=options.output, asker=asker, progress=progress)
    edit = path = None
    if options.recipe and result.edit is not None and result.edit.settings is not None:
        edit = build_edit(extraction, result.edit.settings)
        path = save_edit(edit, options.recipe)
    return _Search(loaded, behavior, result, path, edit)


def show_search(options: argparse.Namespace) -> None:
    search = run_search(options)
    result = search.result
    for title, run in (
        ("Finalists, on the whole development split", result.finals),
        ("The choice, on held-out prompts that nothing was chosen by", result.held_out),
    ):
        if run is not None:
            print(f"{title} ({count_prompts(run)}, {run.samples} answers each)")
            print("\n".join(format_results(sweep_results(run))), end="\n\n")
    for arm, trial in (("edit", result.edit), ("steering", result.steering)):
        label = "none does" if trial is None else trial.label
        print(f"Best {arm} that keeps {result.floor:.0%} of the utility: {label}")
    print(f"Attribute: {attribute_unit(result.development)}; 95 % intervals over the prompts.")
    if result.held_out is not None:
        print("\n".join(_verdict(arm, kept, result.floor) for arm, kept in _kept_by_arm(result).items()))
        lead = _measure_lead(result)
        if lead is not None:
            print(f"The edit's attribute minus steering's, prompt by prompt: {format_figure(lead)}.")
    elif result.edit or result.steering:
        print(
            "Not checked on held-out prompts: the behaviour has none that nothing was chosen by. The figures above are "
            "those of the choice, and too good on average."
        )
    if search.recipe is not None:
        print(f"The edit is saved: {search.recipe}")


def describe_search(options: argparse.Namespace) -> dict[str, Any]:
    search = run_search(options)
    result = search.result
    kept = _kept_by_arm(result)
    return {
        "model": describe_model(search.loaded),
        "contrast": describe_contrast(search.behavior.contrast),
        "behavior": describe_behavior(search.behavior, less_is_better=result.development.less_is_better),
        "floor": result.floor,
        "trials": options.trials,
        "edit": describe_optional(describe_trial, result.edit),
        "steering": describe_optional(describe_trial, result.steering),
        "keeps_floor": {arm: None if share is None else share.value >= result.floor for arm, share in kept.items()},
        "lead": describe_optional(describe_estimate, _measure_lead(result)),
        "held_out": describe_optional(describe_sweep, result.held_out),
        "finals": describe_optional(describe_sweep, result.finals),
        "development": describe_sweep(result.development),
        "recipe": None if search.edit is None or search.recipe is None else describe_recipe(search.recipe, search.edit),
        "answers": options.output,
    }


def _kept_by_arm(result: Found) -> dict[Arm, Estimate | None]:
    """Utility that each arm keeps on held-out prompts; None if it was not checked there."""
    checked = () if result.held_out is None else sweep_results(result.held_out)
    return {arm: next((r.kept for r in checked if r.trial.arm == arm), None) for arm in ARMS}


def _verdict(arm: str, kept: Estimate | None, floor: float) -> str:
    if kept is None:
        return f"No {arm} was checked on held-out prompts."
    verb = "keeps" if kept.value >= floor else "does not keep"
    return (
        f"On held-out prompts the {arm} {verb} the floor: {kept.value:.1%} of the utility "
        f"[{kept.low:.1%}, {kept.high:.1%}]."
    )


def _measure_lead(result: Found) -> Estimate | None:
    """Attribute of the edit minus that of steering on held-out prompts; None unless both were checked there."""
    run = result.held_out
    scores = {} if run is None else {o.trial.arm: per_prompt(run.questions, o, "attribute") for o in run.outcomes}
    return difference(scores["edit"], scores["steering"]) if scores.keys() >= set(ARMS) else None


COMMAND = Command(
        "find", "The best edit, and the best steering, that keep the utility; checked on held-out prompts.",
        add_find, show_search, describe=describe_search, fields=FIND_FIELDS,
    )  # fmt: skip
