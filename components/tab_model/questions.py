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
from s2e_core import Behavior
from s2e_core.model import LoadedModel

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
    """Whether the tab can write what the server would."""
    return runs_in_tab(store.model(session.model))


def _tab(store: ModelStore, session: Session) -> dict[str, Any]:
    loaded, behavior = store.model(session.model), store.named_behavior(session.behavior)
    return {
        "vectors": vectors(session.scored.extraction),
        "words": words(),
        "turn": turn(loaded),
        "weights": loaded.fingerprint,
        "longest": store.limits.prompt_chars,
        **asked_data(loaded, behavior, session.swapped),
    }


def asked_data(loaded: LoadedModel, behavior: Behavior | None, swapped: bool) -> dict[str, Any]:
    """What is asked and how it is judged, with the sides perhaps swapped; None stands for a visitor's own examples.

    "system" is the turn of the chat template with the behaviour's system prompt, null if there is none for these sides.
    """
    if behavior is None:
        return {**own_data(), "swapped": swapped, "system": None}
    sides = (behavior.positive, behavior.negative)
    has_system = behavior.system_prompt and not swapped
    return {
        **behavior_data(behavior),
        "positive": sides[swapped],
        "negative": sides[not swapped],
        "swapped": swapped,
        "system": turn(loaded, behavior.system_prompt) if has_system else None,
    }
