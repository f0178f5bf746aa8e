"""Wires the downloads: their sizes while the dials rest, and one click for each file; and the push.

Knows gradio's events. How a file is made and checked is components/take_home/handlers.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from components.page.changes import Page
from components.page.view import resting_view
from components.select.table import Shown
from components.shared import texts
from components.shared.errors import guarded
from components.shared.events import MODEL, QUIET, SESSION, apart, ready_file, started, wire_stop
from components.shared.session import Session
from s2e_core.export import ExportDtype

from .handlers import exported
from .push_wiring import wire_push


def wire_take_home(page: Page, first: Session) -> None:
    """Everything in the panel. `first` is the session a new tab starts with."""
    take, store, components = page.take, page.store, page.named()
    names = list(resting_view(store, first, "all", "stored"))
    reported = gr.State(0)  # which edit the report is about

    def rest(session: Session, shown: Shown, dtype: ExportDtype, reported: int) -> tuple[Any, ...]:
        view = resting_view(store, session, shown, dtype, reported=reported)
        return tuple(view[name] for name in names)

    def send(kind: str, session: Session, dtype: ExportDtype) -> Iterator[tuple[Any, Any, int]]:
        for step in exported(store, session, kind, dtype):
            report, file = (step, gr.skip()) if isinstance(step, str) else (step.report, str(step.path))
            yield report, file, session.made

    apart(page.refresh.click, page.details.shown.input, take.dtype.input)(
        guarded(rest),
        [page.session, page.details.shown, take.dtype, reported], [components[name] for name in names],
        trigger_mode="always_last", **SESSION,
    )  # fmt: skip
    sends = {}
    for button, kind in (
        (take.checkpoint, "checkpoint"), (take.adapter, "adapter"), (take.recipe, "recipe"),
        (take.control_vector, "control-vector"),
    ):  # fmt: skip
        file, fetch = ready_file(kind)
        outputs = [take.report, file, reported]
        sent = button.click(
            guarded(partial(send, kind)), [page.session, take.dtype], outputs, js=started(take.stop, kind), **MODEL
        )
        sent.success(None, js=fetch)
        sent.failure(lambda: texts.NO_FILE, None, take.report, **QUIET)
        sends[kind] = sent
    wire_stop(take.stop, sends)
    if take.push is not None:
        wire_push(page, take.push)
