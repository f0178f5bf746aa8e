"""What one visitor has measured so far, as frozen values: by model, behaviour and study, while it runs and afterwards.

Knows sessions and what was measured; no page and no model. The answers themselves lie in the files of `folder`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from components.shared.session import OWN, Session
from s2e_core import EditSettings
from s2e_core.measure import LikelihoodFound, Plan, SearchBudget, Trial, count_measurements, trial_key

from .measured import Measured

Study = Literal["trade-off", "progressive", "leave-one-out"]
State = Literal["running", "stopped", "done"]


class Place(NamedTuple):
    """What a measurement belongs to: with another of these it says nothing."""

    model: str
    behavior: str
    swapped: bool
    directions: str = ""
    """Hash of own examples, or of those behind directions out of a file; empty for a behaviour's examples."""

    @classmethod
    def of(cls, session: Session) -> Place:
        directions = session.scored.scores.provenance.contrast_hash if session.origin or session.behavior == OWN else ""
        return cls(session.model, session.behavior, session.swapped, directions)


@dataclass(frozen=True, eq=False)
class Search:
    """To do: find a good edit."""

    floor: float
    budget: SearchBudget
    current: EditSettings | None = None
    """The edit on the page when the search began, which it has to beat; None if it is empty or from a recipe."""

    @property
    def measurements(self) -> int:
        """Planned measurements of the screen, which come before the first answer."""
        return count_measurements(self.budget.n_trials, self.budget.shortlist)


@dataclass(frozen=True, eq=False)
class Grid:
    """To do: ask given trials."""

    plan: Plan
    trials: tuple[Trial, ...]
    floor: float = 0.97
    reference: Trial | None = None
    """The trial that all others are compared with."""


@dataclass(frozen=True, eq=False)
class OwnSearch:
    """To do: find a good edit for own examples, by likelihood alone."""

    n_trials: int


@dataclass(frozen=True, eq=False)
class Lab:
    """One measurement, as far as it has come."""

    place: Place
    study: Study
    task: Search | Grid | OwnSearch
    folder: Path
    state: State = "running"
    measured: Measured | None = None
    """None before the untouched model has answered, and in a search by likelihood alone."""
    found: LikelihoodFound | None = None
    """Result of a search by likelihood alone; None before its end, and in every other study."""
    done: int = 0
    total: int = 0
    """Answers, and before them the measurements of a screen; a percentage in a search by likelihood alone."""
    seconds: float = 0.0
    """Spent so far, without pauses."""
    screen_seconds: float = 0.0
    """Spent before the first answer."""
    made: int = field(default_factory=time.monotonic_ns)
    """Tells the points on show from earlier ones."""

    @property
    def view(self) -> str:
        """Stands for the points on show in what the browser reports."""
        return f"{self.study}-{self.made}"

    @property
    def recommended(self) -> EditSettings | None:
        """Settings of the recommended edit; None if there is none."""
        if self.found is not None:
            return None if self.found.edit is None else self.found.edit.trial.settings
        best = self.measured.best("edit") if self.measured else None
        return None if best is None or self.measured is None else self.measured.tried[best].trial.settings

    @property
    def measurements(self) -> int:
        """How much of `total` is the screen."""
        if isinstance(self.task, OwnSearch):
            return self.total  # no answer is asked for
        return self.task.measurements if isinstance(self.task, Search) else 0

    @property
    def is_screening(self) -> bool:
        """Whether a search is still measuring likelihoods: the files grow with the answers alone."""
        return self.state == "running" and self.done < self.measurements

    @property
    def rate(self) -> float:
        """Answers per second; 0 before there are any."""
        spent = self.seconds - self.screen_seconds
        return max(0, self.done - self.measurements) / spent if spent > 0 else 0.0

    def changed(self, **changes: Any) -> Lab:
        made = time.monotonic_ns() if "measured" in changes else self.made
        return replace(self, made=made, **changes)


@dataclass(frozen=True, eq=False)
class Bench:
    """Everything a visitor has measured."""

    labs: Mapping[tuple[Place, Study], Lab] = field(default_factory=lambda: MappingProxyType({}))

    def __deepcopy__(self, memo: dict[int, Any]) -> Bench:
        return self

    def of(self, session: Session, study: Study = "trade-off") -> Lab | None:
        return self.labs.get((Place.of(session), study))

    def with_lab(self, lab: Lab) -> Bench:
        return Bench(MappingProxyType({**self.labs, (lab.place, lab.study): lab}))


def current_point(session: Session, lab: Lab | None) -> int | None:
    """The point that is the edit on the page; None where it was not tried, or comes from a recipe."""
    if lab is None or lab.measured is None or session.recipe:
        return None
    return lab.measured.position(Trial(session.settings))


def is_loaded(session: Session, lab: Lab | None) -> bool:
    """Whether the recommended edit is the one on the page."""
    settings = lab.recommended if lab else None
    if settings is None or session.recipe:
        return False
    return trial_key(Trial(settings)) == trial_key(Trial(session.settings))
