"""Wires the fold that brings a file: it is looked at when it arrives, and put on the page when it is used.

Knows gradio's events. What is done with a file is components/bring/handlers.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from components.page.changes import CHANGED, Page
from components.page.view import whole_view
from components.shared.errors import guarded
from components.shared.events import MODEL, QUIET, SESSION, apart, started, wire_stop
from components.shared.session import Session

from . import words as words
from .handlers import FromFile, adopted, home_of, inspected, prepared, title_of
from .panel import ImportPanel

KEPT = frozenset({"model", "behavior", "own", "prompt", "examples", "length", "gamma"})
"""What of the whole view a file does not change: the visitor's choice and prompts, unless it brings its behaviour."""


def wire_import(page: Page, panel: ImportPanel, names: Sequence[str]) -> None:
    """Everything in the fold. `names` are those of the whole view."""
    store, components, swap = page.store, page.named(), page.choose.swap
    names = [name for name in names if name != "swap"]
    pending = gr.State(None)  # what was read, until the page turns to it
    parts = [panel.read, panel.use, panel.texts, panel.opposite]

    def look(session: Session, path: str | None) -> tuple[Any, ...]:
        imported = inspected(store, session, path)
        home = home_of(store, session, imported)
        title = "" if home is None else store.behavior(home.behavior).title
        said = words.read_words(imported, session, title_of(store, session), title)
        return said, gr.update(interactive=True), *_questions(
            wants_texts=imported.directions is not None and imported.inputs is None,
            has_opposite=imported.directions is not None,
        )  # fmt: skip

    def use(session: Session, *form: Any) -> Iterator[tuple[Any, Any]]:
        for step in prepared(store, session, *form):
            # The page may still have to turn to what the run before has read.
            yield (step, gr.skip()) if isinstance(step, str) else (gr.skip(), step)

    def adopt(session: Session, given: FromFile, shown: Any, dtype: Any) -> tuple[Any, ...]:
        taken = adopted(store, session, given)
        view = whole_view(store, taken, shown, dtype)
        turned = gr.skip() if taken.origin is None else gr.update(value=False, interactive=False)
        if given.home is not None:
            turned = gr.update(value=taken.swapped, interactive=True)
        kept = KEPT if given.home is None else frozenset[str]()
        shown_parts = (gr.skip() if name in kept else view[name] for name in names)
        return taken, words.used_words(given.imported), turned, *shown_parts

    heard = panel.upload.upload(  # others may be before it
        lambda: _nothing(words.READING), None, parts, trigger_mode="always_last", **QUIET
    )
    arrived = heard.success(
        guarded(look), [page.session, panel.upload], parts, trigger_mode="always_last", **MODEL
    )  # fmt: skip
    arrived.failure(lambda: _nothing(words.NOTHING_READ), None, parts, **QUIET)
    panel.upload.clear(lambda: _nothing(""), None, parts, **QUIET)
    run = panel.use.click(
        guarded(use), [page.session, panel.upload, panel.texts, panel.opposite], [panel.read, pending],
        trigger_mode="once", js=started(panel.stop, "use"), **MODEL,
    )  # fmt: skip
    sides = [page.details.shown, page.take.dtype]
    done = run.success(
        guarded(adopt), [page.session, pending, *sides],
        [page.session, panel.read, swap, *(components[name] for name in names)],
        trigger_mode="always_last", **SESSION,
    )  # fmt: skip
    done.success(None, js=CHANGED)
    for failed in (run.failure, done.failure):  # also after Stop
        failed(lambda: words.NOT_USED, None, panel.read, **QUIET)
    wire_stop(panel.stop, {"use": run})
    # Directions out of a file have no sides to swap; any other choice has them again.
    apart(page.refresh.click)(
        guarded(lambda session: gr.update(interactive=session.origin is None)), page.session, swap,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip


def _nothing(said: str) -> tuple[Any, ...]:
    return said, gr.update(interactive=False), *_questions(wants_texts=False, has_opposite=False)


def _questions(*, wants_texts: bool, has_opposite: bool) -> tuple[Any, Any]:
    """What is asked about a file, unanswered."""
    return gr.update(visible=wants_texts, value=None), gr.update(visible=has_opposite, value=False)
