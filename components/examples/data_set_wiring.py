"""Wires the field for a data set of the Hub: its file takes the place of an uploaded one.

Knows gradio's events. How it is downloaded is data_set.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from components.page.parts import Page
from components.shared import data_words as words
from components.shared.events import FETCH, QUIET, named, wire_stop
from components.shared.progress import progress_bar

from .data_set import Fetched, fetched
from .data_set_panel import DataSetPanel


def wire_data_set(page: Page, panel: DataSetPanel) -> None:
    """Everything in the row; a file that has come is shown in the first field for files, and read from there."""
    data = page.choose.data

    def fetch(place: Any, name: str | None) -> Iterator[tuple[Any, ...]]:
        for step in fetched(page.store, name):
            if isinstance(step, Fetched):
                yield str(step.path), None, progress_bar(step.sentence)
            else:
                done, total = step
                said = words.FETCHING.format(done / 1e6, total / 1e6) if total else words.WAITING_FOR_HUB
                yield gr.skip(), gr.skip(), progress_bar(said, done, total)

    run = panel.fetch.click(
        page.runs(fetch), [page.place, panel.name], [data.file, data.second, panel.status], trigger_mode="once",
        js=named(panel.stop, "fetch", "fetch"), **FETCH,
    )  # fmt: skip
    run.failure(lambda: progress_bar(words.NOT_FETCHED), None, panel.status, **QUIET)  # also after Stop
    wire_stop(panel.stop, fetch=run)
    panel.name.submit(None, js="() => document.querySelector('#fetch').click()")
