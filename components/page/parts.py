"""What all wiring shares: the panels of a page by name, and how what a tab sends becomes a session.

Knows sessions and the store; gradio's events are wired by the panels.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

from components.choose.panel import ChoosePanel
from components.compare.panel import ComparePanel
from components.shared.errors import guarded
from components.shared.store import ModelStore
from components.studio.panel import StudioPanel
from components.studio.place import session_of
from components.take_home.panel import TakeHomePanel

BROKEN = "() => window.steer2edit?.broken?.()"


@dataclass(frozen=True, eq=False)
class Page:
    store: ModelStore
    studio: StudioPanel
    choose: ChoosePanel
    compare: ComparePanel
    take: TakeHomePanel

    @property
    def place(self) -> Any:
        """Where the tab keeps its edit: the first input of every event that asks about it."""
        return self.studio.place

    def named(self) -> dict[str, Any]:
        """The components that a view's names stand for."""
        panels = (self.choose, self.compare, self.take)
        named = {name: component for panel in panels for name, component in vars(panel).items()}
        return {**named, "place": self.place}

    def asks(self, handler: Callable[..., Any], *, after_failure: bool = False) -> Callable[..., Any]:
        """A handler of (session, values) as one of (place, values); a stream ends as soon as its job is stopped."""

        @wraps(handler)
        def plain(place: Any, *values: Any) -> Any:
            return handler(session_of(self.store, place), *values)

        if inspect.isgeneratorfunction(handler):
            return self.runs(plain, after_failure=after_failure)
        return guarded(plain, after_failure=after_failure)

    def runs(self, handler: Callable[..., Any], *, after_failure: bool = False) -> Callable[..., Any]:
        """A stream of (place, values) that ends as soon as its job is stopped, for what can do without a session."""

        @wraps(handler)
        def streaming(place: Any, *values: Any) -> Generator[Any, None, None]:
            yield from self.store.jobs.watch(_job(place), lambda: handler(place, *values))

        return guarded(streaming, after_failure=after_failure)


def _job(place: Any) -> str:
    return str(place.get("job", ""))[:100] if isinstance(place, Mapping) else ""
