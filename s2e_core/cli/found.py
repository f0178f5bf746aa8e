"""What `find` says of a search on a behaviour's prompts: the run-off, the choice, and its check on held-out prompts.

Knows the terminal and the JSON object; every figure is the core's.
"""

from __future__ import annotations

from typing import Any

from s2e_core.data import Behavior
from s2e_core.measure import (
    Arm,
    Estimate,
    Found,
    difference,
    format_figure,
    format_results,
    format_share,
    per_prompt,
    sweep_results,
)
from s2e_core.text import counted

from .json_output import describe_behavior, describe_estimate, describe_optional, describe_sweep
from .measuring import ARMS, attribute_unit, count_prompts

RULE = "Chosen: the most attribute in the run-off among those that keep the floor by one standard error."
LESS_RULE = "Chosen: the fewest tokens in the run-off among those that keep the floor by one standard error."


def show_found(result: Found) -> None:
    less_is_better = result.development.less_is_better
    for title, run in (
        ("Run-off, on the whole development split", result.finals),
        ("The choice, on held-out prompts that nothing was chosen by", result.held_out),
    ):
        if run is not None:
            print(f"{title} ({count_prompts(run)}, {counted(run.samples, 'answer')} each)")
            print("\n".join(format_results(sweep_results(run), less_is_better=less_is_better)), end="\n\n")
    for arm, trial in (("edit", result.edit), ("steering", result.steering)):
        label = "none does" if trial is None else trial.label
        print(f"Best {arm} that keeps {result.floor:.0%} of the utility: {label}")
    print(LESS_RULE if less_is_better else RULE)
    print(f"Attribute: {attribute_unit(result.development)}; 95 % intervals over the prompts.")
    if result.held_out is not None:
        print("\n".join(_verdict(arm, kept, result.floor) for arm, kept in _kept_by_arm(result).items()))
        lead = _measure_lead(result)
        if lead is not None:
            format_lead = format_figure if less_is_better else format_share
            print(f"The edit's attribute minus steering's, prompt by prompt: {format_lead(lead)}.")
    elif result.edit or result.steering:
        print(
            "Not checked on held-out prompts: the behaviour has none that nothing was chosen by. The figures above are "
            "those of the choice, and too good on average."
        )


def describe_found(result: Found, behavior: Behavior) -> dict[str, Any]:
    kept = _kept_by_arm(result)
    return {
        "behavior": describe_behavior(behavior, less_is_better=result.development.less_is_better),
        "floor": result.floor,
        "keeps_floor": {arm: None if share is None else share.value >= result.floor for arm, share in kept.items()},
        "lead": describe_optional(describe_estimate, _measure_lead(result)),
        "held_out": describe_optional(describe_sweep, result.held_out),
        "finals": describe_optional(describe_sweep, result.finals),
        "development": describe_sweep(result.development),
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
