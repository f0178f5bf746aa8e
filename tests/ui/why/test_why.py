"""The card in full, the strip and the causal map: what the page draws is what the core computes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from components.compare.handlers import Request
from components.why.handlers import MOST_STUDIES, Studies, caused, component_at, looked_at, number_of, parted
from s2e_core import SettingsError
from s2e_core.model import component_label
from s2e_core.spec import Component
from tests.ui.browser import settled
from tests.ui.running import first_session, running_app, shared_store
from tests.ui.studio_page import arrive, rest, said, set_slider


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


def a_head() -> int:
    spec = first_session().scored.extraction.spec
    return number_of(spec, Component(spec.of_kind("heads")[-1], 1))


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value[name]
    return value


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map of few components; that of all is the core's to test."""
    monkeypatch.setattr("components.why.handlers.N_HEADS", 12)
    monkeypatch.setattr("components.why.handlers.N_NEURONS", 12)


def open_card(page: Page, number: int) -> None:
    page.evaluate("number => window.steer2edit.focus(number)", number)
    page.click("#why")
    page.wait_for_selector(".why-card[aria-busy=false] .why-sections section")
    settled(page)


def test_components_are_numbered_as_in_the_tab() -> None:
    spec = first_session().scored.extraction.spec
    total = sum(site.n_components for site in spec.sites)
    assert [number_of(spec, component_at(spec, n)) for n in range(total)] == list(range(total))
    for wrong in (-1, total, 0.5, None, "3", float("nan"), float("inf"), 10**9):
        with pytest.raises(SettingsError, match="no such component"):
            component_at(spec, wrong)


def test_a_card_is_studied_once_and_has_the_cores_numbers() -> None:
    store, session, studies = shared_store(), first_session(), Studies()
    *first, card = looked_at(store, studies, session, a_head(), "")
    component = component_at(session.scored.extraction.spec, a_head())
    assert any("once more" in value["busy"] for value in first)
    assert card["arithmetic"]["g"] == float(session.scored.scores.g[component.site][component.index])
    assert card["arithmetic"]["strength"] == float(session.edit.strength[component.site][component.index])
    assert card["luck"]["low"] <= card["arithmetic"]["g"] <= card["luck"]["high"]
    assert [effect["how"] for effect in card["effects"]] == ["zeroed", "mean", "edited alone", "left out"]
    assert [sum(row) for row in card["attention"]["original"]] == pytest.approx(
        [1.0] * len(card["attention"]["tokens"])
    )
    json.dumps(card, allow_nan=False)
    again = list(looked_at(store, studies, session, a_head(), "How do I bake bread?"))
    assert not any("once more" in value.get("busy", "") for value in again)
    assert "bread" in "".join(again[-1]["activations"]["tokens"])
    assert len(studies) == 1 <= MOST_STUDIES


def test_the_strip_reads_the_originals_own_answer() -> None:
    store, session = shared_store(), first_session()
    request = Request("Tell me how to forge a ticket.", 24)
    *_, found = parted(store, session, request)
    text = "".join(token["token"] for token in found["tokens"])
    assert len(found["tokens"]) <= 24 and text.strip()
    assert found["first"] == next((n for n, token in enumerate(found["tokens"]) if token["differs"]), None)
    assert len(found["moved"]) == session.scored.extraction.spec.n_layers
    with pytest.raises(SettingsError, match="The prompt is empty"):
        list(parted(store, session, Request(" ", 24)))


@pytest.mark.usefixtures("few")
def test_the_map_says_how_far_it_is_and_ends_with_what_was_tried() -> None:
    store, session = shared_store(), first_session()
    *growing, (told, value) = caused(store, session)
    spec = session.scored.extraction.spec
    heads = [row for row in value["rows"] if row["kind"] == "head" and row["how"] == "zeroed"]
    assert len(heads) == 12 and len(value["rows"]) == 24 * 4 and all(shown is None for _, shown in growing)
    for row in value["rows"]:
        component = component_at(spec, row["number"])
        assert row["name"] == component_label(spec, component)
        assert row["g"] == pytest.approx(float(session.scored.scores.g[component.site][component.index]))
    assert all(friend["margin_low"] <= 0 <= friend["margin_high"] for friend in value["unneeded"])
    assert all(not friend["margin_low"] <= 0 <= friend["margin_high"] for friend in value["overlooked"])
    assert f"{len(value['rows']):,} interventions" in told
    json.dumps(value, allow_nan=False)


def test_a_visitor_opens_a_card_walks_on_and_takes_it_home(page: Page, address: str, tmp_path: Path) -> None:
    arrive(page, address)
    open_card(page, a_head())
    card = page.locator(".why-card")
    expect(card).to_contain_text("What is it to this behaviour?")
    expect(card).to_contain_text("Which kind of head?")
    with page.expect_download() as sent:
        card.get_by_role("button", name="JSON").click()
    kept = json.loads(Path(sent.value.path()).read_text(encoding="utf-8"))
    *_, expected = looked_at(shared_store(), Studies(), first_session(), a_head(), "")
    for part in ("luck", "arithmetic", *(f"head_kind.{name}" for name in expected["head_kind"])):
        assert _at(kept, part) == pytest.approx(_at(expected, part)), part
    band = page.evaluate("number => window.steer2edit.state().facts.chance.band[number]", a_head())
    assert band == pytest.approx(kept["luck"]["band"]), "the pictures have the band of the card"
    row = page.locator(f"#table tr[data-number='{a_head()}'] td").nth(5)
    is_beyond = abs(kept["arithmetic"]["g"]) > kept["luck"]["band"]
    expect(row).to_have_text(f"{'beyond' if is_beyond else 'within'} {kept['luck']['band']:.3f}")
    expect(page.locator("#by-chance")).to_contain_text("would be by chance")
    assert kept["examples"]["positive"] == expected["examples"]["positive"]
    with page.expect_download() as drawn:
        card.get_by_role("button", name="SVG").click()
    drawing = Path(drawn.value.path()).read_text(encoding="utf-8")
    assert kept["name"] in drawing and kept["behavior"] in drawing and kept["model"] in drawing
    page.evaluate("number => window.steer2edit.focus(number)", a_head() + 1)
    expect(card.locator("h2")).not_to_have_text(f"Why {kept['name']}?")
    settled(page)
    set_slider(page, "strength", 0.5)
    rest(page)
    expect(card).to_have_class("why-card outdated")


def test_the_strip_under_the_texts_is_that_of_the_page(page: Page, address: str) -> None:
    arrive(page, address)
    page.get_by_role("button", name="Where do they part?").click()
    page.wait_for_selector(".why-strip .why-tokens span")
    settled(page)
    assert "".join(page.locator(".why-strip .why-tokens span").all_text_contents()).strip() == said(page)[0].strip()


@pytest.mark.usefixtures("few")
def test_a_dot_of_the_map_opens_its_card(page: Page, address: str) -> None:
    arrive(page, address)
    page.locator("#cause button").first.click()
    page.click("#map-run")
    page.wait_for_selector(".why-map svg")
    settled(page)
    dots = page.locator(".why-map .why-one")
    assert dots.count() == 24
    dot = dots.last
    name = (dot.get_attribute("aria-label") or "").split(":")[0]
    dot.dispatch_event("click")
    layer, index = name.removeprefix("layer ").split(" ", 1)
    expect(page.locator("#inspector h3")).to_have_text(f"{index[0].upper()}{index[1:]} of layer {layer}")
