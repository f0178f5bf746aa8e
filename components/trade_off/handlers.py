"""What a visitor wants measured: (store, session, fields of the page) to a task, and to the `Lab` that grows with it.

Knows what can be measured, and within which limits; how a task runs is lab_run.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from components.shared import texts
from components.shared.session import OWN, Session
from components.shared.store import ModelStore
from s2e_core import EditSettings, SettingsError
from s2e_core.measure import Plan, Trial, add_original, leave_one_out, progressive, search_budget, trial_key

from .grid import GridRequest, trials_of
from .lab import Grid, Lab, OwnSearch, Place, Search, Study
from .own_search import search_own
from .run import looked, run

LEFT_OUT = 16
"""Components that are left out, one at a time."""


class SweepRequest(NamedTuple):
    """The fields of the page from which a grid is measured."""

    grid: GridRequest
    prompts: float | None
    floor: float | None
    """Utility to keep, in percent."""

    @classmethod
    def of(cls, *values: Any) -> SweepRequest:
        """From the values of the page: those of `GridRequest`, then the two numbers."""
        *grid, prompts, floor = values
        return cls(GridRequest(*grid), prompts, floor)


def why_not(store: ModelStore, session: Session) -> str:
    """Why no prompts can be measured here, in a sentence; empty where they can."""
    if session.behavior == OWN:
        return texts.OWN_NOT_MEASURED
    behavior = store.behavior(session.behavior)
    if not behavior.attribute or not behavior.utility:
        return texts.NOT_MEASURED
    return texts.SWAPPED_NOT_MEASURED.format(positive=behavior.positive) if session.swapped else ""


def why_not_find(store: ModelStore, session: Session) -> str:
    """Why no good edit can be found here, in a sentence; empty where one can: own examples need no prompts."""
    if session.behavior != OWN:
        return why_not(store, session)
    return texts.FILE_NOT_SEARCHED if session.origin else ""


def searched(store: ModelStore, session: Session, floor: float | None, budget: float | None) -> Iterator[Lab]:
    """Find a good edit; for own examples by likelihood alone.

    `floor` is in percent, `budget` in settings to try; 0 takes what the model can afford.
    """
    reason = why_not_find(store, session)
    if reason:
        raise SettingsError(reason)
    most = store.limits.sweep_settings
    usual = search_budget(store.model(session.model))
    n_trials = whole(budget, "settings to try", 0, most) or min(usual.n_trials, most)
    usual = replace(usual, n_trials=n_trials)
    if session.behavior == OWN:
        yield from search_own(store, session, usual)
        return
    share = _floor(floor)
    yield from run(store, session, "trade-off", Search(share, usual, _edit_to_beat(session)))


def _edit_to_beat(session: Session) -> EditSettings | None:
    """The settings of the edit on the page; None if it is empty, or a recipe that does not follow from them."""
    follows = not session.recipe or session.made_here(session.edit)
    return session.settings if follows and not session.edit.is_empty else None


def swept(store: ModelStore, session: Session, request: SweepRequest) -> Iterator[Lab]:
    """Ask every setting of a grid the same prompts."""
    check_measurable(store, session)
    trials = trials_of(request.grid, store.limits.sweep_settings)
    plan = _plan(store, session, request.prompts)
    yield from run(store, session, "trade-off", Grid(plan, add_original(trials), _floor(request.floor)))


def run_study(
    store: ModelStore, session: Session, study: Study, prompts: float | None, *, before: Lab | None = None
) -> Iterator[Lab]:
    """How the edit on the page depends on its components: more and more of them, or all but one.

    A stopped run `before` of the same work is gone on with.
    """
    check_measurable(store, session)
    if session.recipe:
        raise SettingsError("The edit comes from an uploaded file. Move a dial to return to an edit of your own.")
    if session.edit.is_empty:
        raise SettingsError(texts.NOTHING_EDITED)
    whole = Trial(session.settings)
    if study == "progressive":
        task = Grid(_plan(store, session, prompts), add_original(progressive(session.edit)))
    else:
        parts = leave_one_out(session.edit, LEFT_OUT)
        task = Grid(_plan(store, session, prompts), (Trial(), whole, *parts), reference=whole)
    same = before is not None and before.state == "stopped" and _same_work(task, before.task)
    yield from run(store, session, study, task, before=before if same else None)


def continued(store: ModelStore, session: Session, lab: Lab | None) -> Iterator[Lab]:
    """Go on where a run was stopped."""
    if lab is None or lab.state == "done" or isinstance(lab.task, OwnSearch):
        raise SettingsError("There is nothing to go on with. Find a good edit or sweep a grid first.")
    yield from run(store, session, lab.study, lab.task, before=lab)


def stopped(store: ModelStore, session: Session, lab: Lab) -> Lab:
    """The lab with everything that its files hold by now."""
    here = Place.of(session) == lab.place
    return (looked(store, session, lab) if here else lab).changed(state="stopped")


def _plan(store: ModelStore, session: Session, prompts: float | None) -> Plan:
    count = whole(prompts, "prompts", 2, store.limits.sweep_prompts)
    behavior = store.behavior(session.behavior)
    return Plan(behavior, n_attribute=count, n_utility=count)


def _same_work(task: Search | Grid, other: Search | Grid | OwnSearch) -> bool:
    if not isinstance(task, Grid) or not isinstance(other, Grid):
        return False
    keys = [[trial_key(trial) for trial in one.trials] for one in (task, other)]
    return keys[0] == keys[1] and task.plan.n_attribute == other.plan.n_attribute


def check_measurable(store: ModelStore, session: Session) -> None:
    """Raises SettingsError with the reason where nothing can be measured."""
    reason = why_not(store, session)
    if reason:
        raise SettingsError(reason)


def _floor(percent: float | None) -> float:
    if percent is None or not 0 < percent <= 100:
        raise SettingsError("The utility to keep is a percentage above 0 and at most 100. Move the slider.")
    return round(percent / 100, 4)


def whole(value: float | None, name: str, low: int, high: int) -> int:
    """A number typed into a field. Raises SettingsError where it is empty or out of range."""
    if value is None or not low <= value <= high:
        raise SettingsError(f"The number of {name} must be from {low:,} to {high:,}. Type another number.")
    return int(value)
