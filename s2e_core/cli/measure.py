"""The commands that measure: sweep a grid, find a good edit, evaluate a few variants.

Knows options, the terminal and the JSON objects; every computation is a function of the core. A sweep or a search that
is interrupted keeps its answers, and the same command resumes it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_core.data import Behavior
from s2e_core.errors import SettingsError
from s2e_core.export import load_edit, save_edit
from s2e_core.measure import (
    EVALUATION_COLUMNS,
    HOW,
    PAPER_ALPHA,
    PAPER_RHO_ATTN,
    PAPER_RHO_MLP,
    SWEEP_COLUMNS,
    Arm,
    Asker,
    Estimate,
    Evaluation,
    Found,
    Plan,
    RayWorkers,
    Result,
    SearchPlan,
    Sweep,
    Trial,
    ask_here,
    best_within,
    count_edited,
    difference,
    edit_grid,
    evaluate,
    evaluations_to_rows,
    find_edit,
    format_evaluations,
    format_figure,
    format_results,
    pareto_front,
    per_prompt,
    result_to_row,
    settings_label,
    steering_grid,
    sweep,
    sweep_results,
)
from s2e_core.method import build_edit
from s2e_core.model import LoadedModel
from s2e_core.settings import EditSettings
from s2e_core.values import Edited, Steered, Variant, WeightEdit

from .arguments import (
    OFF,
    PAPER,
    add_behavior,
    add_floor,
    add_questions,
    add_ray,
    add_sampling,
    parse_count,
    parse_gammas,
    parse_numbers,
    parse_positive,
    parse_rhos,
    parse_settings,
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
from .terminal import (
    ProgressLine,
    check_exists,
    check_formats,
    check_writable,
    extract_chosen,
    load_chosen_behavior,
    load_chosen_model,
    open_output,
)

ARMS: tuple[Arm, ...] = ("edit", "steering")

# ---- sweep ----------------------------------------------------------------------------------------------------------

SWEEP_FIELDS: Fields = {
    "model": ("The model.", MODEL),
    "contrast": ("Contrast set of the edits and of the steering direction.", CONTRAST),
    "behavior": ("The behaviour that was measured.", BEHAVIOR),
    "floor": "Share of the untouched model's utility to keep.",
    "sweep": ("What was asked, and the figures of every trial.", SWEEP),
    "sizes": (
        "Size of every trial's edit, in the order of the results.",
        [{"heads": "Number of edited heads; null for other arms.", "neurons": "Number of edited neurons, likewise."}],
    ),
    "pareto_front": "Indices in the results of the trials on the Pareto front of attribute and utility.",
    "best_edit": "Index in the results of the best edit that keeps the floor; null if none does.",
    "best_steering": "Index in the results of the best steering strength that keeps the floor; null if none does.",
    "answers": "File of the answers, as given; null without -o.",
}


def add_sweep(sub: argparse.ArgumentParser) -> None:
    add_behavior(sub)
    sub.add_argument(
        "--preset",
        choices=("suggested", PAPER),
        default="suggested",
        help="dials that are not given: the behaviour's suggested ones (default), or the paper's grid of 125 settings",
    )
    sub.add_argument(
        "--rho-attn", type=parse_rhos, metavar="RHO,...", help="budgets of the heads, each a number or off"
    )
    sub.add_argument(
        "--rho-mlp", type=parse_rhos, metavar="RHO,...", help="budgets of the neurons, each a number or off"
    )
    sub.add_argument("--alpha", type=parse_numbers, metavar="ALPHA,...")
    sub.add_argument("--strength", type=parse_numbers, metavar="X,...")
    sub.add_argument(
        "--gamma",
        type=parse_gammas,
        default=PAPER,
        metavar="GAMMA,...",
        help="steering strengths to compare with; paper (default) is 0.1 to 1.5 in 15 steps, off is none",
    )
    add_questions(sub, split="development", prompts=60)
    add_floor(sub)
    add_ray(sub)
    sub.add_argument(
        "-o", "--output", type=Path, metavar="FILE.jsonl", help="keeps every answer; the same command resumes it"
    )
    sub.add_argument("--csv", metavar="FILE", help="write the figures as CSV instead of the table; - is the terminal")


@dataclass(frozen=True, eq=False)
class _SweepReport:
    """A sweep with what is concluded from it."""

    loaded: LoadedModel
    behavior: Behavior
    sweep: Sweep
    results: tuple[Result, ...]
    sizes: tuple[tuple[int, int] | None, ...]
    """Heads and neurons of each trial's edit; None for the other arms."""
    front: tuple[int, ...]
    """Indices of the results on the Pareto front."""
    best: dict[Arm, int | None]
    """Index of the best result that keeps the floor, by arm."""


