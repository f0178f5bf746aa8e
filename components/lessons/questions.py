"""What a lesson asks the server without running a model: the sides of its behaviour, and the rooms of a class.

Knows the store and what a place means; no page. Whatever a tab sends is checked for kind and size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.shared.session import OWN, Session
from components.shared.store import ModelStore
from components.studio.place import session_of
from s2e_core import Behavior, BehaviorError, SettingsError
from s2e_core.data import NEUTRAL, choose_behaviors_folder, read_harmless
from s2e_core.measure import is_utility, row_for

from .rooms import LONGEST_NAME, MOST_OPTIONS, Rooms

LESSONS = 5
UNREADABLE = "This question of a lesson cannot be read. Reload the page."


def lesson_questions(store: ModelStore) -> Mapping[str, Callable[[Any], Any]]:
    """By the names under which the browser asks them; the rooms live as long as the page."""
    rooms = Rooms()
    return {
        "about": lambda place: about(store, session_of(store, place)),
        "open_room": lambda asked: rooms.open(_whole(asked, "lesson", LESSONS + 1)),
        "look": lambda asked: rooms.look(_code(asked), _word(asked, "step")),
        "predict": lambda asked: rooms.predict(
            _code(asked), _word(asked, "step"), _word(asked, "voter"), _whole(asked, "option", MOST_OPTIONS)
        ),
        "reveal": lambda asked: rooms.reveal(_code(asked), _word(asked, "step"), _word(asked, "key")),
    }


def about(store: ModelStore, session: Session) -> dict[str, Any]:
    """The sides of what is on the page, the prompts on which it shows, and a harmless one that nothing is fitted on."""
    if session.behavior == OWN:
        return {"measure": "none"}
    behavior = store.behavior(session.behavior)
    sides = (behavior.positive, behavior.negative)
    prompts = [prompt for prompt in behavior.examples if _kind(behavior, prompt)]
    if not prompts:
        return {"measure": "none"}
    first, *others = prompts
    return {
        "measure": "length" if _kind(behavior, first) == "length" else "answers",
        "title": behavior.title,
        "positive": sides[session.swapped],
        "negative": sides[not session.swapped],
        "prompt": first,
        "prompts": [first, *(prompt for prompt in others if not is_utility(behavior, prompt))],
        "harmless": _harmless(behavior, store.model(session.model).source),
        "gamma": behavior.gamma,
    }


def _kind(behavior: Behavior, prompt: str) -> str:
    """How answers to a prompt are scored; empty where only who knows the facts can judge them."""
    try:
        return str(row_for(behavior, prompt)["kind"])
    except BehaviorError:
        return ""


def _harmless(behavior: Behavior, model: Path | None) -> str:
    """A neutral prompt of the model's world. Sums have answers too short to change, and the prompts of the behaviour's
    own utility are judged by another measure."""
    own = {row["prompt"] for row in behavior.utility}
    prompts = [example.prompt for example in read_harmless(choose_behaviors_folder(model) / NEUTRAL)]
    words = [prompt for prompt in prompts if prompt not in own and not any(letter.isdigit() for letter in prompt)]
    return (words or prompts)[0]


def _word(asked: Any, name: str) -> str:
    word = asked.get(name) if isinstance(asked, Mapping) else None
    if not isinstance(word, str) or not 0 < len(word) <= LONGEST_NAME:
        raise SettingsError(UNREADABLE)
    return word


def _code(asked: Any) -> str:
    """A code as somebody has typed it: small letters, a space or a dash in the middle."""
    return "".join(letter for letter in _word(asked, "code").upper() if letter.isalnum())


def _whole(asked: Any, name: str, end: int) -> int:
    number = asked.get(name) if isinstance(asked, Mapping) else None
    if type(number) is not int or not 0 <= number < end:
        raise SettingsError(UNREADABLE)
    return number
