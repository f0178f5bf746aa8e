"""A place is a session and back; whatever else a tab sends is refused in a sentence, never with another exception."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from components.bring.handlers import FromFile, adopted, prepared
from components.shared.brought import OwnExamples
from components.shared.choices import Choice, extract, opened
from components.shared.session import OWN, Session
from components.shared.store import ModelStore
from components.studio.place import FILE_GONE, GONE, UNREADABLE, place_of, session_of
from s2e_core import Component, S2EError, Selection, SettingsError, WeightEdit
from s2e_core.settings import Gate
from s2e_core.settings_json import settings_to_json
from tests.families import saved_folder
from tests.ui.foreign_files import good
from tests.ui.running import first_session, shared_store, store_beside

Place = dict[str, Any]
POSITIVE = "\n".join(f"How was day {n}? | It was wonderful, I am so pleased." for n in range(6))
NEGATIVE = "\n".join(f"How was day {n}? | It was awful, I am so sad." for n in range(6))


def sent(place: Mapping[str, Any]) -> Place:
    """A place as it arrives: through JSON, with the names that a tab gives to its edit and to a run."""
    received: Place = json.loads(json.dumps(place))
    return {**received, "made": "17", "job": "1-2-3-4"}


def again(session: Session, store: ModelStore | None = None) -> Session:
    return session_of(store or shared_store(), sent(place_of(session)))


def same_edit(one: WeightEdit, other: WeightEdit) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.right, other.right, strict=True))


# ---- sessions of every kind ------------------------------------------------------------------------------------------


def by_hand() -> Session:
    """Settings of which every field is used."""
    only = frozenset({Component(0, 1), Component(3, 200)})
    selection = Selection(only, frozenset({Component(2, 3)}), frozenset({Component(1, 7)}), (1, 4))
    strengths = MappingProxyType({Component(2, 3): 0.5})
    start = first_session()
    return start.with_settings(replace(start.settings, strength=1.25, selection=selection, strengths=strengths))


def gated() -> Session:
    start = first_session()
    return start.with_settings(replace(start.settings, gate=Gate(0.7, 10.0, 60), protect=4))


def other_behavior(swap: bool = False) -> Session:
    store = shared_store()
    *_, session = extract(store, Choice(store.first_model, "tone", swap))
    assert isinstance(session, Session)
    return session


def own() -> Session:
    store = shared_store()
    *_, session = extract(store, Choice(store.first_model, OWN, own=OwnExamples(POSITIVE, NEGATIVE)))
    assert isinstance(session, Session)
    return session.with_settings(replace(session.settings, strength=0.8))


def brought(name: str, folder: Path) -> Session:
    *_, given = prepared(shared_store(), first_session(), str(good(name, folder)), None)
    assert isinstance(given, FromFile)
    return adopted(shared_store(), first_session(), given)


SESSIONS: Mapping[str, Callable[[Path], Session]] = {
    "first": lambda folder: first_session(),
    "by hand": lambda folder: by_hand(),
    "gated": lambda folder: gated(),
    "another behaviour": lambda folder: other_behavior(),
    "swapped": lambda folder: other_behavior(swap=True),
    "own examples": lambda folder: own(),
    "a finished edit": lambda folder: brought("pack.pt", folder),
    "a recipe of another behaviour": lambda folder: brought("tone.safetensors", folder),
    "directions": lambda folder: brought("vector.npy", folder),
}


@pytest.mark.parametrize("name", SESSIONS)
def test_the_place_of_a_session_is_that_session(name: str, tmp_path: Path) -> None:
    session = SESSIONS[name](tmp_path)
    back = again(session)
    assert place_of(back) == place_of(session)
    assert back.scored is session.scored and same_edit(back.edit, session.edit)
    assert settings_to_json(back.settings) == settings_to_json(session.settings)
    assert settings_to_json(back.suggested) == settings_to_json(session.suggested)
    assert (back.model, back.behavior, back.swapped) == (session.model, session.behavior, session.swapped)
    assert (back.recipe, back.label, back.made) == (session.recipe, session.label, "17")
    if session.origin is not None:
        assert back.origin is not None and vars(back.origin) == vars(session.origin)


def test_an_extraction_that_the_server_has_forgotten_is_made_again() -> None:
    session = by_hand()
    fresh = store_beside(_scored=type(shared_store()._scored)())
    assert same_edit(again(session, fresh).edit, session.edit)


def test_own_examples_that_the_server_has_forgotten_are_asked_for_again() -> None:
    forgetful = store_beside(_scored=type(shared_store()._scored)())
    with pytest.raises(SettingsError) as error:
        again(own(), forgetful)
    assert str(error.value) == GONE


@pytest.mark.parametrize("name", ["vector.npy", "pack.pt"])
def test_a_file_that_the_server_has_forgotten_is_asked_for_again(name: str, tmp_path: Path) -> None:
    session = brought(name, tmp_path)
    empty = type(shared_store()._scored)()
    forgetful = store_beside(_edits=empty) if session.brought else store_beside(_scored=empty)
    with pytest.raises(SettingsError) as error:
        again(session, forgetful)
    assert str(error.value) == (FILE_GONE if session.brought else GONE)


def test_a_place_without_what_the_tab_alone_knows_is_a_place() -> None:
    """As an address holds it: without a name of the edit and of a run."""
    place = {name: value for name, value in place_of(first_session()).items() if name not in ("made", "job", "origin")}
    assert session_of(shared_store(), {**place, "focus": 3, "mode": "g", "ask": {"prompt": "Hi"}}).made == ""


# ---- what no tab sends -----------------------------------------------------------------------------------------------

NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2.5, 1e308, 10**30, float("nan"), float("inf"), -float("inf"), "", "x", "0.5", "\ud800", "\0",
    "../../etc/passwd", "a" * 3000, [], [None], [1], [[0]], [[0, 0]], [[0, 0, 0, 0]], [["0", "0"]], [[0, 10**30]],
    [[-1, 0]], [[0, -1]], [[99, 0]], [[float("nan"), 0]], [[0, 0, float("inf")]], [[0, 0, -1]], [[[]]], {}, {"a": 1},
    {"gamma": 1}, {"gamma": float("nan"), "mu": 0, "size": None}, {"gamma": 1, "mu": -1, "size": 0},
    {"gamma": 1, "mu": 0, "size": 2.5}, {"name": "a", "key": "b"}, {"name": 1, "sentence": 2},
)  # fmt: skip


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a place something stands, and where something more might."""
    yield here
    if isinstance(value, dict):
        for name in (*value, "more"):
            yield from paths(value.get(name), (*here, name))
    elif isinstance(value, list) and value:
        yield from paths(value[0], (*here, 0))