def run_sweep(options: argparse.Namespace) -> _SweepReport:
    """Many settings and steering strengths on the same prompts."""
    _check_workers(options)
    check_formats(options)
    behavior, loaded = load_chosen_behavior(options), load_chosen_model(options)
    extraction = extract_chosen(loaded, behavior.contrast)
    trials = (*_edit_trials(options, behavior.settings), *_steering_trials(options.gamma))
    if not trials:
        raise SettingsError("There is nothing to try: heads, neurons and steering are all off. Switch one of them on.")
    plan = _read_plan(options, behavior)
    with _say_how_to_resume(options.output), _choose_asker(options, loaded) as asker:
        with ProgressLine("answers") as progress:
            run = sweep(loaded, extraction, plan, trials, path=options.output, asker=asker, progress=progress)
    results, less = sweep_results(run), run.less_is_better
    return _SweepReport(
        loaded=loaded,
        behavior=behavior,
        sweep=run,
        results=results,
        sizes=tuple(count_edited(extraction, result.trial) for result in results),
        front=tuple(pareto_front(results, less_is_better=less)),
        best={arm: best_within(results, arm, options.floor, less_is_better=less) for arm in ARMS},
    )


def _edit_trials(options: argparse.Namespace, suggested: EditSettings) -> tuple[Trial, ...]:
    """The grid of the dials that were given; the others take the suggested value, or the paper's."""
    paper = options.preset == PAPER
    rho_attn = options.rho_attn or (PAPER_RHO_ATTN if paper else (suggested.rho_attn,))
    rho_mlp = options.rho_mlp or (PAPER_RHO_MLP if paper else (suggested.rho_mlp,))
    alpha = options.alpha or (PAPER_ALPHA if paper else (suggested.alpha,))
    strength = options.strength or ((1.0,) if paper else (suggested.strength,))
    return edit_grid([_to_rho(r) for r in rho_attn], [_to_rho(r) for r in rho_mlp], alpha, strength)


def _to_rho(value: float | str | None) -> float | None:
    return None if value is None or value == OFF else float(value)


def _steering_trials(gammas: str | Sequence[float] | None) -> tuple[Trial, ...]:
    if gammas is None or gammas == OFF:
        return ()
    return steering_grid() if gammas == PAPER else steering_grid([float(gamma) for gamma in gammas])


def show_sweep(options: argparse.Namespace) -> None:
    report = run_sweep(options)
    results, best = report.results, report.best
    if options.csv is not None:
        with open_output(options.csv) as file:
            writer = csv.DictWriter(file, SWEEP_COLUMNS, lineterminator="\n")
            writer.writeheader()
            for n, (result, size) in enumerate(zip(results, report.sizes, strict=True)):
                marks = {"pareto_front": int(n in report.front), "recommended": int(n in best.values())}
                writer.writerow(result_to_row(result, report.sweep.split, size, marks))
        return
    order = sorted(range(len(results)), key=lambda n: -results[n].kept.value)
    print("\n".join(format_results(results, report.front, order)))
    print(
        f"\n* on the Pareto front. Attribute: {_attribute_unit(report.sweep)}; 95 % intervals over "
        f"{_count_prompts(report.sweep)}."
    )
    for arm, index in best.items():
        label = "none" if index is None else results[index].trial.label
        print(f"best {arm} that keeps {options.floor:.0%} of the utility: {label}")
    print("The best of many is partly lucky: `find` chooses more carefully and checks on held-out prompts.")


def describe_sweep_report(options: argparse.Namespace) -> dict[str, Any]:
    report = run_sweep(options)
    return {
        "model": describe_model(report.loaded),
        "contrast": describe_contrast(report.behavior.contrast),
        "behavior": describe_behavior(report.behavior, less_is_better=report.sweep.less_is_better),
        "floor": options.floor,
        "sweep": describe_sweep(report.sweep),
        "sizes": [dict(zip(("heads", "neurons"), size or (None, None), strict=True)) for size in report.sizes],
        "pareto_front": report.front,
        **{f"best_{arm}": index for arm, index in report.best.items()},
        "answers": options.output,
    }


