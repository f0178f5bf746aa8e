"""The headline by likelihood: the best edit against the best steering at one bound of KL, on held-out examples.

Knows searches by likelihood and Markdown. Answers of a small model say little about a share of utility; the likelihood
of given responses and the divergence on harmless texts need no sampled answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from s2e_core import Behavior, extract
from s2e_core.data import behavior_gate_texts
from s2e_core.measure import (
    Estimate,
    LikelihoodFound,
    Screened,
    difference,
    find_by_likelihood,
    mean,
    search_budget,
    split_fifths,
)
from s2e_core.model import LoadedModel

from .headline_sections import markdown_table

COLUMNS = ("behaviour", "pairs", "steering", "its KL", "edit", "its KL", "lead of the edit")
Arm = Literal["edit", "steering"]
N_TURNS = 5
"""As many as there are parts of the examples."""


@dataclass(frozen=True, eq=False)
class Turns:
    """Searches of one behaviour between which the parts of the examples change places: each pair is reported once."""

    behavior: Behavior
    found: tuple[LikelihoodFound, ...]

    def chosen(self, arm: Arm) -> list[Screened]:
        """What was chosen, in the turns in which something under the bound raised the margin."""
        return [one for found in self.found if (one := _arms(found)[arm]) is not None]

    def margins(self, arm: Arm) -> list[float]:
        """Rise of the margin of every pair, nats a token; 0 in a turn in which nothing was chosen."""
        margins: list[float] = []
        for found in self.found:
            one = _arms(found)[arm]
            margins += [0.0] * found.pairs if one is None else one.figures.margins
        return margins

    @property
    def lead(self) -> Estimate:
        """Margin of the edit minus that of steering, pair by pair."""
        return difference(self.margins("edit"), self.margins("steering"))


def _arms(found: LikelihoodFound) -> dict[Arm, Screened | None]:
    return {"steering": found.steering, "edit": found.edit}


def run_likelihood(loaded: LoadedModel, behavior: Behavior, turns: Sequence[int] = range(N_TURNS)) -> Turns:
    """In each turn three fifths of the examples make the edit, one chooses it under the bound, and one reports."""
    run = Turns(behavior, tuple(_turn(loaded, behavior, turn) for turn in turns))
    print(f"{behavior.name}, by likelihood: {_interval(run.lead)}", flush=True)
    return run


def _turn(loaded: LoadedModel, behavior: Behavior, turn: int) -> LikelihoodFound:
    texts, budget = behavior_gate_texts(behavior), search_budget(loaded)
    examples = split_fifths(behavior.contrast, turn)
    extraction = extract(loaded, examples.fit, texts=texts)
    return find_by_likelihood(
        loaded, extraction, examples, texts.probes, n_trials=budget.n_trials, shortlist=budget.shortlist
    )


def likelihood_section(runs: Sequence[Turns]) -> list[str]:
    """The table with a sentence before it."""
    bound = runs[0].found[0].bound
    return [
        "**At equal divergence.** Rise of the margin between wanted and unwanted responses, in nats a token; both arms "
        f"under a KL of {bound:g} nats a token from the untouched model on harmless texts, each with the largest "
        f"margin there. In {N_TURNS} turns three fifths of the examples make the vector and the edit, one chooses and "
        "one reports, so that every pair is reported once, by what was neither made from it nor chosen by it. A lead "
        "is the difference pair by pair. Where nothing under the bound raises the margin of the choice, the model "
        "stays untouched and its margin 0.",
        "",
        *markdown_table(COLUMNS, [_row(run) for run in runs]),
        "",
    ]


def describe_likelihood_runs(runs: Sequence[Turns]) -> dict[str, Any]:
    """The figures as values that `json` can write."""
    return {run.behavior.name: _describe(run) for run in runs}


def _describe(run: Turns) -> dict[str, Any]:
    return {
        "bound": run.found[0].bound,
        "lead": _figure(run.lead),
        "steering": _figure(mean(run.margins("steering"))),
        "edit": _figure(mean(run.margins("edit"))),
        "turns": [{arm: _describe_one(one) for arm, one in _arms(found).items()} for found in run.found],
    }


def _describe_one(each: Screened | None) -> dict[str, Any] | None:
    if each is None:
        return None
    figures = {"margin": each.figures.margin, "wanted": each.figures.wanted, "kl": each.figures.kl}
    return {"trial": each.trial.label, **{name: _figure(figure) for name, figure in figures.items()}}


def _row(run: Turns) -> tuple[str, ...]:
    cells = (*_cells(run, "steering"), *_cells(run, "edit"))
    return (run.behavior.title, str(run.lead.count), *cells, _interval(run.lead))


def _cells(run: Turns, arm: Arm) -> tuple[str, str]:
    chosen = run.chosen(arm)
    if not chosen:
        return "nothing raises the margin", "–"
    low, high = (pick(each.figures.kl.value for each in chosen) for pick in (min, max))
    return f"{_interval(mean(run.margins(arm)))}; {_names(chosen)}", f"{low:.3f} to {high:.3f}"


def _names(chosen: Sequence[Screened]) -> str:
    """What was chosen in how many turns."""
    families = Counter(each.trial.settings.family for each in chosen if each.trial.settings is not None)
    if families:
        return ", ".join(f"{family} ({count})" for family, count in families.most_common())
    strengths = sorted(each.trial.gamma or 0.0 for each in chosen)
    return f"γ {strengths[0]:.2g} to {strengths[-1]:.2g} ({len(chosen)})"


def _interval(figure: Estimate) -> str:
    return f"{figure.value:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]"


def _figure(figure: Estimate) -> dict[str, float]:
    return {"value": figure.value, "low": figure.low, "high": figure.high, "count": figure.count}
