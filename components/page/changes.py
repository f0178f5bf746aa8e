"""What all wiring shares: the panels of a page by name, and how a change of the session reaches the whole page.

Knows gradio's events. A change is (session, inputs) -> session; what the page then shows is components/page/view.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import gradio as gr

from components.choose.panel import ChoosePanel
from components.compare.panel import ComparePanel
from components.select.detail_panel import DetailPanel
from components.select.see_panel import SeePanel
from components.select.set_panel import SetPanel
from components.shared.errors import guarded
from components.shared.events import SESSION, apart
from components.shared.session import Session
from components.shared.store import ModelStore
from components.take_home.panel import TakeHomePanel

from .view import DIALS, is_shown, page_view

CHANGED = "() => window.steer2edit.changed()"
SETTLED = "() => window.steer2edit?.settled()"
BROKEN = "() => window.steer2edit.broken()"
FIGURES = ("heads", "neurons", "summary", "inspector", "undo", "redo", "preset")
"""What every dial changes."""


@dataclass(frozen=True, eq=False)
class Page:
    store: ModelStore
    session: gr.State
    choose: ChoosePanel
    see: SeePanel
    dials: SetPanel
    compare: ComparePanel
    details: DetailPanel
    take: TakeHomePanel
    refresh: gr.Button

    def named(self) -> dict[str, Any]:
        """The components that a view's names stand for."""
        panels = (self.choose, self.compare, self.take, self.details, self.see, self.dials)
        return {name: component for panel in panels for name, component in vars(panel).items()}


class Changes:
    """Wires (session, inputs) -> session, followed by the view of the whole page."""

    def __init__(self, page: Page, first: Session) -> None:
        self.page, self.components = page, page.named()
        self.names = list(page_view(first))

    def on(self, trigger: Any, change: Callable[..., Session], inputs: Sequence[Any] = ()) -> None:
        """Of events that come while one is handled, the last counts."""
        self._wire(partial(gr.on, trigger), shown_after(change, self.names), inputs, self.names, "always_last")

    def step(self, trigger: Any, change: Callable[[Session], Session]) -> None:
        """Every event counts: what it does depends on how often it comes."""
        self._wire(partial(gr.on, trigger), shown_after(change, self.names), [], self.names, "multiple")

    def on_event(self, trigger: Any, change: Callable[..., Session], inputs: Sequence[Any] = ()) -> None:
        """(session, event data, inputs) -> session; every event counts, so none is dropped for a later one."""
        handler = shown_after(change, self.names)

        def handle(session: Session, event: gr.EventData, *values: Any) -> tuple[Any, ...]:
            return handler(session, event._data, *values)

        self._wire(trigger, handle, inputs, self.names, "multiple")

    def dial(self, dial: Any, change: Callable[..., Session], follow: Sequence[str] = ()) -> None:
        """A dial and the names of those that follow it: the browser pays for every component that is sent. The dial
        itself must not be set while it moves. `.input` and not `.change`: what the page sets by itself is no move."""
        names = [*FIGURES, *follow]
        # Where the person left it: what the page shows may be another's answer by the time that gradio sends it.
        left = f"(session, value) => [session, window.steer2edit?.left?.('{dial.elem_id}', value) ?? value]"
        listen = partial(gr.on, dial.input, js=left)
        self._wire(listen, shown_after(change, names), [dial], names, "always_last")

    def settle(self) -> None:
        """When the dials rest, a page that is not the session's is sent again.

        Answers to events that come close together reach the browser in any order, and another's may set a dial while
        it moves, which its own does not.
        """
        session, shown = self.page.session, [self.components[name] for name in ("summary", *DIALS)]

        def handle(session: Session, summary: str | None, *values: Any) -> tuple[Any, ...]:
            view = {} if is_shown(session, summary, values) else page_view(session)
            return tuple(view.get(name, gr.skip()) for name in self.names)

        run = apart(self.page.refresh.click)(
            guarded(handle), [session, *shown], [self.components[name] for name in self.names],
            trigger_mode="always_last", preprocess=False, **SESSION,
        )  # fmt: skip
        run.success(None, js=SETTLED)

    def _wire(
        self, listen: Callable[..., Any], handle: Callable[..., tuple[Any, ...]],
        inputs: Sequence[Any], names: Sequence[str], trigger_mode: Literal["always_last", "multiple"],
    ) -> None:  # fmt: skip
        session = self.page.session
        outputs = [session, *(self.components[name] for name in names)]
        run = listen(guarded(handle), [session, *inputs], outputs, trigger_mode=trigger_mode, **SESSION)
        run.success(None, js=CHANGED)
        # A refused value must not stay on the page, the dial that was moved included.
        whole = [session, *(self.components[name] for name in self.names)]
        run.failure(guarded(shown_after(lambda kept: kept, self.names), after_failure=True), session, whole, **SESSION)


def shown_after(change: Callable[..., Session], names: Sequence[str]) -> Callable[..., tuple[Any, ...]]:
    """(session, inputs) -> the changed session and the named parts of its view."""

    def handle(session: Session, *values: Any) -> tuple[Any, ...]:
        changed = change(session, *values)
        view = page_view(changed)
        return changed, *(view[name] for name in names)

    return handle
