"""Wires the fold that brings a file: it is looked at when it arrives, and put on the page when it is used.

Knows gradio's events. What is done with a file is components/bring/handlers.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from components.page.parts import Page
from components.page.view import opening_view
from components.shared.events import MODEL, QUIET, apart, named, wire_stop
from components.shared.session import Session
from s2e_core.interop import OpenLayers

from . import words as words
from .handlers import FromFile, adopted, home_of, inspected, layer_choice, place_below, prepared, title_of
from .panel import ImportPanel

VIEW = ("place", "status", "prompt", "examples", "length", "gamma", "model", "behavior", "swap", "own")
"""What of the page a file may change."""
KEPT = frozenset({"model", "behavior", "own", "prompt", "examples", "length", "gamma"})
"""What of the page a file does not change: the visitor's choice and prompts, unless it brings its behaviour."""


def wire_import(page: Page, panel: ImportPanel) -> None:
    """Everything in the fold."""
    store, components = page.store, page.named()
    names = [name for name in VIEW if name in components]
    parts = [panel.read, panel.use, panel.texts, panel.opposite, panel.layer, panel.skip_first]

    def look(session: Session, path: str | None, layer: float | None, skip_first: bool) -> tuple[Any, ...]:
        try:
            imported = inspected(store, session, path, layer_choice(layer, skip_first))
        except OpenLayers as question:
            said = words.open_words(Path(path or "").name, str(question))
            return said, gr.update(interactive=False), *_hidden(), *_layer_fields(question.needs)
        home = home_of(store, session, imported)
        title = "" if home is None else store.behavior(home.behavior).title
        said = words.read_words(imported, session, title_of(store, session), title)
        return said, gr.update(interactive=True), *_questions(
            wants_texts=imported.directions is not None and imported.inputs is None,
            has_opposite=imported.directions is not None,
        ), gr.skip(), gr.skip()  # fmt: skip

    def use(session: Session, *form: Any) -> Iterator[tuple[Any, ...]]:
        for step in prepared(store, session, *form):
            if isinstance(step, str):
                yield step, *(gr.skip() for _ in names)
            else:
                yield adopt(session, step)

    def adopt(session: Session, given: FromFile) -> tuple[Any, ...]:
        taken = adopted(store, session, given)
        view = opening_view(store, taken)
        if (below := place_below(store, taken, given.imported)) is not None:
            view["place"] = {**view["place"], "under": below}
        if taken.brought is not None and not session.made_here(taken.brought.edit):
            # Of other directions: the pictures show the edit, not the alignment of this behaviour.
            view["place"] = {**view["place"], "mode": "lambda"}
        kept = KEPT if given.home is None else frozenset[str]()
        return words.used_words(given.imported), *(gr.skip() if name in kept else view[name] for name in names)

    heard = panel.upload.upload(  # others may be before it
        lambda: _nothing(words.READING), None, parts, trigger_mode="always_last", **QUIET
    )
    arrived = heard.success(
        page.asks(look), [page.place, panel.upload, panel.layer, panel.skip_first], parts, trigger_mode="always_last",
        **MODEL,
    )  # fmt: skip
    apart(panel.layer.submit, panel.layer.blur, panel.skip_first.input)(
        page.asks(look), [page.place, panel.upload, panel.layer, panel.skip_first], parts, trigger_mode="always_last",
        **MODEL,
    )  # fmt: skip
    arrived.failure(lambda: _nothing(words.NOTHING_READ), None, parts, **QUIET)
    panel.upload.clear(lambda: _nothing(""), None, parts, **QUIET)
    run = panel.use.click(
        page.asks(use), [page.place, panel.upload, panel.texts, panel.opposite, panel.layer, panel.skip_first],
        [panel.read, *(components[name] for name in names)],
        trigger_mode="once", js=named(panel.stop, "use"), **MODEL,
    )  # fmt: skip
    run.failure(lambda: words.NOT_USED, None, panel.read, **QUIET)  # also after Stop
    wire_stop(panel.stop, use=run)


def _nothing(said: str) -> tuple[Any, ...]:
    return said, gr.update(interactive=False), *_hidden(), *_layer_fields(None)


def _hidden() -> tuple[Any, Any]:
    return _questions(wants_texts=False, has_opposite=False)


def _layer_fields(needs: str | None) -> tuple[Any, Any]:
    """The fields for the layers of a vector: the one that is needed, or neither and both as they were at first."""
    if needs is None:
        return gr.update(visible=False, value=None), gr.update(visible=False, value=False)
    return (gr.update(visible=True), gr.skip()) if needs == "layer" else (gr.skip(), gr.update(visible=True))


def _questions(*, wants_texts: bool, has_opposite: bool) -> tuple[Any, Any]:
    """What is asked about a file, unanswered."""
    return gr.update(visible=wants_texts, value=None), gr.update(visible=has_opposite, value=False)