# ---- find -----------------------------------------------------------------------------------------------------------

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
    _check_workers(options)
    check_writable(options.recipe)
    behavior, loaded = load_chosen_behavior(options), load_chosen_model(options)
    plan = SearchPlan(
        behavior, floor=options.floor, n_trials=options.trials, prompts=options.prompts, samples=options.samples,
        temperature=options.temperature, seed=options.seed, max_new_tokens=options.max_new_tokens,
    )  # fmt: skip
    extraction = extract_chosen(loaded, behavior.contrast)
    with _say_how_to_resume(options.output), _choose_asker(options, loaded) as asker:
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
            print(f"{title} ({_count_prompts(run)}, {run.samples} answers each)")
            print("\n".join(format_results(sweep_results(run))), end="\n\n")
    for arm, trial in (("edit", result.edit), ("steering", result.steering)):
        label = "none does" if trial is None else trial.label
        print(f"Best {arm} that keeps {result.floor:.0%} of the utility: {label}")
    print(f"Attribute: {_attribute_unit(result.development)}; 95 % intervals over the prompts.")
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


# ---- evaluate -------------------------------------------------------------------------------------------------------

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
    sub.add_argument(
        "--recipe", type=Path, action="append", default=[], help="a saved edit; may be given several times"
    )
    sub.add_argument(
        "--settings",
        type=parse_settings,
        action="append",
        default=[],
        metavar="RHO_ATTN,RHO_MLP,ALPHA[,STRENGTH]",
        help='an edit by its dials, such as off,0.45,0.4,0.5, or "suggested"; may be given several times',
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
    plan = _read_plan(options, behavior)
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
    steering = steering_grid([behavior.gamma]) if bare else _steering_trials(options.gamma)
    if settings or steering:
        extraction = extract_chosen(loaded, behavior.contrast)
        for dials in settings:
            chosen = behavior.settings if dials == "suggested" else _to_settings(dials)
            yield settings_label(chosen), Edited(build_edit(extraction, chosen))
        for trial in steering:
            yield trial.label, Steered(extraction.directions, trial.gamma or 0.0)


def _to_settings(dials: Sequence[float | str]) -> EditSettings:
    attn, mlp, alpha, *strength = dials
    return EditSettings(_to_rho(attn), _to_rho(mlp), float(alpha), strength=float(strength[0]) if strength else 1.0)


# ---- shared ---------------------------------------------------------------------------------------------------------


def _read_plan(options: argparse.Namespace, behavior: Behavior) -> Plan:
    return Plan(
        behavior, options.split, options.prompts, options.prompts, options.samples, options.temperature, options.seed,
        options.max_new_tokens,
    )  # fmt: skip


def _check_workers(options: argparse.Namespace) -> None:
    if options.workers is not None and options.ray is None:
        raise SettingsError("--workers is for --ray. Give --ray too, with the address of a cluster or without one.")


@contextmanager
def _choose_asker(options: argparse.Namespace, loaded: LoadedModel) -> Iterator[Asker]:
    """This process, or with --ray the workers of a cluster."""
    if options.ray is None:
        yield ask_here
        return
    with RayWorkers(loaded, n_workers=options.workers or 2, address=options.ray or None) as workers:
        yield workers


def _attribute_unit(run: Sweep) -> str:
    return "mean tokens, less is better" if run.less_is_better else "mean score, more is better"


def _count_prompts(run: Sweep) -> str:
    counts = {side: len({q.prompt for q in run.questions if q.side == side}) for side in ("attribute", "utility")}
    return f"{counts['attribute']} attribute and {counts['utility']} utility prompts"


@contextmanager
def _say_how_to_resume(path: Path | None) -> Iterator[None]:
    """Says how to resume if Ctrl+C ends the work."""
    try:
        yield
    except KeyboardInterrupt:
        if path is not None:
            print(f"The answers so far are kept in {path}; the same command resumes.", file=sys.stderr)
        raise


COMMANDS = (
    Command(
        "sweep", "Many settings and steering strengths on the same prompts: a table with the Pareto front, or CSV.",
        add_sweep, show_sweep, describe=describe_sweep_report, fields=SWEEP_FIELDS,
    ),
    Command(
        "find", "The best edit, and the best steering, that keep the utility; checked on held-out prompts.",
        add_find, show_search, describe=describe_search, fields=FIND_FIELDS,
    ),
    Command(
        "evaluate",
        "All figures of saved edits, settings and steering strengths beside the untouched model's, on held-out "
        "prompts.",
        add_evaluate, show_evaluation, describe=describe_evaluation, fields=EVALUATE_FIELDS,
    ),
)  # fmt: skip
