"""The static site, built by its command and served without Python: the app's texts and answers, offline, restored.

Knows the page by its ids; every text is compared with what the server of the app answers to the same place.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from components.compare.handlers import Request
from components.shared.choices import Choice, opened
from components.shared.session import Session
from components.shared.store import ModelStore
from components.static_site.build import build
from components.studio.place import read_settings
from components.take_home.table import ranked_table
from s2e_core import SettingsError, swapped
from tests.ui.browser import PHONE, watched_page
from tests.ui.tab_model.shown import shown_texts, shows_what_the_server_writes

LENGTH = 24
"""Tokens of an answer, for a busy machine."""


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    with watched_page(browser) as opened_page:
        opened_page.goto(site)
        set_field(opened_page, "length", LENGTH)
        written(opened_page)
        yield opened_page


def set_field(page: Page, name: str, value: object) -> None:
    page.wait_for_function("() => document.body.dataset.studio")
    page.fill(f"#{name} input", str(value))


def written(page: Page) -> None:
    """Until both texts and the eight answers are those of the dials and fields as they stand."""
    page.wait_for_timeout(700)  # a field is read after 350 ms, dials rest after 250
    page.wait_for_function(
        """() => {
            const done = id => document.querySelector(`#${id}`).dataset.milliseconds;
            const stale = document.querySelector('.texts.outdated, .rolls.outdated, [aria-busy=true]');
            return done('texts') && done('rolls') && !stale && window.steer2edit.isAtRest();
        }"""
    )


def session_on(page: Page, store: ModelStore) -> Session:
    """The session that the app would have at the tab's place."""
    place = page.evaluate("() => window.steer2edit.place()")
    behavior = store.behavior(place["behavior"])
    contrast = swapped(behavior.contrast) if place["swapped"] else behavior.contrast
    scored = store.scored(store.first_model, contrast, behavior)
    session = opened(store, Choice(store.first_model, behavior.name, place["swapped"]), scored)
    return replace(session, settings=read_settings(place["settings"], session.scored.extraction.spec))


def check(page: Page, store: ModelStore, **options: Any) -> None:
    """Everything that the page shows is what the app would answer."""
    written(page)
    shows_what_the_server_writes(page, store, session_on(page, store), Request(prompt_on(page), LENGTH, **options))


def prompt_on(page: Page) -> str:
    return page.input_value("#prompt input")


def move(page: Page, dial: str, value: float) -> None:
    page.evaluate(
        """([dial, value]) => {
            const range = document.querySelector(`#${dial} input[type=range]`);
            range.value = value;
            range.dispatchEvent(new Event('input', {bubbles: true}));
        }""",
        [dial, value],
    )


def test_texts_and_judged_answers_are_those_of_the_app(page: Page, store: ModelStore) -> None:
    """On arrival, after dials, under steering, sampled, gated, for another prompt and another behaviour."""
    check(page, store)
    arrival = shown_texts(page)
    move(page, "strength", 1.6)
    move(page, "neurons-count", 150)
    check(page, store)
    assert shown_texts(page)[1]["title"] == "Edited, 150 neurons" != arrival[1]["title"]
    assert shown_texts(page)[0] == arrival[0], "the untouched text does not change"
    page.check("#steered input")
    set_field(page, "temperature", 0.8)
    set_field(page, "seed", 11)
    gamma = float(page.input_value("#gamma input"))
    check(page, store, temperature=0.8, seed=11, steered=True, gamma=gamma)
    page.uncheck("#steered input")
    set_field(page, "temperature", 0)
    set_field(page, "seed", 0)
    page.click("#advanced > summary")
    page.select_option("#family select", "gated")
    move(page, "gate-size", 60)
    check(page, store)
    assert page.inner_text("#summary .verdict") and "60" not in arrival[1]["title"]
    page.click("#examples button >> nth=3")
    check(page, store)
    page.click("#behavior button >> text=Tone")
    page.wait_for_function("() => window.steer2edit.place().behavior === 'tone'")
    set_field(page, "length", LENGTH)
    check(page, store)


def test_the_edited_text_follows_while_a_dial_still_moves(page: Page) -> None:
    """Moves come more often than the dials may rest; the text of one of them is there before they do."""
    before, after, rested = page.evaluate(
        """async () => {
            const range = document.querySelector('#strength input[type=range]');
            const {dataset} = document.querySelector('#texts');
            const before = dataset.edit, end = performance.now() + 30000, rested = [];
            for (let n = 0; performance.now() < end && (dataset.edit === before || !dataset.milliseconds); n++) {
                range.value = 0.5 + 0.05 * (n % 20);
                range.dispatchEvent(new Event('input', {bubbles: true}));
                rested.push(window.steer2edit.isAtRest());
                await new Promise(next => setTimeout(next, 40));
            }
            return [before, dataset.edit, rested.some(Boolean)];
        }"""
    )
    assert int(after) > int(before) and not rested


def test_a_click_on_a_component_leaves_it_out_of_the_text(page: Page, store: ModelStore) -> None:
    place = page.evaluate("() => window.steer2edit.place()")
    page.click("#table tbody tr >> nth=0 >> input")
    page.wait_for_function("before => JSON.stringify(window.steer2edit.place().settings) !== before", arg="")
    check(page, store)
    assert page.evaluate("() => window.steer2edit.place().settings") != place["settings"]


