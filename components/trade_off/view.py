"""The trade-off panel as a function of what was measured: one update per component, by name.

Knows labs, figures and gradio's updates; no event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import gradio as gr

from components.shared import texts
from components.shared.progress import duration, progress_bar
from components.shared.session import OWN, Session
from components.shared.store import ModelStore

from .figure import DARK, leave_one_out_figure, progressive_figure, trade_off_figure
from .figure_widget import figure_value
from .handlers import why_not, why_not_find
from .lab import Bench, Lab, OwnSearch, Search, current_point, is_loaded
from .measured import Measured
from .own_words import advice_by_likelihood, own_status
from .rows import table
from .words import advice

SCREENING = "Screening settings by likelihood"
PHASES = (("test.jsonl", "Checking on held-out prompts"), ("finals.jsonl", "Comparing the best ones on more prompts"))


def lab_view(store: ModelStore, session: Session, bench: Bench, names: Sequence[str] = ()) -> dict[str, Any]:
    """The named parts of the panel, or all of them; each is made only where it is asked for."""
    view = View(store, session, bench)
    return {name: PARTS[name](view) for name in names or PARTS}


class View:
    """What the parts of the panel depend on."""

    def __init__(self, store: ModelStore, session: Session, bench: Bench) -> None:
        self.session = session
        self.reason, self.find_reason = why_not(store, session), why_not_find(store, session)
        self.lab = bench.of(session)
        self.curve, self.bars = bench.of(session, "progressive"), bench.of(session, "leave-one-out")
        self.measured = self.lab.measured if self.lab else None
        self.busy = _runs(self.lab)
        self.busy_parts = _runs(self.curve) or _runs(self.bars)

    @property
    def can_run(self) -> dict[str, Any]:
        return gr.update(interactive=not (self.reason or self.busy or self.busy_parts))

    @property
    def can_find(self) -> dict[str, Any]:
        return gr.update(interactive=not (self.find_reason or self.busy or self.busy_parts))

    @property
    def status(self) -> str:
        if self.find_reason:
            return progress_bar(self.find_reason)
        if self.lab is None and self.session.behavior == OWN:
            return progress_bar(texts.OWN_SEARCH)
        return lab_status(self.lab)

    @property
    def advice(self) -> str:
        if self.busy or self.lab is None:
            return ""
        if self.lab.found is not None:
            return advice_by_likelihood(self.lab.found)
        return advice(self.measured) if self.measured else ""

    @property
    def load(self) -> dict[str, Any]:
        best = self.lab.recommended if self.lab else None
        return gr.update(
            value=texts.LOAD_OWN if self.session.behavior == OWN else texts.LOAD_BEST,
            visible=best is not None and not self.busy,
            interactive=not is_loaded(self.session, self.lab),
        )

    @property
    def go_on(self) -> dict[str, Any]:
        stopped = self.lab is not None and self.lab.state == "stopped" and not isinstance(self.lab.task, OwnSearch)
        return gr.update(visible=stopped)

    @property
    def parts_status(self) -> str:
        if self.reason:  # said once, unless the find button works and these do not
            return "" if self.find_reason else progress_bar(self.reason)
        return parts_status([self.curve, self.bars])


PARTS: Mapping[str, Callable[[View], Any]] = MappingProxyType(
    {
        "find": lambda view: view.can_find,
        "sweep": lambda view: view.can_run,
        "progressive": lambda view: view.can_run,
        "leave_one_out": lambda view: view.can_run,
        "stop": lambda view: gr.update(interactive=view.busy),
        "parts_stop": lambda view: gr.update(interactive=view.busy_parts),
        "go_on": lambda view: view.go_on,
        "status": lambda view: view.status,
        "advice": lambda view: view.advice,
        "load": lambda view: view.load,
        "plot": lambda view: plot_value(view.session, view.lab),
        "downloads": lambda view: gr.update(visible=bool(view.measured and view.measured.points)),
        "parts_status": lambda view: view.parts_status,
        "curve": lambda view: curve_value(view.curve),
        "bars": lambda view: bars_value(view.bars),
    }
)
"""Every part of the panel that depends on the session or on what was measured, by its component's name."""


def _runs(lab: Lab | None) -> bool:
    return lab is not None and lab.state == "running"


def lab_status(lab: Lab | None) -> str:
    """What is happening, as HTML."""
    if lab is None:
        return ""
    if isinstance(lab.task, OwnSearch):
        return own_status(lab)
    count = len(lab.measured.points) if lab.measured else 0
    spent = duration(lab.seconds)
    if lab.is_screening:
        return progress_bar(
            f"{SCREENING}: {lab.done:,} of {lab.measurements:,} measurements, {spent}.", lab.done, lab.measurements
        )
    done, total = lab.done - lab.measurements, max(0, lab.total - lab.measurements)
    if lab.state == "running":
        left = f", about {duration((total - done) / lab.rate)} to go" if lab.rate else ""
        words = f"{_phase(lab)}: {count:,} measured, {done:,} of {total:,} answers, {spent}{left}."
        return progress_bar(words, done, max(total, 1))
    if lab.state == "stopped":
        return progress_bar(
            f"Stopped after {spent}. {count:,} settings are measured and kept; Continue goes on from here."
        )
    screened = f"{lab.task.budget.n_trials:,} screened by likelihood, " if isinstance(lab.task, Search) else ""
    return progress_bar(f"Done: {screened}{count:,} settings, {total:,} answers in {spent}.")


def parts_status(parts: list[Lab | None]) -> str:
    """Of the study that runs, else of the one made last."""
    known = sorted((part for part in parts if part is not None), key=lambda part: (part.state == "running", part.made))
    return lab_status(known[-1]) if known else ""


def _phase(lab: Lab) -> str:
    if isinstance(lab.task, Search):
        for file, words in PHASES:
            if (lab.folder / file).exists():
                return words
    return "Trying settings" if lab.study == "trade-off" else "Trying components"


def plot_value(session: Session, lab: Lab | None) -> dict[str, Any] | None:
    if lab is None or lab.measured is None or not lab.measured.points:
        return None
    current = current_point(session, lab)
    figure = trade_off_figure(lab.measured, current=current)
    return figure_value(
        figure,
        title=_title(lab.measured),
        file=_file(lab),
        view=lab.view,
        dark=DARK,
        table=table(lab.measured, current),
    )


def curve_value(lab: Lab | None) -> dict[str, Any] | None:
    if lab is None or lab.measured is None or len(lab.measured.points) < 2:
        return None
    figure = progressive_figure(lab.measured)
    return figure_value(figure, title=texts.PROGRESSIVE, file=_file(lab), view=lab.view, dark=DARK)


def bars_value(lab: Lab | None) -> dict[str, Any] | None:
    if lab is None or lab.measured is None or len(lab.measured.points) < 3:
        return None
    figure = leave_one_out_figure(lab.measured)
    return figure_value(figure, title=texts.LEAVE_ONE_OUT, file=_file(lab), view=lab.view, dark=DARK)


def _title(measured: Measured) -> str:
    prompts = measured.points[0].result.attribute.count
    return f"{measured.about.title}: {measured.wanted}, on {prompts} {measured.about.split} prompts"


def _file(lab: Lab) -> str:
    return f"steer2edit-{lab.place.behavior}-{lab.study}"