def changed(place: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    result = copy.deepcopy(place)
    inner = result
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return result


def lacking(place: Place, path: tuple[Any, ...]) -> Place:
    result = copy.deepcopy(place)
    inner = result
    for name in path[:-1]:
        inner = inner[name]
    inner.pop(path[-1], None) if isinstance(inner, dict) else inner.clear()
    return result


def answered(place: object) -> str:
    """What becomes of a place: "" for a session with an edit, or the sentence; any other exception is raised."""
    try:
        session = session_of(shared_store(), place)
        assert all(bool(right.isfinite().all()) for right in session.edit.right)
    except S2EError as error:
        assert str(error), "a refusal says why"
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["by hand", "own examples", "a finished edit", "directions"])
def test_a_place_with_anything_in_any_place_is_a_session_or_is_refused(name: str, tmp_path: Path) -> None:
    place = sent(place_of(SESSIONS[name](tmp_path)))
    said = [answered(changed(place, path, value)) for path in paths(place) for value in NASTY]
    said += [answered(lacking(place, path)) for path in paths(place) if path]
    assert said.count(UNREADABLE) > len(said) / 4 and said.count("") > 0


def test_settings_of_a_gate_with_anything_in_any_place_are_an_edit_or_are_refused() -> None:
    place = sent(place_of(gated()))
    for path in [path for path in paths(place) if {"gate", "protect", "strength", "only"} & set(path)]:
        for value in NASTY:
            answered(changed(place, path, value))


@pytest.mark.parametrize("data", [None, 7, "place", [], {}, {"model": "Bundled demo model"}])
def test_something_else_than_a_place_is_refused(data: object) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        session_of(shared_store(), data)


@pytest.mark.parametrize("name", ["/etc", "someone/something", "no such model", "", "\ud800/x"])
@pytest.mark.parametrize("kind", ["by hand", "own examples", "directions"])
def test_a_model_that_is_not_offered_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    place = sent(place_of(SESSIONS[kind](tmp_path)))
    assert answered({**place, "model": name})


