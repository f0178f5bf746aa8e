"""The place of a tab as JSON and back: which model and examples, which settings, which file an edit came from.

Knows sessions, the store and the core's settings; no page. What a tab sends is the visitor's: whatever it names is
looked up anew, with the rules for what visitors may choose, and a wrong value is refused in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.shared.choices import Choice, choice_behind, chosen_contrast, opened, strongest_few
from components.shared.session import OWN, Brought, Origin, Scored, Session, Under
from components.shared.store import ModelStore
from s2e_core import EditSettings, SettingsError
from s2e_core.settings_json import settings_from_json, settings_to_json
from s2e_core.spec import ModelSpec

GONE = (
    "Your examples are no longer kept on this server, which forgets what was not used for long. Your settings are "
    "still here: press Read examples to read them again."
)
FILE_GONE = "The file behind this edit is no longer kept on this server. Bring it again to go on."
LARGEST, SMALLEST = 1e6, 1e-9
"""Multiplier and rho that are still read; beyond them an edit would overflow."""
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
        brought = None if file is None else _brought(store, session.model, _word(file["key"]))
        under = _under(store, session.model, place.get("under"))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SettingsError(UNREADABLE) from error
    return replace(session, settings=settings, brought=brought, made=made, under=under)


def read_settings(data: Mapping[str, Any], spec: ModelSpec) -> EditSettings:
    """Settings that a tab sends. Raises LookupError, TypeError or ValueError for what no dial can have made."""
    settings = settings_from_json(data, spec)
    factors = [settings.strength, *settings.strengths.values()]
    if settings.gate is not None:
        factors += [settings.gate.gamma, settings.gate.mu]
    rhos = [rho for rho in (settings.rho_attn, settings.rho_mlp) if rho is not None]
    if max(factors) > LARGEST or min(rhos, default=1.0) < SMALLEST:
        raise ValueError("a strength is beyond what float32 holds")
    return settings


def _start(store: ModelStore, choice: Choice, key: str, origin: Origin | None) -> Session:
    if origin is not None:
        store.named_behavior(choice.behavior)  # an unknown name is refused
        scored = _kept(store, choice.model, key)
        return Session.start(choice.model, choice.behavior, scored, strongest_few(scored), origin=origin)
    if choice.behavior == OWN:
        return opened(store, choice, _kept(store, choice.model, key))
    contrast = chosen_contrast(store, choice)
    store.model(choice.model)
    return opened(store, choice, store.scored(choice.model, contrast, store.behavior(choice.behavior)))


def _kept(store: ModelStore, model: str, key: str) -> Scored:
    """An extraction of a model; a model that visitors may not choose is refused."""
    scored, weights = store.kept_scored(key), store.model(model).fingerprint
    if scored is None:
        raise SettingsError(GONE)
    if scored.directions.provenance.fingerprint != weights:
        raise ValueError("the extraction is of another model")
    return scored


def _brought(store: ModelStore, model: str, key: str) -> Brought:
    brought = store.kept_edit(key)
    if brought is None:
        raise SettingsError(FILE_GONE)
    if brought.edit.provenance.fingerprint != store.model(model).fingerprint:
        raise ValueError("the edit is of another model")
    return brought


def _under(store: ModelStore, model: str, data: object) -> Under | None:
    """The edit under that of the page: a place of its own, made as strong as the visitor wants it there."""
    if not isinstance(data, Mapping):
        return None
    kept = session_of(store, {**data, "under": None})
    strength = float(data["weight"])
    if not 0 <= strength <= LARGEST or kept.model != model:
        raise ValueError("the strength is beyond its range, or the edit is of another model")
    edit = kept.edit
    right = tuple(strength * vector for vector in edit.right)
    scaled = replace(edit, right=right, strength=tuple(strength * lam for lam in edit.strength))
    return Under(title_below(store, kept), scaled)


def title_below(store: ModelStore, session: Session) -> str:
    """What an edit is called that lies under another: after its behaviour, or after its file or examples."""
    name = session.behavior
    if session.brought is not None and not session.made_here(session.brought.edit):
        choice = choice_behind(store, session.model, session.brought.edit)
        if choice is None:
            return session.brought.name
        name = choice.behavior
    behavior = store.named_behavior(name)
    return behavior.title if behavior else session.label


def _origin(data: object) -> Origin | None:
    return Origin(_word(data["name"]), _word(data["sentence"])) if isinstance(data, Mapping) else None


def _word(value: object) -> str:
    if not isinstance(value, str) or len(value) > 2000:
        raise ValueError("a word is missing or too long")
    return value
