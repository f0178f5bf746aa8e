"""What stands beside the edit on the page: overlap, the refusal direction, and refusals, as the core computes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from components.shared.choices import Choice, opened
from components.shared.session import Session, Under
from components.why.beside import neighbours, refusals
from components.why.handlers import component_at
from s2e_core import EditSettings, Original, SettingsError, load_behavior
from s2e_core.model import component_label
from s2e_core.why import cosine_with, find_overlap, refusal_rates
from tests.ui.browser import settled
from tests.ui.running import first_session, running_app, shared_store
from tests.ui.studio_page import arrive, choose_behavior, open_advanced, place, rest


@pytest.fixture(scope="module")
def tone() -> Session:
    """The page on the behaviour `tone`, on top of the edit of safety."""
    store, first = shared_store(), first_session()
    behavior = store.behavior("tone")
    session = opened(store, Choice(first.model, "tone"), store.scored(first.model, behavior.contrast, behavior))
    return replace(session, under=Under("Safety", first.edit))


def last(steps: Iterator[tuple[str, dict[str, Any] | None]]) -> dict[str, Any]:
    *_, (_, value) = steps
    assert value is not None
    json.dumps(value, allow_nan=False)
    return value


def test_two_edits_meet_where_the_core_says(tone: Session) -> None:
    value = last(neighbours(shared_store(), tone))
    assert tone.under is not None
    found = find_overlap(tone.edit, tone.under.edit)
    assert (value["title"], value["below"], value["safety"]) == ("Tone", "Safety", "Safety")
    overlap = value["overlap"]
    assert overlap["cosine"] == found.cosine and overlap["size"] == found.size
    assert (overlap["together"], overlap["opposed"]) == (len(found.together), len(found.opposed))
    for row, one in zip(overlap["most_opposed"], found.opposed, strict=False):
        assert component_at(tone.edit.spec, row["number"]) == one.component and row["cosine"] == one.cosine
        assert row["name"] == component_label(tone.edit.spec, one.component)
    first, below = value["refusal"]
    expected = cosine_with(tone.edit, first_session().scored.directions)
    assert first["mean"] == expected.mean and first["share"] == expected.share
    assert [one["cosine"] for one in first["sites"]] == [c for c in expected.sites if c is not None]
    assert below["mean"] == pytest.approx(1, abs=1e-6), "the edit below is that of safety itself"


def test_one_edit_alone_has_no_overlap_and_an_empty_one_nothing() -> None:
    value = last(neighbours(shared_store(), first_session()))
    assert value["overlap"] is None and value["below"] is None and len(value["refusal"]) == 1
    nothing = first_session().with_settings(EditSettings(None, None, 0.5))
    for ask in (neighbours, refusals):
        with pytest.raises(SettingsError, match="Nothing is edited yet"):
            list(ask(shared_store(), nothing))


def test_refusals_are_those_of_the_core(tone: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.why.beside.REFUSAL_PROMPTS", 6)
    steps = list(refusals(shared_store(), tone))
    value = steps[-1][1]
    assert value is not None and value["prompts"] == 6 and "of 24 answers" in steps[-2][0]
    assert [row["label"] for row in value["rows"]] == ["Original", "Tone", "Safety", "Tone on top of Safety"]
    loaded = shared_store().model(tone.model)
    rates = refusal_rates(loaded, load_behavior("safety"), [Original(), tone.variant], count=6)
    for row, rate in zip((value["rows"][0], value["rows"][3]), rates, strict=True):
        assert (row["value"], row["low"], row["high"]) == (rate.value, rate.low, rate.high)
    alone = last(refusals(shared_store(), replace(tone, under=None)))
    assert [row["label"] for row in alone["rows"]] == ["Original", "Tone"]


def test_a_model_without_a_safety_behaviour_says_so(tone: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.why.beside.refusal_behavior", lambda behaviors: None)
    assert last(neighbours(shared_store(), tone))["refusal"] == []
    with pytest.raises(SettingsError, match="no requests to ask"):
        list(refusals(shared_store(), tone))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


def test_a_visitor_lays_two_behaviours_on_each_other_and_asks(
    page: Page, address: str, tone: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.why.beside.REFUSAL_PROMPTS", 6)
    arrive(page, address)
    open_advanced(page)
    page.click("#keep-under")
    choose_behavior(page, 2)
    page.wait_for_function("() => window.steer2edit.place().behavior === 'tone'")
    rest(page)
    assert place(page)["under"]["behavior"] == "safety"
    page.locator("#beside button").first.click()
    page.click("#beside-run")
    page.wait_for_selector(".why-beside section")
    settled(page)
    shown, expected = page.locator(".why-beside"), last(neighbours(shared_store(), tone))
    expect(shown).to_contain_text("Where do “Tone” and “Safety” meet?")
    expect(shown).to_contain_text(f"Against each other: {expected['overlap']['opposed']}")
    link = shown.locator("ol button").first
    name = link.inner_text()
    link.click()
    focus = page.evaluate("() => window.steer2edit.state().focus")
    assert component_label(tone.edit.spec, component_at(tone.edit.spec, focus)) == name
    page.click("#beside-ask")
    page.wait_for_selector(".why-refusals table")
    settled(page)
    rows = page.locator(".why-refusals tr")
    assert rows.count() == 4
    expect(rows.nth(3)).to_contain_text("Tone on top of Safety")
    page.evaluate("() => window.steer2edit.change(settings => ({...settings, strength: 0.1}))")
    rest(page)
    expect(shown).to_have_class("why-beside outdated")
