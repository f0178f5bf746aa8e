"""How much a search tries where nobody says so: less where an answer takes long, so that it ends within minutes.

Knows the size of a model and where it runs; no plan's meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s2e_core.model import LoadedModel, parameter_count

from .search_plan import STEERING, SearchPlan

SMALL_MODEL = 20_000_000
"""Parameters up to which a CPU answers as fast as anybody reads."""
FEW_GAMMAS = STEERING[1::2]
"""Steering strengths of a short search: every second one."""


@dataclass(frozen=True, eq=False)
class SearchBudget:
    """The numbers of a `SearchPlan` of the same names."""

    n_trials: int = SearchPlan.n_trials
    shortlist: int = SearchPlan.shortlist
    prompts: int = SearchPlan.prompts
    finalists: int = SearchPlan.finalists
    samples: int = SearchPlan.samples
    held_out: int | None = SearchPlan.held_out
    gammas: Sequence[float] = STEERING


SHORT_BUDGET = SearchBudget(
    n_trials=16, shortlist=6, prompts=24, finalists=2, samples=2, held_out=36, gammas=FEW_GAMMAS
)


def is_slow(loaded: LoadedModel) -> bool:
    """Whether many answers take more than a moment: a model of more than SMALL_MODEL parameters on a CPU."""
    return loaded.device.type == "cpu" and parameter_count(loaded.model) > SMALL_MODEL


def search_budget(loaded: LoadedModel) -> SearchBudget:
    """The usual numbers, or those of a short search where answers are slow."""
    return SHORT_BUDGET if is_slow(loaded) else SearchBudget()
