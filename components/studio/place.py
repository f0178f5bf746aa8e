"""The place of a tab as JSON and back: which model and examples, which settings, which file an edit came from.

Knows sessions, the store and the core's settings; no page. What a tab sends is the visitor's: whatever it names is
looked up anew, with the rules for what visitors may choose, and a wrong value is refused in a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.shared.choices import Choice, chosen_contrast, opened, strongest_few
from components.shared.session import OWN, Brought, Origin, Scored, Session
from components.shared.store import ModelStore
from s2e_core import EditSettings, SettingsError
from s2e_core.settings_json import settings_from_json, settings_to_json
from s2e_core.spec import ModelSpec

GONE = (
    "Your examples are no longer kept on this server, which forgets what was not used for long. Your settings are "
    "still here: press Extract to read the examples again."
)
FILE_GONE = "The file behind this edit is no longer kept on this server. Bring it again to go on."
UNREADABLE = "This page's address or its settings cannot be read. Choose a behaviour to start from."


def place_of(session: Session) -> dict[str, Any]:
    """The place of a session, for a tab that is to turn to it; `made` and `job` are the tab's own."""
    brought, origin = session.brought, session.origin
    return {
        "model": session.model,
        "behavior": session.behavior,
        "swapped": session.swapped,
        "key": session.scored.key,
        "settings": settings_to_json(session.settings),
        "file": None
        if brought is None
        else {"name": brought.name, "key": brought.key, "here": session.made_here(brought.edit)},
        "origin": None if origin is None else {"name": origin.name, "sentence": origin.sentence},
        "made": "",
        "job": "",
    }


def session_of(store: ModelStore, place: object) -> Session:
    """The session that a tab speaks of. What a server has forgotten and can make again, it makes again.

    Raises SettingsError for own examples or files that are no longer kept, and for a place that no page can have sent.
    """
    if not isinstance(place, Mapping):
        raise SettingsError(UNREADABLE)
    try:
        choice = Choice(_word(place["model"]), _word(place["behavior"]), bool(place["swapped"]))
        key, made = _word(place["key"]), _word(place.get("made", ""))
        origin, file = _origin(place.get("origin")), place.get("file")
        session = _start(store, choice, key, origin)
        settings = read_settings(place["settings"], session.scored.extraction.spec)
        brought = None if file is None else _brought(store, _word(file["key"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(UNREADABLE) from error
    return replace(session, settings=settings, brought=brought, made=made)


def read_settings(data: Mapping[str, Any], spec: ModelSpec) -> EditSettings:
    """Settings that a tab sends. Raises KeyError, TypeError or ValueError for what no dial can have made."""
    settings = settings_from_json(data, spec)
    if not all(map(math.isfinite, (settings.alpha, settings.strength))):
        raise ValueError("a number is not finite")
    return settings


def _start(store: ModelStore, choice: Choice, key: str, origin: Origin | None) -> Session:
    if origin is not None:
        scored = _kept(store, key)
        return Session.start(choice.model, choice.behavior, scored, strongest_few(scored), origin=origin)
    if choice.behavior == OWN:
        store.model(choice.model)  # a name that visitors may not choose is refused
        return opened(store, choice, _kept(store, key))
    contrast = chosen_contrast(store, choice)
    store.model(choice.model)
    return opened(store, choice, store.scored(choice.model, contrast, store.behavior(choice.behavior)))


def _kept(store: ModelStore, key: str) -> Scored:
    scored = store.kept_scored(key)
    if scored is None:
        raise SettingsError(GONE)
    return scored


def _brought(store: ModelStore, key: str) -> Brought:
    brought = store.kept_edit(key)
    if brought is None:
        raise SettingsError(FILE_GONE)
    return brought


def _origin(data: object) -> Origin | None:
    return Origin(_word(data["name"]), _word(data["sentence"])) if isinstance(data, Mapping) else None


def _word(value: object) -> str:
    if not isinstance(value, str) or len(value) > 2000:
        raise ValueError("a word is missing or too long")
    return value
