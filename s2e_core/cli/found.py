"""What `find` says of a search on a behaviour's prompts: the run-off, the choice, and its check on held-out prompts.

Knows the terminal and the JSON object; every figure is the core's.
"""

from __future__ import annotations

from typing import Any

from s2e_core.data import Behavior
from s2e_core.measure import (
    WHY_KL,
    Arm,
    Estimate,
    Found,
    Result,
    bar,
    by_utility,
    difference,
    format_figure,
    format_results,
    format_share,
    keeps,
    per_prompt,
    sweep_results,
)
from s2e_core.text import counted

from .json_output import describe_behavior, describe_estimate, describe_optional, describe_sweep
from .measuring import ARMS, attribute_unit, count_prompts

RULE = "Chosen: {most} in the run-off among those that keep the floor by one standard error."
KL_RULE = "Chosen: {most} in the run-off among those within that bound."


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
        print(f"Best {arm} that {_bar(result)}: {label}")
    print(_rule(result))
    print(f"Attribute: {attribute_unit(result.development)}; 95 % intervals over the prompts.")
    if result.held_out is not None:
        print("\n".join(_verdict(arm, checked, result.floor) for arm, checked in _checked_by_arm(result).items()))
        lead = _measure_lead(result)
        if lead is not None:
            format_lead = format_figure if less_is_better else format_share
            print(f"The edit's attribute minus steering's, prompt by prompt: {format_lead(lead)}.")
    elif result.edit or result.steering:
        print(
            "Not checked on held-out prompts: the behaviour has none that nothing was chosen by. The figures above are "
            "those of the choice, and too good on average."
        )


def _chosen_by(result: Found) -> tuple[Result, ...]:
    return sweep_results(result.development if result.finals is None else result.finals)


def _bar(result: Found) -> str:
    return bar(_chosen_by(result), result.floor)


def _rule(result: Found) -> str:
    most = "the fewest tokens" if result.development.less_is_better else "the most attribute"
    if all(by_utility(one) for one in _chosen_by(result)):
        return RULE.format(most=most)
    return f"{WHY_KL} {KL_RULE.format(most=most)}"


def describe_found(result: Found, behavior: Behavior) -> dict[str, Any]:
    checked = _checked_by_arm(result)
    return {
        "behavior": describe_behavior(behavior, less_is_better=result.development.less_is_better),
        "floor": result.floor,
        "keeps_floor": {arm: None if one is None else keeps(one, result.floor) for arm, one in checked.items()},
        "lead": describe_optional(describe_estimate, _measure_lead(result)),
        "held_out": describe_optional(describe_sweep, result.held_out),
        "finals": describe_optional(describe_sweep, result.finals),
        "development": describe_sweep(result.development),
    }


def _checked_by_arm(result: Found) -> dict[Arm, Result | None]:
    """Figures of each arm on held-out prompts; None if it was not checked there."""
    checked = () if result.held_out is None else sweep_results(result.held_out)
    return {arm: next((r for r in checked if r.trial.arm == arm), None) for arm in ARMS}


def _verdict(arm: str, checked: Result | None, floor: float) -> str:
    if checked is None:
        return f"No {arm} was checked on held-out prompts."
    if checked.kl is None or by_utility(checked):
        verb = "keeps" if keeps(checked, floor) else "does not keep"
        share = checked.kept
        return (
            f"On held-out prompts the {arm} {verb} the floor: {share.value:.1%} of the utility "
            f"[{share.low:.1%}, {share.high:.1%}]."
        )
    return (
        f"On held-out prompts the share of utility of the {arm} is {format_share(checked.kept)}; its KL is "
        f"{format_figure(checked.kl)}."
    )


def _measure_lead(result: Found) -> Estimate | None:
    """Attribute of the edit minus that of steering on held-out prompts; None unless both were checked there."""
    run = result.held_out
    scores = {} if run is None else {o.trial.arm: per_prompt(run.questions, o, "attribute") for o in run.outcomes}
    return difference(scores["edit"], scores["steering"]) if scores.keys() >= set(ARMS) else None
