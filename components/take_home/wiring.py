"""Wires the downloads: their sizes while the dials rest, and one click for each file; and the push.

Knows gradio's events. How a file is made and checked is components/take_home/handlers.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from components.page.parts import Page
from components.page.view import resting_view
from components.shared import texts
from components.shared.events import LOOK, MODEL, QUIET, apart, apart_custom, named, ready_file, wire_stop
from components.shared.session import Session
from components.studio.by_chance import known_chance
from s2e_core.export import ExportDtype

from .handlers import exported, file_stem, new_folder
from .push_wiring import wire_push
from .table import ranked_table

ALL_ROWS = 1_000_000
"""More than a model has components, but for the largest mixtures of experts."""
RESTING = ("report", "checkpoint", "adapter", "gguf_lora", "mlx", "recipe", "as_python", "as_command")
"""What follows when the dials rest."""


def wire_take_home(page: Page) -> None:
    """Everything in the panel."""
    take, store, components = page.take, page.store, page.named()
    reported = gr.State("")  # which edit the report is about

    def rest(session: Session, dtype: ExportDtype, reported: str) -> tuple[Any, ...]:
        view = resting_view(store, session, dtype, reported=reported)
        return tuple(view[name] for name in RESTING)

    def send(kind: str, session: Session, dtype: ExportDtype, gamma: float | None) -> Iterator[tuple[Any, Any, str]]:
        for step in exported(store, session, "control-vector" if kind == "vector" else kind, dtype, gamma):
            report, file = (step, gr.skip()) if isinstance(step, str) else (step.report, str(step.path))
            yield report, file, session.made

    for listen in (apart_custom(page.place.rested), apart(take.dtype.input)):
        listen(
        page.asks(rest), [page.place, take.dtype, reported], [components[name] for name in RESTING],
        trigger_mode="always_last", **LOOK,
    )  # fmt: skip

    def sending(kind: str) -> Callable[..., Iterator[Any]]:
        def steps(session: Session, dtype: ExportDtype, gamma: float | None) -> Iterator[Any]:
            yield from send(kind, session, dtype, gamma)

        return steps

    sends = {}
    for button, kind in (
        (take.checkpoint, "checkpoint"), (take.adapter, "adapter"), (take.gguf_lora, "gguf-lora"),
        (take.mlx, "mlx"), (take.recipe, "recipe"), (take.control_vector, "vector"),
    ):  # fmt: skip
        file, fetch = ready_file(kind)
        outputs = [take.report, file, reported]
        sent = button.click(
            page.asks(sending(kind)),
            [page.place, take.dtype, page.compare.gamma],
            outputs,
            js=named(take.stop, kind),
            **MODEL,
        )
        sent.success(None, js=fetch)
        sent.failure(lambda: texts.NO_FILE, None, take.report, **QUIET)
        sends[kind] = sent
    wire_stop(take.stop, **sends)
    _wire_csv(page)
    if take.push is not None:
        wire_push(page, take.push)


def _wire_csv(page: Page) -> None:
    """The figures of all components as a table."""
    file, fetch = ready_file("components")

    def send(session: Session) -> str:
        path = new_folder(page.store) / f"{file_stem(session)}-components.csv"
        ranked_table(session, "all", ALL_ROWS, known_chance(page.store, session)).to_csv(path, index=False)
        return str(path)

    sent = page.take.components_csv.click(page.asks(send), page.place, file, **LOOK)
    sent.success(None, js=fetch)
