"""What a tab asks to run the model itself: directions, keys, how answers are judged, and the vectors of a fitted edit.

Knows the store and what a place means; no page. Where the model does not run in a browser, the answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from components.shared import texts
from components.shared.session import Session
from components.shared.store import ModelStore
from components.studio.facts import solved
from components.studio.place import session_of

from .behavior import behavior_data, own_data
from .files import runs_in_tab, turn
from .vectors import right_vectors, vectors

WORDS = ("ASKED", "ROLLS_ASKED", "ROLLS_COUNT", "ROLLS_GOOD", "ROLLS_TOKENS", "ROLLS_UNJUDGED", "ORIGINAL_COLUMN",
         "EDITED_COLUMN", "STEERED_COLUMN", "PROMPTED_COLUMN", "PLACEBO_COLUMN", "NO_SYSTEM_PROMPT")  # fmt: skip


def words() -> dict[str, str]:
    """Templates of what is said of texts and answers; see asking.js."""
    return {name: getattr(texts, name) for name in WORDS}


def tab_questions(store: ModelStore) -> Mapping[str, Callable[[Any], Any]]:
    """By the names under which the browser asks them; "solve" takes the place of the studio's."""

    def tab(place: Any) -> dict[str, Any] | None:
        session = session_of(store, place)
        return _tab(store, session) if _runs(store, session) else None

    def solve(place: Any) -> dict[str, Any]:
        session = session_of(store, place)
        right = {"right": right_vectors(session.edit)} if _runs(store, session) else {}
        return {**solved(session), **right}

    return {"tab": tab, "solve": solve}


def _runs(store: ModelStore, session: Session) -> bool:
    """Whether the tab can write what the server would; sides that are swapped are judged by the server alone."""
    return runs_in_tab(store.model(session.model)) and not session.swapped


def _tab(store: ModelStore, session: Session) -> dict[str, Any]:
    loaded, behavior = store.model(session.model), store.named_behavior(session.behavior)
    return {
        "vectors": vectors(session.scored.extraction),
        "words": words(),
        "turn": turn(loaded),
        "weights": loaded.fingerprint,
        "longest": store.limits.prompt_chars,
        **(own_data() if behavior is None else behavior_data(behavior)),
    }
