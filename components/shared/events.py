"""What every panel's wiring shares: the queues of events, how a run begins and stops, helpers around gradio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


MODEL: dict[str, Any] = {**QUIET, "concurrency_id": "model", "concurrency_limit": 1}


# Sweeps take the model in short parts, so that others go on; one visitor's at a time.
SWEEP: dict[str, Any] = {**QUIET, "concurrency_id": "sweep", "concurrency_limit": 1}


# What needs no model must not wait for those that do.
LOOK: dict[str, Any] = {**QUIET, "concurrency_id": "look", "concurrency_limit": 4}


# An upload takes the connection and not the model.
PUSH: dict[str, Any] = {**QUIET, "concurrency_id": "push", "concurrency_limit": 1}


# Nor does a download of a data set.
FETCH: dict[str, Any] = {**QUIET, "concurrency_id": "fetch", "concurrency_limit": 2}


RUN = "() => document.querySelector('#run').click()"


def apart(*events: Any) -> Callable[..., Any]:
    """Listens to `events` for one handler alone, to which "always_last" can then be said.

    Of a handler that was asked for while it ran, gradio tells the event again, to everybody who listens to it. Two that
    wait for their last value at one event would so start each other for as long as the page is open.
    """
    return gr.on([*events], None, js="() => {}", trigger_mode="multiple", **QUIET).success


def apart_custom(event: Any) -> Callable[..., Any]:
    """The same for an event of a gr.HTML's own script, which `gr.on` does not know."""
    return event(None, js="() => {}", trigger_mode="multiple", **QUIET).success


def ready_file(name: str) -> tuple[gr.DownloadButton, str]:
    """Where a file goes that is ready, hidden, and the `js` that fetches it: so one click of the visitor downloads.

    Each kind of file has its own: of two that are asked for at once the later would come twice, the other never.
    """
    file = gr.DownloadButton(visible="hidden", elem_id=f"file-{name}")
    return file, f"() => setTimeout(() => document.querySelector('#file-{name}')?.click(), 50)"


def named(stop: gr.Button, run: str, queue: str = "model") -> str:
    """The `js` of a run that `stop` ends: it gives the run a name, which the place takes to the server as its job.

    The place is the first input. One run of the same kind that is still under way is stopped: the new one replaces it.
    """
    begin = f"window.steer2edit?.begin?.('{stop.elem_id}', '{run}', '{queue}')"
    return f"(place, ...values) => [{{...place, job: {begin} || ''}}, ...values]"


def wire_stop(stop: gr.Button, **runs: Any) -> None:
    """`stop` ends the runs, which have `named` as `js`, and rests when all of them are over."""
    for name, run in runs.items():
        for over in (run.success, run.failure):  # a Stop counts as a failure
            over(None, js=ended(stop, name))
    stop.click(None, js=stops(stop))


def ended(stop: gr.Button, run: str) -> str:
    """The `js` that follows a run that `stop` could have ended."""
    return f"() => window.steer2edit?.ended?.('{stop.elem_id}', '{run}')"


def stops(stop: gr.Button) -> str:
    """The `js` that ends all runs of a Stop button."""
    return f"() => window.steer2edit?.stop?.('{stop.elem_id}')"


def fresh(make: Callable[[], Any]) -> gr.State:
    """A state that begins as `make()` in every tab.

    Set behind gradio's back, which would read a dataclass as JSON, and set what a function returns once more when the
    page has loaded, over what a quick visitor has changed meanwhile.
    """
    state = gr.State(None)
    state.value = lambda: make()
    return state


def spare_the_browser(demo: gr.Blocks, undrawn: Any) -> None:
    """Every event shows how it goes on a component that is not drawn; the page has progress and errors of its own.

    By default that is shown on the outputs, even where it is hidden: at each step of an event the browser then copies
    all that every component holds that was ever an output of any.
    """
    for event in demo.fns.values():
        event.show_progress_on = [undrawn]
