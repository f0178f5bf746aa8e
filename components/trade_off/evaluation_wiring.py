"""Wires the fold that measures the edit on the page in full: a run with progress, Stop, the table, its CSV.

Knows gradio's events. What a run does is components/trade_off/evaluation_handlers.py, how its figures read
components/trade_off/evaluation_table.py. Runs share the queue of the sweeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from components.page.parts import Page
from components.shared import texts
from components.shared.events import LOOK, QUIET, SWEEP, apart_custom, fresh, named, ready_file, stops, wire_stop
from components.shared.progress import duration, progress_bar
from components.shared.session import Session
from components.shared.store import ModelStore

from .evaluated import Evaluated
from .evaluation_handlers import EvaluationRequest, Ticked, evaluated, evaluation_file
from .evaluation_panel import EvaluationPanel
from .evaluation_table import table_html
from .handlers import why_not
from .lab import Place

PARTS = ("measure", "status", "table", "csv")


def wire_evaluation(page: Page, panel: EvaluationPanel) -> None:
    """Everything in the fold."""
    store = page.store
    kept, on_show = fresh(Evaluated), gr.State(None)
    parts = [getattr(panel, name) for name in PARTS]

    def grow(session: Session, kept: Evaluated, *values: Any) -> Iterator[tuple[Any, ...]]:
        kept = kept.with_running(True)
        for step in evaluated(store, session, EvaluationRequest(*values)):
            if isinstance(step, Ticked):
                # A Stop just before this run may have been answered after it began.
                running = {"measure": gr.update(interactive=False)}
                yield kept, *_named(status=running_words(step), **running)
            else:
                kept = kept.with_full(step)
                yield kept, *fold(store, session, kept)

    def stopped(session: Session, kept: Evaluated) -> tuple[Any, ...]:
        kept = kept.with_running(False, texts.MEASURE_STOPPED if kept.running else kept.said)  # it may come twice
        return kept, *fold(store, session, kept)

    def show(session: Session, kept: Evaluated, on_show: Any) -> tuple[Any, ...]:
        """After a change of the session; what is on show already is not sent again."""
        full = kept.of(session)
        showing = (Place.of(session), full and (full.made, full.is_earlier(session)))
        if kept.running or showing == on_show:
            return on_show, *_named()
        return showing, *fold(store, session, kept)

    heard = panel.measure.click(_heard, None, parts, trigger_mode="once", **QUIET)
    inputs = [page.place, kept, panel.prompts, panel.steered, page.compare.gamma]
    done = heard.success(page.asks(grow), inputs, [kept, *parts], js=named(panel.stop, "measure", "sweep"), **SWEEP)
    showing = [page.place, kept, on_show], [on_show, *parts]
    done.success(page.asks(show), *showing, **LOOK)  # dials may have moved meanwhile
    done.failure(page.asks(stopped, after_failure=True), [page.place, kept], [kept, *parts], **QUIET)
    wire_stop(panel.stop, measure=done)
    # A run belongs to the model and behaviour on the page.
    choose = page.choose
    leave = [choose.behavior.input, choose.swap.input, choose.model.input, choose.template.submit]
    gr.on([*leave, choose.extract.click], None, js=stops(panel.stop), **QUIET)
    apart_custom(page.place.rested)(page.asks(show), *showing, trigger_mode="always_last", **LOOK)

    def send(session: Session, kept: Evaluated) -> str:
        return str(evaluation_file(store, kept, session))

    file, fetch = ready_file("in-full")
    panel.csv.click(page.asks(send), [page.place, kept], file, **QUIET).success(None, js=fetch)


def fold(store: ModelStore, session: Session, kept: Evaluated) -> tuple[Any, ...]:
    """One update for each of PARTS."""
    reason, full = why_not(store, session), kept.of(session)
    done = f"Done: {full.total:,} answers and texts in {duration(full.seconds)}." if full else ""
    said = reason or kept.said or done
    return _named(
        measure=gr.update(interactive=not reason and not kept.running),
        status=progress_bar(said) if said else "",
        table=table_html(full, earlier=full.is_earlier(session)) if full else "",
        csv=gr.update(visible=full is not None),
    )


def running_words(step: Ticked) -> str:
    """What is happening, as HTML."""
    done, total, seconds = step
    if not total:
        return progress_bar("Measuring …")
    left = f", about {duration(seconds / done * (total - done))} to go" if done else ""
    return progress_bar(f"Measuring: {done:,} of {total:,} answers and texts, {duration(seconds)}{left}.", done, total)


def _heard() -> tuple[Any, ...]:
    """A click says at once that it was heard; the run begins when it is its turn."""
    return _named(measure=gr.update(interactive=False), status=progress_bar(texts.WAITING))


def _named(**updates: Any) -> tuple[Any, ...]:
    return tuple(updates.get(name, gr.skip()) for name in PARTS)