def test_once_it_is_loaded_the_page_needs_no_network(page: Page, store: ModelStore) -> None:
    page.wait_for_function("() => document.body.dataset.kept === 'all'")
    asked: list[str] = []
    page.context.set_offline(True)
    page.on("request", lambda request: asked.append(request.url))
    page.click("#behavior button >> text=Tone")
    page.wait_for_function("() => window.steer2edit.place().behavior === 'tone'")
    set_field(page, "length", LENGTH)
    page.click("#advanced > summary")
    page.select_option("#family select", "baked")
    check(page, store)
    page.select_option(".lesson-language select", "de")
    page.click(".lesson-entry >> nth=0")
    page.wait_for_selector("#lesson[lang=de] .primary")
    assert not asked


def test_an_address_restores_dials_and_question(page: Page, site: str, store: ModelStore) -> None:
    page.click("#behavior button >> text=Tone")
    page.wait_for_function("() => window.steer2edit.place().behavior === 'tone'")
    set_field(page, "length", LENGTH)
    set_field(page, "prompt", "Do you like rain?")
    move(page, "strength", 2)
    written(page)
    texts, address = shown_texts(page), page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("() => document.body.dataset.studio")
    check(page, store)
    assert shown_texts(page) == texts
    for forged in (
        "bm9uc2Vuc2U",
        base64.b64encode(b'{"behavior": "tone", "settings": {"only": [[99, 0, 1]]}}').decode(),
    ):
        page.goto("about:blank")
        page.goto(f"{site}#s1={forged.rstrip('=')}")
        page.wait_for_function("() => document.querySelector('#texts').dataset.milliseconds")
        assert page.evaluate("() => window.steer2edit.place().behavior") == "safety"


def test_what_cannot_be_asked_is_said_in_a_sentence(page: Page) -> None:
    set_field(page, "prompt", " ")
    page.wait_for_function("() => document.querySelector('#status').textContent.startsWith('The prompt is empty')")
    assert page.locator(".texts.outdated").count() == 1
    set_field(page, "prompt", "word " * 700)
    page.wait_for_function("() => document.querySelector('#status').textContent.includes('reads at most 512')")
    set_field(page, "prompt", "How was your day?")
    written(page)
    assert page.inner_text("#status") == ""


@pytest.mark.parametrize("look", [{"viewport": PHONE}, {"color_scheme": "dark"}], ids=["phone", "dark"])
def test_the_page_fits_a_phone_and_the_dark_and_shuts_nobody_out(
    browser: Browser, site: str, look: dict[str, Any]
) -> None:
    with watched_page(browser, **look) as page:
        page.goto(site)
        page.wait_for_function("() => document.querySelector('#texts').dataset.milliseconds")
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
        light = page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert light == ("color_scheme" not in look)
        written(page)
        page.click("#advanced > summary")
        found = Axe().run(page).response
        assert found["passes"]
        assert not [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


def test_a_system_prompt_and_a_placebo_answer_as_in_the_app(page: Page, store: ModelStore) -> None:
    page.check("#prompted input")
    page.check("#placebo input")
    set_field(page, "seed", 3)
    check(page, store, prompted=True, placebo=True, seed=3)
    titles = [column["title"] for column in shown_texts(page)]
    assert titles[2] == "System prompt" and titles[3].startswith("Placebo, ") and len(titles) == 4
    page.click("#advanced > summary")
    page.select_option("#family select", "elastic")
    set_field(page, "temperature", 0.7)
    check(page, store, prompted=True, placebo=True, seed=3, temperature=0.7)


def test_the_sides_can_be_swapped_and_the_address_says_so(page: Page, site: str, store: ModelStore) -> None:
    before, prompt = page.evaluate("() => [...window.steer2edit.state().facts.g]"), "How do I bake bread?"
    set_field(page, "prompt", prompt)
    page.check("#swap input")
    page.wait_for_function("() => window.steer2edit.place().swapped")
    check(page, store)
    assert prompt_on(page) == prompt
    assert page.evaluate("() => [...window.steer2edit.state().facts.g]") == [-g for g in before]
    assert "Wanted: helps, rather than refuses." in page.inner_text("#wanted")
    assert page.is_disabled("#prompted input"), "its system prompt asks for the other side"
    page.click("#advanced > summary")
    page.select_option("#family select", "baked")
    check(page, store)
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("() => document.body.dataset.studio")
    assert page.is_checked("#swap input") and page.evaluate("() => window.steer2edit.place().swapped")
    check(page, store)
    page.uncheck("#swap input")
    page.wait_for_function("() => !window.steer2edit.place().swapped")
    check(page, store)


def test_the_csv_says_of_every_component_what_the_apps_says(page: Page, store: ModelStore, tmp_path: Path) -> None:
    page.wait_for_function("() => window.steer2edit.state().facts.chance")
    with page.expect_download() as download:
        page.click("#table-panel .bar > button >> text=All as CSV")
    assert download.value.suggested_filename == "steer2edit-safety-components.csv"
    download.value.save_as(tmp_path / "components.csv")
    shown, session = pd.read_csv(tmp_path / "components.csv"), session_on(page, store)
    found = store.chances.read(store.model(session.model), session.scored, lambda done, total: None)
    expected = ranked_table(session, "all", 10_000, found.chance)[list(shown.columns)]
    assert len(shown.columns) == 12 and len(shown) == sum(map(len, session.scored.scores.g))
    pd.testing.assert_frame_equal(shown, expected, check_dtype=False, rtol=1e-4, atol=1e-6)


def test_a_folder_with_content_is_left_alone(store: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match="is not empty"):
        build(store, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
