"""A session is a value: changes make new ones, and whatever lay downstream of a change is gone."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from components.select import dials
from components.shared.choices import Choice, opened
from components.shared.session import MAX_UNDO, Session
from s2e_core import Component, load_edit, save_edit
from tests.ui.running import first_session, shared_store


def test_a_session_cannot_be_changed_in_place_and_is_never_copied() -> None:
    session = first_session()
    with pytest.raises(FrozenInstanceError):
        session.swapped = True  # type: ignore[misc]
    assert copy.deepcopy(session) is session


def test_another_behaviour_leaves_nothing_of_the_one_before() -> None:
    store = shared_store()
    other = store.behavior_list[1]
    worked = dials.select_none(dials.set_strength(first_session(), 2.5)).with_mode("lambda")
    choice = Choice(worked.model, other.name)
    fresh = opened(store, choice, store.scored(worked.model, other.contrast, other))
    assert fresh.past == () and fresh.future == () and fresh.mode == "g" and fresh.picks == {}
    assert fresh.settings is fresh.suggested and fresh.settings.selection.only is None
    assert fresh.edit.provenance.contrast_hash == other.contrast.content_hash


def test_undo_and_redo_walk_through_settings_and_edits() -> None:
    start = first_session()
    stronger = dials.set_strength(start, 2.0)
    fewer = dials.set_count(stronger, "neurons", 7)
    assert fewer.edit.count("neurons") == 7
    back = fewer.undo()
    assert back.settings is stronger.settings
    assert all(torch.equal(a, b) for a, b in zip(back.edit.strength, stronger.edit.strength, strict=True))
    assert back.redo().settings is fewer.settings
    assert back.undo().settings is start.settings and not back.undo().past
    assert start.undo() is start and start.redo() is start


def test_a_new_change_forgets_what_was_undone() -> None:
    undone = dials.set_strength(first_session(), 2.0).undo()
    assert undone.future and not dials.set_alpha(undone, 0.4).future


def test_one_drag_of_a_dial_is_one_step_of_undo() -> None:
    session = first_session()
    for strength in (1.1, 1.2, 1.3):
        session = dials.set_strength(session, strength)
    assert len(session.past) == 1
    assert len(dials.set_alpha(session, 0.45).past) == 2


def test_a_dial_that_rested_begins_another_step_of_undo() -> None:
    once = dials.set_strength(first_session(), 1.1)
    rested = replace(once, made=once.made - 2 * 10**9)
    again = dials.set_strength(rested, 1.2)
    assert len(again.past) == 2 and again.undo().settings is once.settings


def test_one_change_of_several_settings_is_one_step_of_undo() -> None:
    session = first_session()
    changed = session.with_settings(replace(session.settings, rho_attn=None, strength=0.3))
    assert len(changed.past) == 1 and changed.undo().settings is session.settings


def test_a_recipe_can_be_undone_and_redone_whether_or_not_it_is_of_the_same_examples() -> None:
    session = dials.set_strength(first_session(), 0.7)
    same = dials.set_count(first_session(), "neurons", 11).edit
    foreign = replace(same, provenance=replace(same.provenance, contrast_hash="another"))
    for edit in (same, foreign):
        loaded = session.with_recipe(edit, "recipe.safetensors")
        back = loaded.undo()
        assert not back.recipe and back.settings is session.settings
        assert all(torch.equal(a, b) for a, b in zip(back.edit.right, session.edit.right, strict=True))
        again = back.redo()
        assert again.edit is edit and again.recipe == "recipe.safetensors"
        moved = dials.set_alpha(again, 0.3)
        assert not moved.recipe and moved.undo().edit is edit and moved.undo().recipe


def test_every_edit_has_a_mark_of_its_own() -> None:
    start = first_session()
    moved = dials.set_strength(start, 1.4)
    assert len({start.made, moved.made, moved.undo().made}) == 3
    assert start.with_mode("lambda").made == start.made


def test_the_history_has_an_end() -> None:
    session = first_session()
    for step in range(MAX_UNDO + 5):
        session = dials.select_none(session) if step % 2 else dials.select_all(session)
    assert len(session.past) == MAX_UNDO


def test_a_recipe_of_the_same_examples_sets_the_dials(tmp_path) -> None:
    made = dials.set_count(first_session(), "neurons", 11)
    path = save_edit(made.edit, tmp_path / "recipe.safetensors")
    loaded = first_session().with_recipe(load_edit(path), "recipe.safetensors")
    assert dials.count_above(loaded, "neurons") == 11 and loaded.recipe
    assert loaded.undo().settings is first_session().settings


def test_a_recipe_of_other_examples_stands_until_a_dial_moves() -> None:
    session = first_session()
    foreign = replace(session.edit, provenance=replace(session.edit.provenance, contrast_hash="another"))
    shown = session.with_recipe(foreign, "other.safetensors")
    assert shown.edit is foreign and shown.recipe and shown.settings is session.settings
    moved = dials.set_strength(shown, 0.5)
    assert not moved.recipe and moved.edit.provenance.contrast_hash != "another"


def test_the_strongest_component_is_in_focus_at_the_start() -> None:
    session = first_session()
    assert session.focus is not None
    strongest = max(float(strength.abs().max()) for strength in session.edit.strength)
    site, index = session.focus
    assert abs(float(session.edit.strength[site][index])) == pytest.approx(strongest)


def test_clicks_are_numbered_so_that_a_late_answer_never_counts_back() -> None:
    session = first_session().with_pick("heads", 5).with_pick("heads", 3).with_pick("neurons", 1)
    assert dict(session.picks) == {"heads": 5, "neurons": 1}


def test_focus_and_colour_touch_no_setting() -> None:
    session = first_session()
    for changed in (session.with_focus(Component(0, 0)), session.with_mode("lambda"), session.with_all_columns(True)):
        assert isinstance(changed, Session) and changed.settings is session.settings and changed.edit is session.edit


def test_all_columns_of_a_model_with_very_many_neurons_are_the_strongest_that_a_browser_draws(monkeypatch) -> None:
    session = first_session()
    spec = session.scored.scores.spec
    widest = session.scored.scores.grid("neurons").shape[1]
    assert session.with_all_columns(True).columns["neurons"].shape[1] == widest
    monkeypatch.setattr("components.shared.session.MOST_COLUMNS", 5)
    monkeypatch.setattr("components.shared.session.MOST_CELLS", 20 * spec.n_layers)
    assert session.with_all_columns(True).columns["neurons"].shape == (spec.n_layers, 20)
    assert session.with_all_columns(False).columns["neurons"].shape == (spec.n_layers, 5)
