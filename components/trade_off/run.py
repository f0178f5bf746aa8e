"""A task of the lab as it runs: its `Lab` grows while the model answers.

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
from dataclasses import asdict
from functools import partial
from pathlib import Path

from components.shared.session import Session
from components.shared.store import ModelStore
from components.shared.work import Work
from s2e_core import Behavior, EditSettings, find_edit, sweep
from s2e_core.measure import Arm, Found, SearchPlan, Sweep, Trial, count_edited, load_sweep
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress

from .lab import Grid, Lab, OwnSearch, Place, Search, Study
from .measured import Measured, Point, checked, drop_answers, grown, run_off

LOOK_SECONDS = 1.5
"""Between two looks into the file of a sweep that runs, at least."""
LOOK_SHARE = 10
"""A look may take one part in so many of the time."""
STATUS_SECONDS = 0.5
"""Between two lines of status."""


def run(
    store: ModelStore, session: Session, study: Study, task: Search | Grid, *, before: Lab | None = None
) -> Iterator[Lab]:
    """The lab as it grows, in the end complete. Closing the iterator stops the model within a token or so."""
    loaded, behavior = store.model(session.model), store.behavior(session.behavior)
    folder = _folder(store, before)
    lab = Lab(Place.of(session), study, task, folder)
    if before is not None:
        spent = {"seconds": before.seconds, "screen_seconds": before.screen_seconds}
        lab = lab.changed(measured=before.measured, done=before.done, total=before.total, **spent)
    stop, began = threading.Event(), time.monotonic() - lab.seconds

    def stage(progress: Progress) -> Sweep | Found:
        return _asked(loaded, session, behavior, task, folder, progress, stop)

    work: Work[Sweep | Found] = Work(stage)
    look, shown = _Look(), 0.0
    try:
        with closing(work.ticks()) as ticks:
            for done, total in ticks:
                now = time.monotonic()
                lab = _ticked(lab, done, total, now - began)
                if look.is_due():
                    with look:
                        lab = looked(store, session, lab)
                if now - shown > STATUS_SECONDS:
                    shown = now
                    yield lab
    finally:
        stop.set()
    yield _finished(store, session, lab, work.result).changed(
        state="done", done=lab.total, seconds=time.monotonic() - began
    )


def _ticked(lab: Lab, done: int, total: int, seconds: float) -> Lab:
    passed = seconds - lab.seconds
    lab = lab.changed(seconds=seconds, **({"done": done, "total": total} if total else {}))
    return lab.changed(screen_seconds=lab.screen_seconds + passed) if lab.is_screening else lab


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
    extraction = session.scored.extraction
    if isinstance(task, Search):
        plan = SearchPlan(
            behavior, floor=task.floor, current=task.current, contrast=session.scored.contrast, **asdict(task.budget)
        )
        return find_edit(loaded, extraction, plan, path=folder, progress=progress, stop=stop)
    return sweep(loaded, extraction, task.plan, task.trials, path=folder / "sweep.jsonl", progress=progress, stop=stop)


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


def looked(store: ModelStore, session: Session, lab: Lab) -> Lab:
    """The lab with what its file holds; a search by likelihood alone has none."""
    if isinstance(lab.task, OwnSearch):
        return lab
    path = lab.folder / ("development.jsonl" if isinstance(lab.task, Search) else "sweep.jsonl")
    if not path.is_file() or not path.stat().st_size:
        return lab
    return _with_points(store, session, lab, load_sweep(path, session.scored.scores.spec))


def _with_points(store: ModelStore, session: Session, lab: Lab, made: Sweep) -> Lab:
    assert not isinstance(lab.task, OwnSearch)
    known = lab.measured.points if lab.measured else ()
    reference = lab.task.reference if isinstance(lab.task, Grid) else None
    points = grown(known, made, size_of=lambda trial: size_of(session, trial), reference=reference)
    if points == known:
        return lab
    return lab.changed(measured=Measured(drop_answers(made), _wanted(store, session), points, lab.task.floor))


def _finished(store: ModelStore, session: Session, lab: Lab, result: Sweep | Found) -> Lab:
    """The lab with the points of the whole run, what was chosen, and the check on held-out prompts."""
    if isinstance(result, Sweep):
        return _with_points(store, session, lab, result)
    lab = _with_points(store, session, lab, result.development)
    assert lab.measured is not None and isinstance(lab.task, Search)
    points, current = lab.measured.points, lab.task.current
    return lab.changed(measured=measure_found(result, _wanted(store, session), points, session, current))


def measure_found(
    found: Found, wanted: str, points: tuple[Point, ...], session: Session, current: EditSettings | None = None
) -> Measured:
    """What a search found, with the points of its development sweep; `current` was on the page when it began."""
    sized, finals, check = partial(size_of, session), None, None
    if found.finals is not None:
        finals = run_off(found.finals, None if current is None else Trial(current), sized)
    if found.held_out is not None:
        check = checked(found.held_out, found.edit, found.steering, sized)
    chosen: dict[Arm, Trial | None] = {"edit": found.edit, "steering": found.steering, "original": None}
    return Measured(drop_answers(found.development), wanted, points, found.floor, chosen, check, finals)


def size_of(session: Session, trial: Trial) -> tuple[int, int] | None:
    """Heads and neurons that a trial's edit touches."""
    return count_edited(session.scored.extraction, trial)


def _wanted(store: ModelStore, session: Session) -> str:
    return store.behavior(session.behavior).positive


def _folder(store: ModelStore, before: Lab | None) -> Path:
    store.work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=store.work))
    if before is not None and before.folder.is_dir():
        shutil.copytree(before.folder, folder, dirs_exist_ok=True)
    return folder
