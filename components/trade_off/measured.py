"""The results of a sweep, ready to be shown: every trial's figures, the run-off, the choice, and the held-out check.

Knows sweeps and figures; no page, no plot and no text of an answer. It is small enough to keep for every visitor: the
answers stay in the sweep's file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from s2e_core.measure import (
    Arm,
    Estimate,
    Outcome,
    Question,
    Result,
    Sweep,
    Trial,
    best_within,
    difference,
    pareto_front,
    per_prompt,
    results,
    trial_key,
)

SizeOf = Callable[[Trial], tuple[int, int] | None]
"""Heads and neurons that the edit of a trial changes; None if it is not an edit or if they are unknown."""


@dataclass(frozen=True, eq=False)
class Point:
    """One trial in the plot."""

    result: Result
    size: tuple[int, int] | None = None
    """Numbers of edited heads and neurons."""
    change: Estimate | None = None
    """Attribute minus that of the reference trial, prompt by prompt."""
    utility_change: Estimate | None = None
    """Utility minus that of the reference trial, prompt by prompt."""

    @property
    def trial(self) -> Trial:
        return self.result.trial


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The chosen edit and the chosen steering strength on held-out prompts, which play no part in the choice."""

    about: Sweep
    """The questions and how they were asked, without the answers."""
    original: Point
    edit: Point | None = None
    steering: Point | None = None
    lead: Estimate | None = None
    """Lead of the edit over steering, prompt by prompt; negative if steering is better."""

    @property
    def points(self) -> tuple[Point, ...]:
        return tuple(point for point in (self.original, self.edit, self.steering) if point is not None)


@dataclass(frozen=True, eq=False)
class RunOff:
    """The finalists of a search on the whole development split, by which the choice is made."""

    about: Sweep
    """The questions and how they were asked, without the answers."""
    points: tuple[Point, ...]
    page: Trial | None = None
    """The edit that was on the page when the search began; None if it had no part in it."""

    def point(self, trial: Trial | None) -> Point | None:
        """The point of a trial that runs the same; None if there is none."""
        return None if trial is None else next((p for p in self.points if _same(p.trial, trial)), None)


@dataclass(frozen=True, eq=False)
class Measured:
    """The complete trials of a sweep, with the choice among them."""

    about: Sweep
    """The questions and how they were asked, without the answers."""
    wanted: str
    """Wanted behaviour of the model, as a short label."""
    points: tuple[Point, ...] = ()
    floor: float = 0.97
    """Least utility, as a share of the untouched model's, that a recommended trial may keep."""
    chosen: Mapping[Arm, Trial | None] | None = None
    """Choice of a search; None if only the points themselves can decide."""
    held_out: HeldOut | None = None
    run_off: RunOff | None = None
    """The figures behind the choice of a search; None before they are complete, and for a grid."""

    @property
    def less_is_better(self) -> bool:
        return self.about.less_is_better

    @property
    def tried(self) -> tuple[Point, ...]:
        """The points of the sweep and then those of the run-off, which asks some of the trials again."""
        return (*self.points, *(self.run_off.points if self.run_off else ()))

    @property
    def results(self) -> tuple[Result, ...]:
        return tuple(point.result for point in self.points)

    def best(self, arm: Arm) -> int | None:
        """Index in `tried` of the trial of an arm to recommend: the chosen one, else the best that keeps the floor."""
        if self.chosen is not None:
            return self.position(self.chosen.get(arm))
        return best_within(self.results, arm, self.floor, less_is_better=self.less_is_better)

    def front(self) -> tuple[int, ...]:
        return pareto_front(self.results, less_is_better=self.less_is_better)

    def position(self, trial: Trial | None) -> int | None:
        """Index in `tried` of a trial that runs the same, in the run-off if it was there; None if it was not tried."""
        if trial is None:
            return None
        found = [n for n, point in enumerate(self.tried) if _same(point.trial, trial)]
        return found[-1] if found else None


def _same(one: Trial, other: Trial) -> bool:
    return trial_key(one) == trial_key(other)


def drop_answers(sweep: Sweep) -> Sweep:
    """The sweep with its questions alone."""
    return replace(sweep, outcomes=())


def grown(
    known: Sequence[Point], sweep: Sweep, *, size_of: SizeOf | None = None, reference: Trial | None = None
) -> tuple[Point, ...]:
    """The points of a sweep; those in `known` are not computed again.

    With a `reference` every point has its change from that trial. Raises SettingsError if the untouched model answers
    no utility prompt correctly, since utility is relative to it.
    """
    original = next((outcome for outcome in sweep.outcomes if outcome.trial.arm == "original"), None)
    base = next((o for o in sweep.outcomes if reference and trial_key(o.trial) == trial_key(reference)), None)
    if original is None or (reference is not None and base is None):
        return tuple(known)
    points = {trial_key(point.trial): point for point in known}
    added = [outcome for outcome in sweep.outcomes if trial_key(outcome.trial) not in points]
    for outcome, result in zip(added, results(sweep.questions, [original, *added])[1:], strict=True):
        size = size_of(outcome.trial) if size_of else None
        points[trial_key(outcome.trial)] = _point(sweep.questions, result, size, outcome, base)
    keys = dict.fromkeys(trial_key(outcome.trial) for outcome in sweep.outcomes)
    return tuple(_with_divergence(points[key], sweep.kl.get(key)) for key in keys)


def _with_divergence(point: Point, kl: Estimate | None) -> Point:
    return point if kl is None or point.result.kl is not None else replace(point, result=replace(point.result, kl=kl))


def run_off(finals: Sweep, page: Trial | None = None, size_of: SizeOf | None = None) -> RunOff:
    """The run-off of a search; `page` is the edit that was on the page when it began."""
    return RunOff(drop_answers(finals), grown((), finals, size_of=size_of), page)


def checked(held_out: Sweep, edit: Trial | None, steering: Trial | None, size_of: SizeOf | None = None) -> HeldOut:
    """The chosen edit and steering strength on held-out prompts, compared prompt by prompt."""
    points = {trial_key(point.trial): point for point in grown((), held_out, size_of=size_of)}
    outcomes = {trial_key(outcome.trial): outcome for outcome in held_out.outcomes}
    choices = [None if trial is None else points.get(trial_key(trial)) for trial in (edit, steering)]
    lead = None
    if edit is not None and steering is not None and all(choices):
        edit_scores, steering_scores = (
            per_prompt(held_out.questions, outcomes[trial_key(trial)], "attribute") for trial in (edit, steering)
        )
        lead = (
            difference(steering_scores, edit_scores)
            if held_out.less_is_better
            else difference(edit_scores, steering_scores)
        )
    return HeldOut(drop_answers(held_out), points[trial_key(Trial())], choices[0], choices[1], lead)


def _point(
    questions: Sequence[Question], result: Result, size: tuple[int, int] | None, outcome: Outcome, base: Outcome | None
) -> Point:
    if base is None:
        return Point(result, size)
    change, utility_change = (
        difference(per_prompt(questions, outcome, side), per_prompt(questions, base, side))
        for side in ("attribute", "utility")
    )
    return Point(result, size, change, utility_change)
