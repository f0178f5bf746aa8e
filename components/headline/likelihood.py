"""The headline by likelihood: the best edit against the best steering at one bound of KL, on held-out examples.

Knows searches by likelihood, records and Markdown. Answers of a small model say little about a share of utility; the
likelihood of given responses and the divergence on harmless texts need no sampled answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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

from .records import Figure, Records
from .sections import markdown_table

COLUMNS = ("behaviour", "turns", "pairs", "steering", "its KL", "edit", "its KL", "lead of the edit")
Arm = Literal["edit", "steering"]
N_TURNS = 5
"""Number of parts into which the examples are split."""


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
    print(f"{behavior.name}, by likelihood: {_interval(asdict(run.lead))}", flush=True)
    return run


def _turn(loaded: LoadedModel, behavior: Behavior, turn: int) -> LikelihoodFound:
    texts, budget = behavior_gate_texts(behavior), search_budget(loaded)
    examples = split_fifths(behavior.contrast, turn)
    extraction = extract(loaded, examples.fit, texts=texts)
    return find_by_likelihood(
        loaded, extraction, examples, texts.probes, n_trials=budget.n_trials, shortlist=budget.shortlist
    )


def likelihood_section(records: Records) -> list[str]:
    """The table with a sentence before it; nothing if no behaviour has figures."""
    found = {r["title"]: r["by likelihood"] for r in records.values() if "by likelihood" in r}
    if not found:
        return []
    bound = next(iter(found.values()))["bound"]
    return [
        "**At equal divergence.** Rise of the margin between wanted and unwanted responses, in nats a token; both arms "
        f"under a KL of {bound:g} nats a token from the untouched model on harmless texts, each with the largest "
        "margin there. In every turn three fifths of the examples make the vector and the edit, one chooses and one "
        f"reports: in {N_TURNS} turns every pair is reported once, by what was neither made from it nor chosen by it. "
        "A lead is the difference pair by pair. Where nothing under the bound raises the margin of the choice, the "
        "model stays untouched and its margin 0.",
        "",
        *markdown_table(COLUMNS, [_row(title, one) for title, one in found.items()]),
        "",
    ]


def likelihood_record(run: Turns) -> dict[str, Any]:
    """The figures as values that `json` can write."""
    return {
        "bound": run.found[0].bound,
        "turns": len(run.found),
        "lead": asdict(run.lead),
        "steering": _describe(run, "steering"),
        "edit": _describe(run, "edit"),
    }


def _describe(run: Turns, arm: Arm) -> dict[str, Any] | None:
    """An arm over all turns: its margin, its lowest and highest KL, and what was chosen; None if nothing was."""
    chosen = run.chosen(arm)
    if not chosen:
        return None
    divergences = [each.figures.kl.value for each in chosen]
    kl = [min(divergences), max(divergences)]
    return {"margin": asdict(mean(run.margins(arm))), "kl": kl, "what": _names(chosen)}


def _row(title: str, one: dict[str, Any]) -> tuple[str, ...]:
    count = str(one["lead"]["count"])
    return (title, str(one["turns"]), count, *_cells(one["steering"]), *_cells(one["edit"]), _interval(one["lead"]))


def _cells(arm: dict[str, Any] | None) -> tuple[str, str]:
    if arm is None:
        return "nothing raises the margin", "–"
    low, high = (f"{kl:.3f}" for kl in arm["kl"])
    return f"{_interval(arm['margin'])}; {arm['what']}", low if low == high else f"{low} to {high}"


def _names(chosen: Sequence[Screened]) -> str:
    """What was chosen in how many turns."""
    families = Counter(each.trial.settings.family for each in chosen if each.trial.settings is not None)
    if families and len(chosen) == 1:
        (one,) = chosen
        return f"{one.trial.settings.family}: {one.trial.short_label}" if one.trial.settings else ""
    if families:
        return ", ".join(f"{family} ({count})" for family, count in families.most_common())
    strengths = sorted(each.trial.gamma or 0.0 for each in chosen)
    if len(chosen) == 1:
        return f"γ {strengths[0]:.3g}"
    return f"γ {strengths[0]:.2g} to {strengths[-1]:.2g} ({len(chosen)})"


def _interval(figure: Figure) -> str:
    return f"{figure['value']:+.3f} [{figure['low']:+.3f}, {figure['high']:+.3f}]"
