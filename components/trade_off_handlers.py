"""Measuring on the page: (store, session, what to do) to a `Lab` that grows while the model answers.

Knows the core's sweep and search, the store and the work folder. Answers go to files below the server's file cache; the
`Lab` carries figures alone. A run that is stopped goes on in a copy of its folder, so that the end of the one never
meets the beginning of the other.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from s2e_core import (
    Behavior,
    Found,
    LoadedModel,
    Plan,
    Progress,
    SettingsError,
    Sweep,
    Trial,
    find_edit,
    leave_one_out,
    load_sweep,
    progressive,
    sweep,
)
from s2e_core.sweep import with_original
from s2e_core.trials import Arm, edit_size, trial_key

from . import texts
from .grid_request import GridRequest, trials_of
from .lab import Grid, Lab, Place, Search, Study
from .measured import Measured, Point, checked, grown, without_answers
from .session import OWN, Session
from .store import ModelStore
from .work import Work

LOOK_SECONDS = 1.5
"""Between two looks into the file of a sweep that runs, at least."""
LOOK_SHARE = 10
"""A look may take one part in so many of the time."""
STATUS_SECONDS = 0.5
LEFT_OUT = 16
"""Components that are left out, one at a time."""


def why_not(store: ModelStore, session: Session) -> str:
    """Why nothing can be measured here, in a sentence; empty where it can."""
    if session.behavior == OWN:
        return texts.OWN_NOT_MEASURED
    behavior = store.behavior(session.behavior)
    if not behavior.attribute or not behavior.utility:
        return texts.NOT_MEASURED
    return texts.SWAPPED_NOT_MEASURED.format(positive=behavior.positive) if session.swapped else ""


def searched(store: ModelStore, session: Session, floor: float | None, budget: float | None) -> Iterator[Lab]:
    """Find a good edit. `floor` in percent, `budget` in settings to try."""
    check_measurable(store, session)
    share, n_trials = _floor(floor), whole(budget, "settings to try", 1, store.limits.sweep_settings)
    yield from run(store, session, "trade-off", Search(share, n_trials))


def swept(
    store: ModelStore, session: Session, request: GridRequest, prompts: float | None, floor: float | None
) -> Iterator[Lab]:
    """Ask every setting of a grid the same prompts."""
    check_measurable(store, session)
    trials = trials_of(request, store.limits.sweep_settings)
    plan = _plan(store, session, prompts)
    yield from run(store, session, "trade-off", Grid(plan, with_original(trials), _floor(floor)))


def taken_apart(
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
        task = Grid(_plan(store, session, prompts), with_original(progressive(session.edit)))
    else:
        parts = leave_one_out(session.edit, LEFT_OUT)
        task = Grid(_plan(store, session, prompts), (Trial(), whole, *parts), reference=whole)
    same = before is not None and before.state == "stopped" and _same_work(task, before.task)
    yield from run(store, session, study, task, before=before if same else None)


def continued(store: ModelStore, session: Session, lab: Lab | None) -> Iterator[Lab]:
    """Go on where a run was stopped."""
    if lab is None or lab.state == "done":
        raise SettingsError("There is nothing to go on with. Find a good edit or sweep a grid first.")
    yield from run(store, session, lab.study, lab.task, before=lab)


def stopped(store: ModelStore, session: Session, lab: Lab) -> Lab:
    """The lab with everything that its files hold by now."""
    here = Place.of(session) == lab.place
    return (_looked(store, session, lab) if here else lab).changed(state="stopped")


def run(
    store: ModelStore, session: Session, study: Study, task: Search | Grid, *, before: Lab | None = None
) -> Iterator[Lab]:
    """The lab as it grows, in the end complete. Closing the iterator stops the model within a token or so."""
    loaded, behavior = store.model(session.model), store.behavior(session.behavior)
    folder = _folder(store, before)
    lab = Lab(Place.of(session), study, task, folder)
    if before is not None:
        lab = lab.changed(measured=before.measured, done=before.done, total=before.total, seconds=before.seconds)
    stop, began = threading.Event(), time.monotonic() - lab.seconds

    def stage(progress: Progress) -> Sweep | Found:
        return _asked(loaded, session, behavior, task, folder, progress, stop)

    work: Work[Sweep | Found] = Work(stage)
    look, shown = _Look(), 0.0
    try:
        with closing(work.ticks()) as ticks:
            for done, total in ticks:
                now = time.monotonic()
                lab = lab.changed(seconds=now - began, **({"done": done, "total": total} if total else {}))
                if look.is_due():
                    with look:
                        lab = _looked(store, session, lab)
                if now - shown > STATUS_SECONDS:
                    shown = now
                    yield lab
    finally:
        stop.set()
    yield _finished(store, session, lab, work.result).changed(
        state="done", done=lab.total, seconds=time.monotonic() - began
    )


def _asked(
    loaded: LoadedModel,
    session: Session,
    behavior: Behavior,
    task: Search | Grid,
    folder: Path,
    progress: Progress,
    stop: threading.Event,
) -> Sweep | Found:
    """The long part, in a thread of its own."""
    scores, directions = session.scored.scores, session.scored.directions
    if isinstance(task, Search):
        return find_edit(
            loaded, scores, directions, behavior, floor=task.floor, n_trials=task.n_trials, path=folder,
            progress=progress, stop=stop,
        )  # fmt: skip
    return sweep(
        loaded, scores, directions, task.plan, task.trials, path=folder / "sweep.jsonl", progress=progress, stop=stop
    )


class _Look:
    """When it is time to look into the file again: seldom enough to cost next to nothing."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LOOK_SECONDS

    def is_due(self) -> bool:
        return time.monotonic() >= self._next

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        ended = time.monotonic()
        self._next = ended + max(LOOK_SECONDS, LOOK_SHARE * (ended - self._began))


