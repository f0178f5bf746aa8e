"""The trade-off panel as a function of what was measured: one update per component, by name.

Knows labs, figures and gradio's updates; no event.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import texts
from .figure_widget import figure_value
from .lab import Bench, Lab, Search, current_point
from .measured import Measured
from .session import Session
from .store import ModelStore
from .trade_off_figure import DARK, leave_one_out_figure, progressive_figure, trade_off_figure
from .trade_off_handlers import why_not
from .trade_off_rows import table
from .trade_off_words import advice, duration, progress_bar

PHASES = (("test.jsonl", "Checking on held-out prompts"), ("finals.jsonl", "Comparing the best ones on more prompts"))


def lab_view(store: ModelStore, session: Session, bench: Bench) -> dict[str, Any]:
    """Everything in the panel that depends on the session or on what was measured."""
    reason = why_not(store, session)
    lab = bench.of(session)
    parts = [bench.of(session, study) for study in ("progressive", "leave-one-out")]
    busy = lab is not None and lab.state == "running"
    busy_parts = any(part is not None and part.state == "running" for part in parts)
    measured = lab.measured if lab else None
    best = measured.best("edit") if measured else None
    can_run = not reason and not busy and not busy_parts
    return {
        "find": gr.update(interactive=can_run),
        "sweep": gr.update(interactive=can_run),
        "progressive": gr.update(interactive=can_run),
        "leave_one_out": gr.update(interactive=can_run),
        "stop": gr.update(interactive=busy),
        "parts_stop": gr.update(interactive=busy_parts),
        "go_on": gr.update(visible=lab is not None and lab.state == "stopped", interactive=can_run),
        "status": progress_bar(reason) if reason else lab_status(lab),
        "advice": advice(measured) if measured and lab and lab.state != "running" else "",
        "load": gr.update(visible=best is not None and not busy, interactive=best != current_point(session, lab)),
        "plot": plot_value(session, lab),
        "downloads": gr.update(visible=measured is not None and bool(measured.points)),
        "parts_status": "" if reason else parts_status(parts),
        "curve": curve_value(parts[0]),
        "bars": bars_value(parts[1]),
    }


def lab_status(lab: Lab | None) -> str:
    """What is happening, as HTML."""
    if lab is None:
        return ""
    count = len(lab.measured.points) if lab.measured else 0
    spent = duration(lab.seconds)
    if lab.state == "running":
        left = f", about {duration(lab.seconds / lab.done * (lab.total - lab.done))} to go" if lab.done else ""
        words = f"{_phase(lab)}: {count:,} measured, {lab.done:,} of {lab.total:,} answers, {spent}{left}."
        return progress_bar(words, lab.done, max(lab.total, 1))
    if lab.state == "stopped":
        return progress_bar(
            f"Stopped after {spent}. {count:,} settings are measured and kept; Continue goes on from here."
        )
    return progress_bar(f"Done: {count:,} settings, {lab.total:,} answers in {spent}.")


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
