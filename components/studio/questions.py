"""What a tab asks without running a model: (store, place) to plain values.

Knows the store and what a place means; no page. A question changes nothing, and nothing of a visitor is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from components.shared.store import ModelStore

from .by_chance import by_chance
from .facts import facts, solved
from .place import session_of

MOST_JOBS = 100
"""Runs that one tab can have under way."""


def questions(store: ModelStore) -> Mapping[str, Callable[[Any], Any]]:
    """By the names under which the browser asks them."""

    def stop(names: Any) -> bool:
        store.jobs.stop(str(name)[:100] for name in list(names)[:MOST_JOBS])
        return True

    return {
        "facts": lambda place: facts(session_of(store, place), store.limits.table_rows),
        "chance": lambda place: by_chance(store, session_of(store, place), begin=place.get("begin") is True),
        "solve": lambda place: solved(session_of(store, place)),
        "stop": stop,
        "ahead": lambda name: store.jobs.ahead(str(name)[:100]),
    }
