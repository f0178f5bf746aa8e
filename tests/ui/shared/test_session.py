"""A session is a value: changes make new ones, and an edit from a file stands until a dial moves."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
import torch

from components.shared.choices import Choice, opened
from components.shared.session import Brought, Session
from s2e_core import WeightEdit, build_edit, load_edit, save_edit
from tests.ui.edits import with_count, with_nothing_edited, with_strength
from tests.ui.running import first_session, shared_store


def foreign(edit: WeightEdit) -> WeightEdit:
    """The same edit, made from other examples."""
    return replace(edit, provenance=replace(edit.provenance, contrast_hash="another"))


def test_a_session_cannot_be_changed_in_place() -> None:
    session = first_session()
    with pytest.raises(FrozenInstanceError):
        session.swapped = True  # type: ignore[misc]
    assert copy.copy(session).settings is session.settings


def test_the_edit_is_built_once_and_belongs_to_its_settings() -> None:
    session = first_session()
    assert session.edit is session.edit and session.edit.settings is session.settings
    stronger = with_strength(session, 2 * session.settings.strength)
    for one, two in zip(session.edit.strength, stronger.edit.strength, strict=True):
        assert torch.allclose(2 * one, two)
    assert with_strength(session, 0.0).edit.is_empty


def test_another_behaviour_leaves_nothing_of_the_one_before() -> None:
    store = shared_store()
    other = store.behavior_list[1]
    worked = with_nothing_edited(with_strength(first_session(), 2.5))
    choice = Choice(worked.model, other.name)
    fresh = opened(store, choice, store.scored(worked.model, other.contrast, other))
    assert fresh.settings is fresh.suggested and fresh.settings.selection.only is None
    assert fresh.brought is None and fresh.origin is None and fresh.under is None
    assert fresh.edit.provenance.contrast_hash == other.contrast.content_hash


def test_a_recipe_of_the_same_examples_sets_the_dials(tmp_path: Path) -> None:
    made = with_count(first_session(), "neurons", 11)
    edit = load_edit(save_edit(made.edit, tmp_path / "recipe.safetensors"))
    loaded = first_session().with_brought(Brought("recipe.safetensors", "key", edit))
    assert loaded.made_here(edit) and loaded.recipe == "recipe.safetensors"
    assert loaded.settings.rho_mlp == made.settings.rho_mlp
    again = build_edit(loaded.scored.extraction, loaded.settings)
    assert all(torch.equal(a, b) for a, b in zip(again.right, loaded.edit.right, strict=True))


def test_a_recipe_of_other_examples_stands_until_a_dial_moves() -> None:
    session = first_session()
    other = foreign(with_count(session, "neurons", 3).edit)
    shown = session.with_brought(Brought("other.safetensors", "key", other))
    assert shown.edit is other and shown.recipe and shown.settings is session.settings
    moved = with_strength(shown, 0.5)
    assert not moved.recipe and moved.edit.provenance.contrast_hash != "another"
    assert moved.edit.count("neurons") == session.edit.count("neurons")


def test_what_the_visitors_files_are_called_after() -> None:
    session = first_session()
    assert session.label == session.behavior and session.recipe == ""
    assert session.with_brought(Brought("pack.pt", "key", foreign(session.edit))).label == "imported"


def test_a_fresh_chain_starts_at_its_suggested_dials() -> None:
    session = first_session()
    fresh = Session.start(session.model, session.behavior, session.scored, session.suggested, swapped=True)
    assert fresh.settings is fresh.suggested is session.suggested and fresh.swapped and fresh.made == ""
