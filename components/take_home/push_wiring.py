"""Wires the fold that sends an export to the Hub; the token's field is emptied as soon as a push begins.

Knows gradio's events. What a push does is components/take_home/push_handlers.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.page.parts import Page
from components.shared.events import PUSH, QUIET, named, wire_stop
from components.shared.session import Session
from s2e_core.export import ExportDtype

from . import push_words as words
from .push_handlers import Form, pushed
from .push_panel import PushPanel


def wire_push(page: Page, panel: PushPanel) -> None:
    """Everything in the fold."""
    outputs = [panel.token, panel.status]

    def send(
        session: Session,
        repository: str,
        what: Any,
        private: bool,
        dtype: ExportDtype,
        gamma: float | None,
        token: str,
    ) -> Iterator[tuple[str, str]]:
        yield "", words.writing(0, 0)
        form = Form(repository or "", "adapter" if what == "adapter" else "checkpoint", bool(private), dtype, gamma)
        for said in pushed(page.store, session, form, token):
            yield "", said

    run = panel.push.click(
        page.asks(send),
        [page.place, panel.repository, panel.what, panel.private, page.take.dtype, page.compare.gamma, panel.token],
        outputs,
        trigger_mode="once",
        js=named(panel.stop, "push", "push"),
        **PUSH,
    )
    run.failure(lambda: ("", words.NOT_PUSHED), None, outputs, **QUIET)  # also after Stop
    wire_stop(panel.stop, push=run)
