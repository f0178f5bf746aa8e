"""What a search is asked, and what it found: the plan and the result of `find_edit`.

Knows plans, trials and sweeps; no order of stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from s2e_core.data import Behavior
from s2e_core.errors import SettingsError
from s2e_core.settings import EditSettings
from s2e_core.values import ContrastSet

from .plan import Plan
from .shortlist import Screened
from .sweep_file import Sweep
from .trials import Trial, steering_grid

STEERING = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3)
"""Steering strengths of the baseline, over the range that the authors sweep."""


@dataclass(frozen=True, eq=False)
class Found:
    """The edit and the steering strength that a search found, with all answers that the choice is based on."""

    floor: float
    """Share of the untouched model's utility that had to be kept."""
    development: Sweep
    """Every trial on the development prompts, which guide the search."""
    held_out: Sweep | None
    """The untouched model and what was chosen, on prompts that played no part in choosing: the figures to report.

    None if nothing keeps the floor, or if the behaviour has no other prompts than those.
    """
    edit: Trial | None
    """The chosen edit, None if no edit keeps the floor."""
    steering: Trial | None
    """The chosen steering strength, None if none keeps the floor."""
    finals: Sweep | None = None
    """The run-off: the finalists on the whole development split with new random seeds, by which the choice is made."""
    screened: tuple[Screened, ...] = ()
    """The settings whose likelihood was measured on held-out texts, and steering at the probe strengths."""


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """How a search is done: what must be kept, how much is tried, and on how many prompts.

    Raises SettingsError for a floor or a budget out of range.
    """

    behavior: Behavior
    floor: float = 0.97
    """Share of the untouched model's utility that an edit must keep."""
    n_trials: int = 60
    """Number of edits that are screened by likelihood."""
    shortlist: int = 12
    """Number of screened edits that are asked development prompts."""
    current: EditSettings | None = None
    """The edit to beat, such as that on the page; it is in the run-off, and nothing that it beats there is chosen."""
    contrast: ContrastSet | None = None
    """The examples of the extraction; None for the behaviour's own."""
    gammas: Sequence[float] = STEERING
    """Steering strengths of the baseline."""
    prompts: int = 40
    """Number of development prompts of each side that every trial is asked."""
    finalists: int = 4
    """Number of trials of each arm that are measured again."""
    samples: int = 2
    """Number of answers to each prompt in the run-off and on held-out prompts."""
    held_out: int | None = None
    """Number of held-out prompts of the attribute; None for all. Those of the utility are always all asked."""
    temperature: float = 1.0
    seed: int = 0
    max_new_tokens: int | None = None
    """Longest answer; None takes the behaviour's own."""

    def __post_init__(self) -> None:
        if not 0 < self.floor <= 1:
            raise SettingsError(
                f"The floor is {self.floor:g}; it is the share of utility to keep, above 0 and at most 1 "
                "(0.97 is 97 %)."
            )
        counts = self.finalists, self.prompts, self.samples, self.shortlist
        if self.n_trials < 0 or min(*counts, 1 if self.held_out is None else self.held_out) < 1:
            raise SettingsError(
                f"{self.n_trials} trials, {self.shortlist} of them asked {self.prompts} prompts, with {self.finalists} "
                f"finalists, {self.samples} samples and {self.held_out or 'all'} held-out prompts were requested; "
                "at least 0 trials and 1 of all else are needed."
            )

    @property
    def near(self) -> float:
        """The floor less one standard error of a share: on few prompts a trial below the floor may still keep it."""
        return self.floor - sqrt(self.floor * (1 - self.floor) / self.prompts)

    @property
    def n_weaker(self) -> int:
        """Most edits that are asked again at less strength."""
        return self.shortlist // 2

    @property
    def n_asked(self) -> int:
        """Most trials on the development prompts."""
        return len(self.fixed_trials()) + self.shortlist + self.n_weaker

    def fixed_trials(self) -> tuple[Trial, ...]:
        """What is asked in any case: the untouched model, the steering strengths, the current edit."""
        current = () if self.current is None else (Trial(self.current),)
        return (Trial(), *steering_grid(dict.fromkeys((*self.gammas, self.behavior.gamma))), *current)

    def development(self) -> Plan:
        """The questions of stage 2."""
        return Plan(
            self.behavior, n_attribute=self.prompts, n_utility=self.prompts, seed=self.seed,
            temperature=self.temperature, max_new_tokens=self.max_new_tokens,
        )  # fmt: skip
