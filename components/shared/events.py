"""What every panel's wiring shares: the queues of events, and helpers that work around gradio's habits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

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


RUN = "() => document.querySelector('#run').click()"


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
