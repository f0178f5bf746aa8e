"""Find a good edit for a visitor's own examples: by likelihood alone, as plain functions on the bundled model."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from components.shared.choices import Choice, opened
from components.shared.session import OWN, Origin, Session
from components.shared.store import ModelStore
from components.trade_off.evaluation_handlers import EvaluationRequest, evaluated
from components.trade_off.handlers import continued, searched, stopped
from components.trade_off.lab import Bench, Lab
from components.trade_off.own_words import advice_by_likelihood
from components.trade_off.view import lab_view
from components.trade_off.wiring import loaded_best
from s2e_core import ContrastSet, SettingsError, swapped
from s2e_core.data import contrast_set
from s2e_core.errors import ContrastDataError
from s2e_core.measure import Estimate
from tests.ui.running import store_beside

ROWS = 10


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return store_beside(work=tmp_path_factory.mktemp("work"))


def examples_of(store: ModelStore, rows: int = ROWS) -> ContrastSet:
    bundled = store.behavior_list[0].contrast
    return contrast_set(bundled.positive[:rows], bundled.negative[:rows], name="your examples")


def session_of(store: ModelStore, contrast: ContrastSet) -> Session:
    return opened(store, Choice(store.first_model, OWN), store.scored(store.first_model, contrast))


@pytest.fixture(scope="module")
def session(store: ModelStore) -> Session:
    return session_of(store, examples_of(store))


@pytest.fixture(scope="module")
def labs(store: ModelStore, session: Session) -> list[Lab]:
    return list(searched(store, session, None, 2))


def test_progress_rises_and_the_end_holds_the_result(labs: list[Lab]) -> None:
    *running, last = labs
    assert running and all(lab.state == "running" and lab.found is None for lab in running)
    assert [lab.done for lab in running] == sorted(lab.done for lab in running)
    assert (last.state, last.done, last.rate) == ("done", last.total, 0.0), "no answers, so no rate for estimates"
    assert last.found is not None and last.found.edit is not None
    assert last.found.edit.figures.margin.count == ROWS // 5


def test_the_result_is_a_table_with_intervals_and_the_rule_of_the_choice(
    store: ModelStore, session: Session, labs: list[Lab]
) -> None:
    view = lab_view(store, session, Bench().with_lab(labs[-1]))
    words = view["advice"]
    assert words.count("<tr") == 3 and "largest margin" in words and "at most 0.05 nats" in words
    assert "n = 2" in words and "compare answers" in words and labs[-1].found.edit.trial.label in words
    assert view["load"]["visible"] and view["load"]["value"] == "Load this edit"
    assert view["find"]["interactive"] and not view["go_on"]["visible"] and view["plot"] is None
    running = lab_view(store, session, Bench().with_lab(labs[0]))
    assert running["stop"]["interactive"] and not running["find"]["interactive"] and not running["advice"]
    assert "Searching by likelihood" in running["status"]


def test_no_edit_under_the_bound_is_said(labs: list[Lab]) -> None:
    words = advice_by_likelihood(replace(labs[-1].found, edit=None, lead=None))
    assert "No edit to recommend" in words and "none raises the margin" in words


def test_doubts_are_said_and_nobody_is_ahead_on_few_pairs(labs: list[Lab]) -> None:
    found = labs[-1].found

    def words(low: float, count: int) -> str:
        figure = Estimate(0.3, low, 0.6, count)
        likelihood: Any = replace(found.edit.figures, margin=figure)
        return advice_by_likelihood(replace(found, edit=replace(found.edit, figures=likelihood), lead=figure))

    assert "Only 2 pairs" in words(0.1, 2) and "ahead" not in words(0.1, 2)
    assert "Recommended" in words(0.1, 20) and "the edit is ahead" in words(0.1, 20) and "Only" not in words(0.1, 20)
    assert "not confirmed" in words(-0.1, 20) and "unconfirmed" in words(-0.1, 20)
    assert "neither is clearly ahead" in words(-0.1, 20)


def test_the_edit_loads_as_settings_of_the_session(store: ModelStore, session: Session, labs: list[Lab]) -> None:
    bench = Bench().with_lab(labs[-1])
    loaded = loaded_best(session, bench)
    assert repr(loaded.settings) == repr(labs[-1].found.edit.trial.settings) and not loaded.edit.is_empty
    assert session.settings is session.suggested, "the session it came from stays as it was"
    assert lab_view(store, loaded, bench, ["load"])["load"]["interactive"] is False


def test_a_result_belongs_to_its_examples(store: ModelStore, session: Session, labs: list[Lab]) -> None:
    bench = Bench().with_lab(labs[-1])
    turned = swapped(session.scored.contrast)
    for other in (session_of(store, turned), replace(session, model="other")):
        assert bench.of(other) is None
    with pytest.raises(SettingsError, match="another model or behaviour"):
        loaded_best(session_of(store, turned), bench)


def test_a_stop_leaves_the_model_free_and_nothing_to_continue(store: ModelStore, session: Session) -> None:
    with closing(searched(store, session, None, 60)) as run:
        lab = next(run)
    lock = store.model(session.model).lock
    assert lock.acquire(timeout=60), "the thread of the run lets go of the model"
    lock.release()
    ended = stopped(store, session, lab)
    view = lab_view(store, session, Bench().with_lab(ended))
    assert "Stopped" in view["status"] and not view["go_on"]["visible"] and view["find"]["interactive"]
    with pytest.raises(SettingsError, match="nothing to go on with"):
        next(continued(store, session, ended))


def test_what_cannot_be_searched_is_said_in_words(store: ModelStore, session: Session) -> None:
    few = replace(session, scored=replace(session.scored, contrast=examples_of(store, 6)))
    with pytest.raises(ContrastDataError, match="your examples has 6 positive .* at least 10 a side"):
        next(searched(store, few, None, 2))
    with pytest.raises(SettingsError, match="settings to try"):
        next(searched(store, session, None, None))
    from_file = replace(session, origin=Origin("v.pt", "Read from a file."))
    with pytest.raises(SettingsError, match="come from a file"):
        next(searched(store, from_file, None, 2))
    assert lab_view(store, from_file, Bench())["find"]["interactive"] is False


def test_measuring_in_full_still_needs_prompts(store: ModelStore, session: Session) -> None:
    with pytest.raises(SettingsError, match="without prompts to measure with"):
        next(evaluated(store, session, EvaluationRequest(4, False, None)))
