"""Wires the why: a component that is looked at, where the texts part, the causal map. What runs is in handlers.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.compare.handlers import Request
from components.page.parts import Page
from components.shared.events import MODEL, SWEEP, named, wire_stop
from components.shared.session import Session

from .handlers import Studies, caused, looked_at, parted
from .panel import WhyPanel


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
