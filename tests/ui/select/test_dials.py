"""The dials and the selection as functions of a session: every one has an effect, and each is one step of undo."""

from dataclasses import replace

import pytest
from components.select.readouts import opening, summary

from components.compare.handlers import Request, compared
from components.select import dials
from s2e_core import SettingsError
from tests.ui.running import first_session, shared_store


def test_a_count_takes_effect_again_after_everything_was_left_out() -> None:
    none = dials.select_none(first_session())
    assert none.edit.is_empty
    assert dials.set_count(none, "heads", 5).edit.count("heads") == 5


def test_choosing_one_kind_or_one_component_is_one_step_of_undo() -> None:
    session = first_session()
    for change in (lambda s: dials.only_kind(s, "heads"), dials.keep_focus):
        changed = change(session)
        assert not changed.edit.is_empty
        assert changed.undo().settings is session.settings


def test_only_one_kind_edits_that_kind_alone() -> None:
    heads = dials.only_kind(first_session(), "heads")
    assert heads.edit.count("heads") > 0 and heads.edit.count("neurons") == 0
    neurons = dials.only_kind(dials.select_none(heads), "neurons")
    assert neurons.edit.count("heads") == 0 and neurons.edit.count("neurons") > 0


def test_the_opening_says_how_many_positions_were_left_out() -> None:
    session, store = first_session(), shared_store()
    loaded, behavior = store.model(session.model), store.behavior(session.behavior)
    assert "median" not in opening(session, behavior, loaded)
    extraction = session.scored.extraction
    means = replace(extraction.means, outliers="leave out", n_outliers=12)
    scored = replace(session.scored, extraction=replace(extraction, means=means))
    text = opening(replace(session, scored=scored), behavior, loaded)
    assert "12 of " in text and "times the median of the example and were left out" in text


def test_an_empty_edit_says_what_to_do_about_it() -> None:
    session = first_session()
    assert "Raise the strength" in summary(dials.set_strength(session, 0))
    assert "Click a head" in summary(dials.select_none(session))
    no_kind = dials.set_count(dials.set_count(session, "heads", 0), "neurons", 0)
    assert "Raise a count" in summary(no_kind)


@pytest.mark.parametrize("field", ["length", "temperature", "seed", "gamma"])
def test_an_empty_number_field_gets_a_sentence(field: str) -> None:
    values = {"length": 8, "temperature": 0.0, "seed": 0, "gamma": 0.5} | {field: None}
    with pytest.raises(SettingsError, match=field):
        next(compared(shared_store(), first_session(), Request("Hello", **values)))


def test_half_a_character_pair_in_a_prompt_gets_a_sentence() -> None:
    with pytest.raises(SettingsError, match="unpaired surrogate"):
        next(compared(shared_store(), first_session(), Request("\ud800", 8)))
