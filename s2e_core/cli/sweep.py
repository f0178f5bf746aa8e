"""The command `sweep`: many settings and steering strengths on the same prompts.

Knows options, the terminal and the JSON object; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_core.data import Behavior
from s2e_core.errors import SettingsError
from s2e_core.measure import (
    PAPER_ALPHA,
    PAPER_RHO_ATTN,
    PAPER_RHO_MLP,
    SWEEP_COLUMNS,
    Arm,
    Result,
    Sweep,
    Trial,
    best_within,
    count_edited,
    edit_grid,
    format_results,
    pareto_front,
    result_to_row,
    sweep,
    sweep_results,
)
from s2e_core.model import LoadedModel
from s2e_core.settings import EditSettings

from .arguments import (
    PAPER,
    add_behavior,
    add_extraction,
    add_floor,
    add_questions,
    add_ray,
    parse_gammas,
    parse_numbers,
    parse_rhos,
)
from .command import Command
from .dials import UNTUNED
from .json_output import (
    BEHAVIOR,
    CONTRAST,
    MODEL,
    SWEEP,
    Fields,
    describe_behavior,
    describe_contrast,
    describe_model,
    describe_sweep,
)
from .measuring import (
    ARMS,
    attribute_unit,
    check_workers,
    choose_asker,
    count_prompts,
    read_plan,
    say_how_to_resume,
    to_rho,
    to_steering_trials,
)
from .terminal import (
    ProgressLine,
    check_formats,
    extract_chosen,
    load_chosen_behavior,
    load_chosen_model,
    open_output,
)

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
    add_extraction(sub)
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
    check_workers(options)
    check_formats(options)
    behavior, loaded = load_chosen_behavior(options), load_chosen_model(options)
    extraction = extract_chosen(options, loaded, behavior.contrast)
    trials = (*_edit_trials(options, behavior.settings or UNTUNED), *to_steering_trials(options.gamma))
    if not trials:
        raise SettingsError("There is nothing to try: heads, neurons and steering are all off. Switch one of them on.")
    plan = read_plan(options, behavior)
    with say_how_to_resume(options.output), choose_asker(options, loaded) as asker:
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
    return edit_grid([to_rho(r) for r in rho_attn], [to_rho(r) for r in rho_mlp], alpha, strength)


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
    print("\n".join(format_results(results, report.front, order, less_is_better=report.sweep.less_is_better)))
    print(
        f"\n* on the Pareto front. Attribute: {attribute_unit(report.sweep)}; 95 % intervals over "
        f"{count_prompts(report.sweep)}."
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


COMMAND = Command(
        "sweep", "Many settings and steering strengths on the same prompts: a table with the Pareto front, or CSV.",
        add_sweep, show_sweep, describe=describe_sweep_report, fields=SWEEP_FIELDS,
    )  # fmt: skip
