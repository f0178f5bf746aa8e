"""The headline by likelihood: the best edit against the best steering at one bound of KL, on held-out examples.

Knows searches by likelihood and Markdown. Answers of a small model say little about a share of utility; the likelihood
of given responses and the divergence on harmless texts need no sampled answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from s2e_core import Behavior, extract
from s2e_core.data import behavior_gate_texts
from s2e_core.measure import Estimate, LikelihoodFound, Screened, find_by_likelihood, search_budget, split_fifths
from s2e_core.model import LoadedModel

from .headline_sections import markdown_table

COLUMNS = ("behaviour", "pairs", "steering", "its KL", "best edit", "its KL", "lead of the edit")


def run_likelihood(loaded: LoadedModel, behavior: Behavior) -> LikelihoodFound:
    """Three fifths of the examples make the edit, one fifth chooses it under the bound, and the last one reports."""
    texts, examples, budget = behavior_gate_texts(behavior), split_fifths(behavior.contrast), search_budget(loaded)
    extraction = extract(loaded, examples.fit, texts=texts)
    found = find_by_likelihood(
        loaded, extraction, examples, texts.probes, n_trials=budget.n_trials, shortlist=budget.shortlist
    )
    print(f"{behavior.name}, by likelihood: {_lead(found)}", flush=True)
    return found


def likelihood_section(runs: Sequence[tuple[Behavior, LikelihoodFound]]) -> list[str]:
    """The table with a sentence before it."""
    bound = runs[0][1].bound
    return [
        "**At equal divergence.** Rise of the margin between wanted and unwanted responses, in nats a token, on "
        f"examples that nothing was made from or chosen by; both arms under a KL of {bound:g} nats a token from the "
        "untouched model on harmless texts, each with the largest margin there. A lead is the difference pair by pair.",
        "",
        *markdown_table(COLUMNS, [_row(behavior, found) for behavior, found in runs]),
        "",
    ]


def describe_likelihood_runs(runs: Sequence[tuple[Behavior, LikelihoodFound]]) -> dict[str, Any]:
    """The figures as values that `json` can write."""
    return {
        behavior.name: {
            "bound": found.bound,
            "lead": None if found.lead is None else _figure(found.lead),
            **{
                arm: None
                if each is None
                else {
                    "trial": each.trial.label,
                    "margin": _figure(each.figures.margin),
                    "wanted": _figure(each.figures.wanted),
                    "kl": _figure(each.figures.kl),
                }
                for arm, each in (("steering", found.steering), ("edit", found.edit))
            },
        }
        for behavior, found in runs
    }


def _row(behavior: Behavior, found: LikelihoodFound) -> tuple[str, ...]:
    pairs = next((each.figures.margin.count for each in (found.edit, found.steering) if each is not None), 0)
    return (
        behavior.title, str(pairs), *_cells(found.steering), *_cells(found.edit), _lead(found),
    )  # fmt: skip


def _cells(each: Screened | None) -> tuple[str, str]:
    if each is None:
        return "none raises the margin", "–"
    family = "" if each.trial.settings is None else f"{each.trial.settings.family}: "
    return f"{_interval(each.figures.margin)}; {family}{each.trial.label}", f"{each.figures.kl.value:.3f}"


def _lead(found: LikelihoodFound) -> str:
    return "–" if found.lead is None else _interval(found.lead)


def _interval(figure: Estimate) -> str:
    return f"{figure.value:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]"


def _figure(figure: Estimate) -> dict[str, float]:
    return {"value": figure.value, "low": figure.low, "high": figure.high, "count": figure.count}
