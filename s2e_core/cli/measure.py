"""The commands that measure: sweep a grid, find a good edit, evaluate a few variants.

Knows options and the terminal; every computation is the core's public functions. A sweep or a search that is
interrupted keeps what was answered, and the same command resumes.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from s2e_core.errors import SettingsError
from s2e_core.export import load_edit, save_edit
from s2e_core.measure import (
    EVALUATION_COLUMNS,
    HOW,
    PAPER_ALPHA,
    PAPER_RHO_ATTN,
    PAPER_RHO_MLP,
    SWEEP_COLUMNS,
    Asker,
    Estimate,
    Found,
    Plan,
    RayWorkers,
    Result,
    SearchPlan,
    Sweep,
    Trial,
    ask_here,
    best_within,
    difference,
    edit_grid,
    edit_size,
    evaluate,
    evaluation_lines,
    evaluation_records,
    figure_text,
    find_edit,
    pareto_front,
    per_prompt,
    result_lines,
    result_record,
    settings_label,
    steering_grid,
    sweep,
    sweep_results,
)
from s2e_core.method import build_edit
from s2e_core.model import LoadedModel
from s2e_core.settings import EditSettings
from s2e_core.values import Edited, Extraction, Steered, SteeringDirections, Variant

from .arguments_measure import OFF, PAPER
from .terminal import check_place, check_there, chosen_behavior, chosen_model, extracted, output, progress_line


def sweep_grid(options: argparse.Namespace) -> None:
    """Many settings and steering strengths on the same prompts: a table with the Pareto front, or CSV."""
    _check_csv(options.csv)
    behavior, loaded = chosen_behavior(options), chosen_model(options)
    extraction = extracted(loaded, behavior.contrast)
    trials = (*_edits(options, behavior.settings), *_steering(options.gamma))
    if not trials:
        raise SettingsError("There is nothing to try: heads, neurons and steering are all off. Switch one of them on.")
    plan = Plan(
        behavior, options.split, options.prompts, options.prompts, options.samples, options.temperature, options.seed,
        options.max_new_tokens,
    )  # fmt: skip
    with _resumable(options.output), _asker(options, loaded) as asker, progress_line("answers") as progress:
        made = sweep(loaded, extraction, plan, trials, path=options.output, asker=asker, progress=progress)
    _show_sweep(options, made, extraction)


def _edits(options: argparse.Namespace, suggested: EditSettings) -> tuple[Trial, ...]:
    """The grid of all that was given; a dial that was not takes the suggested value, or the paper's."""
    paper = options.preset == PAPER
    rho_attn = options.rho_attn or (PAPER_RHO_ATTN if paper else (suggested.rho_attn,))
    rho_mlp = options.rho_mlp or (PAPER_RHO_MLP if paper else (suggested.rho_mlp,))
    alpha = options.alpha or (PAPER_ALPHA if paper else (suggested.alpha,))
    strength = options.strength or ((1.0,) if paper else (suggested.strength,))
    return edit_grid([_rho(r) for r in rho_attn], [_rho(r) for r in rho_mlp], alpha, strength)


def _rho(value: float | str | None) -> float | None:
    return None if value is None or value == OFF else float(value)


def _steering(gammas: str | Sequence[float] | None) -> tuple[Trial, ...]:
    if gammas is None or gammas == OFF:
        return ()
    return steering_grid() if gammas == PAPER else steering_grid([float(gamma) for gamma in gammas])


def _show_sweep(options: argparse.Namespace, made: Sweep, extraction: Extraction) -> None:
    measured = sweep_results(made)
    front = pareto_front(measured, less_is_better=made.less_is_better)
    best = {
        arm: best_within(measured, arm, options.floor, less_is_better=made.less_is_better)
        for arm in ("edit", "steering")
    }
    if options.csv is not None:
        with output(options.csv) as file:
            writer = csv.DictWriter(file, SWEEP_COLUMNS, lineterminator="\n")
            writer.writeheader()
            for n, result in enumerate(measured):
                marks = {"pareto_front": int(n in front), "recommended": int(n in best.values())}
                writer.writerow(result_record(result, made.split, edit_size(extraction, result.trial), marks))
        return
    order = sorted(range(len(measured)), key=lambda n: -measured[n].kept.value)
    print("\n".join(result_lines(measured, front, order)))
    print(f"\n* on the Pareto front. Attribute: {_attribute(made)}; 95 % intervals over {_asked(made)}.")
    for arm, place in best.items():
        said = "none" if place is None else measured[place].trial.label
        print(f"best {arm} that keeps {options.floor:.0%} of the utility: {said}")
    print("The best of many is partly lucky: `find` chooses more carefully and checks on held-out prompts.")


def find(options: argparse.Namespace) -> None:
    """The best edit, and the best steering, that keep the utility; checked on held-out prompts."""
    check_place(options.recipe)
    behavior, loaded = chosen_behavior(options), chosen_model(options)
    plan = SearchPlan(
        behavior, floor=options.floor, n_trials=options.trials, prompts=options.prompts, samples=options.samples,
        temperature=options.temperature, seed=options.seed, max_new_tokens=options.max_new_tokens,
    )  # fmt: skip
    extraction = extracted(loaded, behavior.contrast)
    with _resumable(options.output), _asker(options, loaded) as asker, progress_line("answers") as progress:
        found = find_edit(loaded, extraction, plan, path=options.output, asker=asker, progress=progress)
    _show_found(found)
    if options.recipe and found.edit is not None and found.edit.settings is not None:
        path = save_edit(build_edit(extraction, found.edit.settings), options.recipe)
        print(f"The edit is saved: {path}")