def _looked(store: ModelStore, session: Session, lab: Lab) -> Lab:
    """The lab with what its file holds."""
    path = lab.folder / ("development.jsonl" if isinstance(lab.task, Search) else "sweep.jsonl")
    if not path.is_file() or not path.stat().st_size:
        return lab
    return _with_points(store, session, lab, load_sweep(path, session.scored.scores.spec))


def _with_points(store: ModelStore, session: Session, lab: Lab, made: Sweep) -> Lab:
    known = lab.measured.points if lab.measured else ()
    reference = lab.task.reference if isinstance(lab.task, Grid) else None
    points = grown(known, made, size_of=lambda trial: size_of(session, trial), reference=reference)
    if len(points) == len(known):
        return lab
    return lab.changed(measured=Measured(without_answers(made), _wanted(store, session), points, lab.task.floor))


def _finished(store: ModelStore, session: Session, lab: Lab, result: Sweep | Found) -> Lab:
    """The lab with the points of the whole run, what was chosen, and the check on held-out prompts."""
    if isinstance(result, Sweep):
        return _with_points(store, session, lab, result)
    lab = _with_points(store, session, lab, result.development)
    assert lab.measured is not None
    return lab.changed(measured=of_found(result, _wanted(store, session), lab.measured.points, session))


def of_found(found: Found, wanted: str, points: tuple[Point, ...], session: Session) -> Measured:
    """What a search found, with the points of its development sweep."""
    check = None
    if found.held_out is not None:
        check = checked(found.held_out, found.edit, found.steering, lambda trial: size_of(session, trial))
    chosen: dict[Arm, Trial | None] = {"edit": found.edit, "steering": found.steering, "original": None}
    return Measured(without_answers(found.development), wanted, points, found.floor, chosen, check)


def size_of(session: Session, trial: Trial) -> tuple[int, int] | None:
    """Heads and neurons that a trial's edit touches."""
    return edit_size(session.scored.scores, session.scored.directions, trial)


def _wanted(store: ModelStore, session: Session) -> str:
    return store.behavior(session.behavior).positive


def _folder(store: ModelStore, before: Lab | None) -> Path:
    store.work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=store.work))
    if before is not None and before.folder.is_dir():
        shutil.copytree(before.folder, folder, dirs_exist_ok=True)
    return folder


def _plan(store: ModelStore, session: Session, prompts: float | None) -> Plan:
    count = whole(prompts, "prompts", 2, store.limits.sweep_prompts)
    return Plan(store.behavior(session.behavior), n_attribute=count, n_utility=count)


def _same_work(task: Search | Grid, other: Search | Grid) -> bool:
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