@pytest.mark.parametrize("kind", ["by hand", "own examples", "directions"])
def test_a_behaviour_that_is_not_there_is_refused(kind: str, tmp_path: Path) -> None:
    place = sent(place_of(SESSIONS[kind](tmp_path)))
    assert 'There is no behaviour "nonsense" here' in answered({**place, "behavior": "nonsense"})


@pytest.mark.parametrize("kind", ["own examples", "a finished edit", "directions"])
def test_what_belongs_to_another_model_is_refused(kind: str, tmp_path: Path) -> None:
    session = SESSIONS[kind](tmp_path)
    other = saved_folder(tmp_path / "other", "llama", chat=True)
    store = store_beside(sources={**shared_store().sources, "other": other})
    place = sent(place_of(session)) | ({"behavior": "tone"} if session.brought else {})
    with pytest.raises(S2EError) as error:
        session_of(store, {**place, "model": "other"})
    assert str(error.value) == UNREADABLE


def test_a_forged_key_reaches_nobody_elses_examples() -> None:
    place = sent(place_of(own()))
    for key in ("", "0", place["key"][:-1], place["key"] + "0"):
        assert answered({**place, "key": key}) == GONE
    safety = sent(place_of(first_session()))
    assert session_of(shared_store(), {**safety, "key": place["key"]}).scored is first_session().scored


def test_huge_lists_are_read_or_refused_in_time() -> None:
    place = sent(place_of(first_session()))
    settings = place["settings"]
    assert not answered({**place, "settings": {**settings, "only": [[0, 1]] * 200_000}})
    assert answered({**place, "settings": {**settings, "included": [[0, n] for n in range(200_000)]}}) == UNREADABLE


def test_extreme_dials_of_a_gate_are_an_edit_or_are_refused() -> None:
    place = sent(place_of(gated()))
    for gate in ({"gamma": 1e-300}, {"mu": 1e30}, {"mu": 1e-30}, {"size": 1}, {"size": 10**12}, {"size": None}):
        settings = {**place["settings"], "gate": {**place["settings"]["gate"], **gate}}
        for protect in (0, 10**6):
            answered({**place, "settings": {**settings, "protect": protect}})


# ---- an edit below ---------------------------------------------------------------------------------------------------


def test_an_edit_below_is_that_of_its_place_as_strong_as_it_is_wanted() -> None:
    below = {**sent(place_of(other_behavior())), "weight": 0.5}
    session = session_of(shared_store(), {**sent(place_of(first_session())), "under": below})
    assert session.under is not None and session.under.title == shared_store().behavior("tone").title
    for half, whole in zip(session.under.edit.right, other_behavior().edit.right, strict=True):
        assert torch.allclose(half, whole / 2)
    assert same_edit(session.edit, first_session().edit), "the edit of the page is its own"


def test_anything_in_the_place_of_an_edit_below_is_a_session_or_is_refused() -> None:
    place, below = sent(place_of(first_session())), {**sent(place_of(by_hand())), "weight": 0.5}
    for path in paths(below):
        for value in NASTY:
            answered({**place, "under": changed(below, path, value)})
    weights: tuple[Any, ...] = (-1, 1e30, float("nan"), float("inf"), "x", None, [])
    for weight in weights:
        assert answered({**place, "under": {**below, "weight": weight}}) == UNREADABLE
    assert (
        answered({**place, "under": {name: value for name, value in below.items() if name != "weight"}}) == UNREADABLE
    )


def test_an_edit_below_is_of_the_same_model(tmp_path: Path) -> None:
    other = saved_folder(tmp_path / "other", "llama", chat=True)
    store = store_beside(sources={**shared_store().sources, "other": other})
    below = {**sent(place_of(by_hand())), "model": "other", "weight": 1}
    below["settings"] = settings_to_json(first_session().settings)
    with pytest.raises(S2EError) as error:
        session_of(store, {**sent(place_of(first_session())), "under": below})
    assert str(error.value) == UNREADABLE


def test_opening_a_choice_and_its_place_are_one() -> None:
    """The first place of a page is that of the choice that it shows."""
    store, session = shared_store(), first_session()
    fresh = opened(store, Choice(session.model, session.behavior), session.scored)
    assert place_of(fresh) == place_of(session)
