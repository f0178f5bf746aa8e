"""The app with the model in the tab: it writes what the server would write, at once; the server writes the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

import app
from components.compare.handlers import Request, compared
from components.compare.rolls import rolled
from components.shared.store import ModelStore
from components.studio.place import session_of
from components.tab_model.files import runs_in_tab
from s2e_core import load_model
from tests.ui.browser import watched_page
from tests.ui.running import running_app, store_beside, store_in_tab
from tests.ui.studio_page import arrive, choose_behavior, open_advanced, place, rest, set_slider
from tests.ui.tab_model.shown import HERE, shown_texts, shows_what_the_server_writes

LENGTH = 24


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return store_in_tab()


@pytest.fixture(scope="module")
def served_texts() -> list[str]:
    """What the server was asked to write, in order."""
    return []


@pytest.fixture(scope="module")
def address(store: ModelStore, served_texts: list[str]) -> Iterator[str]:
    def noted(name: str, write: Any) -> Any:
        def writes(*values: Any) -> Any:
            served_texts.append(name)
            yield from write(*values)

        return writes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "compared", noted("texts", compared))
        patch.setattr(app, "rolled", noted("rolls", rolled))
        with running_app(store) as found:
            yield found


@contextmanager
def visiting(browser: Browser, address: str) -> Iterator[Page]:
    with watched_page(browser) as page:
        arrive(page, address)
        page.click("h1")
        page.wait_for_function("() => document.body.dataset.tabModel")
        page.fill("#length input", str(LENGTH))
        page.press("#length input", "Tab")
        page.click("#run")
        page.click("#ask-eight")
        at_rest(page)
        yield page


def at_rest(page: Page) -> None:
    """Until texts and answers are those of the dials."""
    rest(page)
    page.wait_for_function(
        "() => !document.querySelector('#rolls .rolls.outdated, #rolls [aria-busy=true], #texts [aria-busy=true]')"
        " && document.querySelector('#texts .texts').dataset.edit === document.querySelector('#summary').dataset.edit"
    )


def check(page: Page, store: ModelStore, **options: Any) -> None:
    at_rest(page)
    request = Request(page.input_value("#prompt textarea"), LENGTH, **options)
    shows_what_the_server_writes(page, store, session_of(store, place(page)), request)


def by_the_tab(page: Page) -> bool:
    return page.inner_text("#texts .asked").endswith(HERE)


def test_the_tab_writes_what_the_server_would_and_asks_it_for_no_text(
    browser: Browser, address: str, store: ModelStore, served_texts: list[str]
) -> None:
    """The elastic net, a component left out, a gate, protection, steering, dice, another behaviour."""
    with visiting(browser, address) as page:
        del served_texts[:]
        set_slider(page, "strength", 1.6)
        check(page, store)
        page.click("#table tbody tr >> nth=0 >> input")
        check(page, store)
        left_out = shown_texts(page)[1]["title"]
        open_advanced(page)
        page.select_option("#family select", "gated")
        check(page, store)
        set_slider(page, "gate-gamma", 1.3)
        check(page, store)
        assert shown_texts(page)[1]["title"] != left_out
        page.select_option("#family select", "elastic")
        set_slider(page, "protect", 8)
        check(page, store)
        page.check("#steered input")
        page.fill("#temperature input", "0.8")
        page.fill("#seed input", "11")
        page.press("#seed input", "Tab")
        page.click("#run")
        gamma = float(page.input_value("#gamma input"))
        page.click("#ask-eight")
        check(page, store, steered=True, temperature=0.8, seed=11, gamma=gamma)
        assert len(shown_texts(page)) == 3 and by_the_tab(page)
        page.uncheck("#steered input")
        choose_behavior(page, 1)
        page.wait_for_function("() => window.steer2edit.place().behavior !== 'safety'")
        at_rest(page)
        set_slider(page, "strength", 2)
        at_rest(page)
        assert by_the_tab(page)
        # The first texts of another behaviour are the server's, until its vectors are here.
        assert len(served_texts) <= 2


def test_what_the_tab_cannot_write_the_server_writes(
    browser: Browser, address: str, store: ModelStore, served_texts: list[str]
) -> None:
    with visiting(browser, address) as page:
        del served_texts[:]
        page.click("#advanced > summary")
        page.click("#keep-under")
        set_slider(page, "strength", 2)
        rest(page)
        page.click("#ask-eight")
        rest(page)
        assert "texts" in served_texts and not by_the_tab(page)
        *_, expected = compared(
            store, session_of(store, place(page)), Request(page.input_value("#prompt textarea"), LENGTH)
        )
        assert shown_texts(page) == expected["columns"] and "on top of" in expected["columns"][1]["title"]
        page.click("#under button")
        rest(page)
        page.click("#ask-eight")
        at_rest(page)
        assert by_the_tab(page) and len(shown_texts(page)) == 2


def test_a_system_prompt_a_placebo_and_swapped_sides_are_written_by_the_tab(
    browser: Browser, address: str, store: ModelStore, served_texts: list[str]
) -> None:
    with visiting(browser, address) as page:
        del served_texts[:]
        page.check("#placebo input")
        page.check("#prompted input")
        page.click("#ask-eight")
        check(page, store, placebo=True, prompted=True)
        assert not served_texts and by_the_tab(page) and len(shown_texts(page)) == 4
        page.uncheck("#placebo input")
        page.uncheck("#prompted input")
        page.check("#swap input")
        expect(page.locator("#swap input")).to_be_checked()
        page.wait_for_function("() => window.steer2edit.place().swapped === true")
        at_rest(page)
        page.fill("#length input", str(LENGTH))  # other sides bring their own
        page.press("#length input", "Tab")
        set_slider(page, "strength", 2)
        rest(page)
        page.click("#ask-eight")
        check(page, store)
        assert by_the_tab(page)
        assert len(served_texts) <= 2, "the first texts of other sides may come before their vectors"


def test_long_answers_of_the_tab_can_be_stopped(browser: Browser, address: str) -> None:
    with visiting(browser, address) as page:
        page.fill("#temperature input", "5")
        page.fill("#length input", "256")
        page.press("#length input", "Tab")
        page.click("#ask-eight")
        page.wait_for_selector("#rolls [aria-busy=true]")
        expect(page.locator("#stop-run")).to_be_enabled()
        page.click("#stop-run")
        expect(page.locator("#stop-run")).to_be_disabled()
        page.wait_for_selector("#rolls .rolls.outdated:not([aria-busy=true])")
        page.fill("#length input", str(LENGTH))
        page.fill("#temperature input", "0")
        page.press("#length input", "Tab")
        page.click("#run")
        page.click("#ask-eight")
        at_rest(page)
        assert page.locator("#rolls .roll").count() == 16


def test_without_the_files_of_the_model_the_server_writes_all(
    browser: Browser, address: str, store: ModelStore
) -> None:
    with watched_page(browser) as page:
        page.route("**/demo_model/**", lambda route: route.fulfill(body="no model"))
        arrive(page, address)
        page.click("h1")
        page.wait_for_function("() => document.body.dataset.tabModel === 'false'")
        set_slider(page, "strength", 1.6)
        rest(page)
        assert not by_the_tab(page)
        session = session_of(store, place(page))
        length = int(page.input_value("#length input"))
        *_, expected = compared(store, session, Request(page.input_value("#prompt textarea"), length))
        assert shown_texts(page) == expected["columns"]


def test_an_operator_may_keep_the_model_on_the_server() -> None:
    names = {name for name, _ in _questions(app.build(store_beside(in_tab=False)))}
    assert "tab" not in names and "solve" in names
    assert "tab" in {name for name, _ in _questions(app.build(store_beside(in_tab=True)))}


def _questions(demo: Any) -> list[tuple[str, Any]]:
    studio = next(block for block in demo.blocks.values() if block.elem_id == "studio")
    return [(one.__name__, one) for one in studio.server_fns]


def test_a_model_in_fewer_bits_stays_on_the_server() -> None:
    loaded = load_model("bundled")
    assert runs_in_tab(loaded)
    assert not runs_in_tab(replace(loaded, full_precision=loaded.model))
    assert not runs_in_tab(replace(loaded, adapter="lora"))
    assert not runs_in_tab(load_model("bundled", dtype=torch.bfloat16))
