"""Wires the why: a component that is looked at, where the texts part, the causal map, what stands beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from components.compare.handlers import Request
from components.page.parts import Page
from components.shared.events import MODEL, QUIET, SWEEP, named, wire_stop
from components.shared.progress import progress_bar
from components.shared.session import Session
from components.studio.place import place_of

from . import words
from .beside import neighbours, refusals
from .checkpoints import Chosen, checkpoints_opened, with_nearest, with_own
from .handlers import Studies, caused, looked_at, parted
from .panel import BesidePanel, TwoPanel, WhyPanel


def wire_why(page: Page, panel: WhyPanel) -> None:
    store, compare, studies = page.store, page.compare, Studies()

    def look(session: Session, number: float, text: str) -> Iterator[Any]:
        for value in looked_at(store, studies, session, number, text):
            yield {**value, "edit": session.made}

    def part(session: Session, *values: Any) -> Iterator[Any]:
        for value in parted(store, session, Request(*values)):
            yield {**value, "edit": session.made}

    def cause(session: Session) -> Iterator[Any]:
        yield from caused(store, session)

    looked = panel.ask.click(
        page.asks(look), [page.place, panel.number, panel.text], panel.card, trigger_mode="multiple",
        js=f"(...values) => ({named(panel.stop, 'why')})(values[0], ...window.steer2edit.asked())", **MODEL,
    )  # fmt: skip
    wire_stop(panel.stop, why=looked)
    asked = [compare.prompt, compare.length, compare.temperature, compare.seed]
    parting = panel.part.click(
        page.asks(part), [page.place, *asked], panel.strip, trigger_mode="multiple",
        js=named(compare.stop, "part"), **MODEL,
    )  # fmt: skip
    wire_stop(compare.stop, part=parting)
    mapped = panel.map_run.click(
        page.asks(cause), page.place, [panel.map_status, panel.map], js=named(panel.map_stop, "map", "sweep"), **SWEEP
    )
    wire_stop(panel.map_stop, map=mapped)
    _wire_beside(page, panel.beside)
    _wire_two(page, panel.two)


def _wire_beside(page: Page, panel: BesidePanel) -> None:
    """What stands beside the edit."""
    store = page.store

    def look(session: Session) -> Iterator[Any]:
        for told, value in neighbours(store, session):
            yield told, gr.skip() if value is None else {**value, "edit": session.made}

    def ask(session: Session) -> Iterator[Any]:
        for told, value in refusals(store, session):
            yield told, gr.skip() if value is None else {**value, "edit": session.made}

    looked = panel.run.click(
        page.asks(look), page.place, [panel.status, panel.drawn], js=named(panel.stop, "beside"), **MODEL
    )
    asked = panel.ask.click(
        page.asks(ask), page.place, [panel.status, panel.rates], js=named(panel.stop, "refusals", "sweep"), **SWEEP
    )
    for one in (looked, asked):
        one.failure(lambda: "", None, panel.status, **QUIET)
    wire_stop(panel.stop, beside=looked, refusals=asked)


def _wire_two(page: Page, panel: TwoPanel) -> None:
    """Two checkpoints."""
    store = page.store

    def compare(session: Session, model: str | None, files: Any) -> Iterator[Any]:
        for told, value in checkpoints_opened(store, session, Chosen.of(model, files)):
            yield told, gr.skip() if value is None else value

    def load(session: Session, value: Any) -> tuple[Any, ...]:
        return place_of(with_nearest(session, value)), progress_bar(words.TWO_LOADED)

    def load_own(session: Session, value: Any) -> tuple[Any, ...]:
        loaded = with_own(store, session, value)
        return {**place_of(loaded), "mode": "lambda"}, progress_bar(words.TWO_LOADED)

    compared = panel.run.click(
        page.asks(compare), [page.place, panel.model, panel.files], [panel.status, panel.drawn],
        js=named(panel.stop, "two", "sweep"), **SWEEP,
    )  # fmt: skip
    compared.failure(lambda: "", None, panel.status, **QUIET)
    wire_stop(panel.stop, two=compared)
    for button, handler in ((panel.load, load), (panel.load_own, load_own)):
        button.click(page.asks(handler), [page.place, panel.drawn], [page.place, panel.status], **QUIET)