def _show_found(found: Found) -> None:
    for title, made in (
        ("Finalists, on the whole development split", found.finals),
        ("What was chosen, on held-out prompts that nothing was chosen by", found.held_out),
    ):
        if made is not None:
            print(f"{title} ({_asked(made)}, {made.samples} answers each)")
            print("\n".join(result_lines(sweep_results(made))), end="\n\n")
    for arm, trial in (("edit", found.edit), ("steering", found.steering)):
        said = "none does" if trial is None else trial.label
        print(f"Best {arm} that keeps {found.floor:.0%} of the utility: {said}")
    print(f"Attribute: {_attribute(found.development)}; 95 % intervals over the prompts.")
    if found.held_out is not None:
        measured = {result.trial.arm: result for result in sweep_results(found.held_out)}
        print("\n".join(_verdict(arm, measured.get(arm), found.floor) for arm in ("edit", "steering")))
        if {"edit", "steering"} <= set(measured):
            print(f"The edit's attribute minus steering's, prompt by prompt: {figure_text(_lead(found.held_out))}.")
    elif found.edit or found.steering:
        print(
            "Not checked on held-out prompts: the behaviour has none that nothing was chosen by. The figures above are "
            "those of the choice, and too good on average."
        )


def _verdict(arm: str, result: Result | None, floor: float) -> str:
    if result is None:
        return f"No {arm} was checked on held-out prompts."
    holds = "keeps" if result.kept.value >= floor else "does not keep"
    kept = result.kept
    return (
        f"On held-out prompts the {arm} {holds} the floor: {kept.value:.1%} of the utility "
        f"[{kept.low:.1%}, {kept.high:.1%}]."
    )


def _lead(held_out: Sweep) -> Estimate:
    gains = {o.trial.arm: per_prompt(held_out.questions, o, "attribute") for o in held_out.outcomes}
    return difference(gains["edit"], gains["steering"])


def _attribute(made: Sweep) -> str:
    return "mean tokens, less is better" if made.less_is_better else "mean score, more is better"


def _asked(made: Sweep) -> str:
    prompts = {side: len({q.prompt for q in made.questions if q.side == side}) for side in ("attribute", "utility")}
    return f"{prompts['attribute']} attribute and {prompts['utility']} utility prompts"


def evaluate_variants(options: argparse.Namespace) -> None:
    """All figures of saved edits, settings and steering strengths beside the untouched model's, on held-out prompts."""
    check_there(*options.recipe)
    _check_csv(options.csv)
    behavior, loaded = chosen_behavior(options), chosen_model(options)
    labels, variants = [], []
    for label, variant in _variants(options, loaded):
        labels.append(label)
        variants.append(variant)
    with progress_line("answers and texts") as progress:
        plan = Plan(
            behavior, options.split, options.prompts, options.prompts, options.samples, options.temperature,
            options.seed, options.max_new_tokens,
        )  # fmt: skip
        evaluations = evaluate(loaded, plan, variants, labels=labels, progress=progress)
    if options.csv is not None:
        with output(options.csv) as file:
            csv.writer(file, lineterminator="\n").writerows([EVALUATION_COLUMNS, *evaluation_records(evaluations)])
        return
    print("\n".join(evaluation_lines(evaluations)), end="\n\n")
    shown = {name for evaluation in evaluations for name in evaluation.figures()}
    print("\n".join(f"{name}: {how}" for name, how in HOW.items() if name in shown))
    print(
        "In brackets stand 95 % intervals over the prompts: Wilson for shares, else the bootstrap, for changes of "
        "scores and for what is kept no narrower than with one prompt lost or gained."
    )


def _variants(options: argparse.Namespace, loaded: LoadedModel) -> Iterator[tuple[str, Variant]]:
    """What was named; with nothing named the behaviour's suggested settings and steering strength."""
    for path in options.recipe:
        yield path.name, Edited(load_edit(path, base=loaded))
    behavior = chosen_behavior(options)
    bare = not options.recipe and not options.settings and options.gamma is None
    settings = ["suggested"] if bare else options.settings
    steering = steering_grid([behavior.gamma]) if bare else _steering(options.gamma)
    if settings or steering:
        extraction = extracted(loaded, behavior.contrast)
        for given in settings:
            dials = behavior.settings if given == "suggested" else _dials(given)
            yield settings_label(dials), Edited(build_edit(extraction, dials))
        for trial in steering:
            yield trial.label, _steered(extraction.directions, trial)


def _dials(given: Sequence[float | str]) -> EditSettings:
    attn, mlp, alpha, *strength = given
    return EditSettings(_rho(attn), _rho(mlp), float(alpha), strength=float(strength[0]) if strength else 1.0)


def _steered(directions: SteeringDirections, trial: Trial) -> Steered:
    return Steered(directions, trial.gamma or 0.0)


def _check_csv(path: str | None) -> None:
    if path is not None and path != "-":
        check_place(Path(path))


def _asker(options: argparse.Namespace, loaded: LoadedModel) -> AbstractContextManager[Asker]:
    """This process, or the workers of the ray cluster that --ray names."""
    if options.ray is None:
        return nullcontext(ask_here)
    return RayWorkers(loaded, n_workers=options.workers, address=options.ray or None)


@contextmanager
def _resumable(path: Path | None) -> Iterator[None]:
    """Says how to go on where Ctrl+C ends the work."""
    try:
        yield
    except KeyboardInterrupt:
        if path is not None:
            print(f"What was answered is kept in {path}; the same command resumes.", file=sys.stderr)
        raise
