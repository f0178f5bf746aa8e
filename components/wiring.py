"""What all wiring shares: the panels of a page by name, and how a change of the session reaches the whole page.

Knows gradio's events. A change is (session, inputs) -> session; what the page then shows is components/page_view.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import gradio as gr

from .choose_panel import ChoosePanel
from .compare_panel import ComparePanel
from .detail_panel import DetailPanel
from .handlers import guarded
from .page_view import DIALS, is_shown, page_view
from .see_panel import SeePanel
from .session import Session
from .set_panel import SetPanel
from .store import ModelStore
from .take_home_panel import TakeHomePanel

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# Changes of a session come one after the other, or they would overwrite each other; so do runs of the model.
SESSION: dict[str, Any] = {**QUIET, "concurrency_id": "session", "concurrency_limit": 1}
MODEL: dict[str, Any] = {**QUIET, "concurrency_id": "model", "concurrency_limit": 1}
# Sweeps take the model in short parts, so that others go on; one visitor's at a time.
SWEEP: dict[str, Any] = {**QUIET, "concurrency_id": "sweep", "concurrency_limit": 1}
# What is said of examples changes no session, and must not wait for those that do.
LOOK: dict[str, Any] = {**QUIET, "concurrency_id": "look", "concurrency_limit": 1}
# An upload takes the connection and not the model.
PUSH: dict[str, Any] = {**QUIET, "concurrency_id": "push", "concurrency_limit": 1}
CHANGED = "() => window.steer2edit.changed()"
SETTLED = "() => window.steer2edit?.settled()"
BROKEN = "() => window.steer2edit.broken()"
FIGURES = ("heads", "neurons", "summary", "inspector", "undo", "redo", "preset")
"""What every dial changes."""
RUN = "() => document.querySelector('#run').click()"


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


def apart(*events: Any) -> Callable[..., Any]:
    """Listens to `events` for one handler alone, to which "always_last" can then be said.

    Of a handler that was asked for while it ran, gradio tells the event again, to everybody who listens to it. Two that
    wait for their last value at one event would so start each other for as long as the page is open.
    """
    return gr.on([*events], None, js="() => {}", trigger_mode="multiple", **QUIET).success


def ready_file(name: str) -> tuple[gr.DownloadButton, str]:
    """Where a file goes that is ready, hidden, and the `js` that fetches it: so one click of the visitor downloads.

    Each kind of file has its own: of two that are asked for at once the later would come twice, the other never.
    """
    file = gr.DownloadButton(visible="hidden", elem_id=f"file-{name}")
    return file, f"() => setTimeout(() => document.querySelector('#file-{name}')?.click(), 50)"


def started(stop: gr.Button, run: str) -> str:
    """The `js` of a run that `stop` ends: it can be pressed from the click on, while the run waits for its turn.

    Runs also where the page's script did not load.
    """
    return f"(...values) => {{ window.steer2edit?.started('{stop.elem_id}', '{run}'); return values; }}"


def wire_stop(stop: gr.Button, runs: Mapping[str, Any]) -> None:
    """`stop` ends the runs, which have `started` of their names as `js`, and rests when all of them are over."""
    for name, run in runs.items():
        for over in (run.success, run.failure):  # a Stop counts as a failure
            over(None, js=f"() => window.steer2edit?.ended('{stop.elem_id}', '{name}')")
    stop.click(None, None, None, cancels=[*runs.values()], **QUIET)


def fresh(make: Callable[[], Any]) -> gr.State:
    """A state that begins as `make()` in every tab.

    Set behind gradio's back, which would read a dataclass as JSON, and set what a function returns once more when the
    page has loaded, over what a quick visitor has changed meanwhile.
    """
    state = gr.State(None)
    state.value = lambda: make()
    return state


def spare_the_browser(demo: gr.Blocks, undrawn: gr.State) -> None:
    """Every event shows how it goes on a component that is not drawn; the page has progress and errors of its own.

    By default that is shown on the outputs, even where it is hidden: at each step of an event the browser then copies
    all that every component holds that was ever an output of any, most of what a move of a dial would take.
    """
    for event in demo.fns.values():
        event.show_progress_on = [undrawn]
