"""What a visitor does with the evaluation in full, in a real browser: measure, stop, move a dial, download.

The behaviours are the bundled ones with four prompts a side.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui.browser import PATIENCE, PHONE, settled, watched_page
from tests.ui.running import running_app, shared_store, store_beside
from tests.ui.small_behaviors import PER_SPLIT, small_behaviors
from tests.ui.studio_page import arrive, choose_behavior, rest
from tests.ui.trade_off.test_journey import LONG, download


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = small_behaviors(tmp_path_factory.mktemp("behaviors"))
    store = store_beside(behaviors=folder, work=tmp_path_factory.mktemp("work"))
    with running_app(store) as url:
        yield url


@pytest.fixture
def visitor(page: Page, address: str) -> Page:
    return arrive(page, address)


def measure(page: Page, prompts: int = PER_SPLIT, *, steered: bool = True) -> None:
    if not page.locator("#measure").is_visible():
        page.get_by_role("button", name="Measure this edit in full").click()
        expect(page.locator("#measure")).to_be_visible(timeout=PATIENCE)  # the fold mounts when it is opened first
        settled(page)
    page.fill("#measure-prompts input", str(prompts))
    page.press("#measure-prompts input", "Tab")
    page.set_checked("#measure-steered input", steered)
    page.click("#measure")


def is_done(page: Page) -> None:
    expect(page.locator("#measure-status")).to_contain_text("Done", timeout=LONG)
    expect(page.locator("#measure")).to_be_enabled(timeout=PATIENCE)


def headings(page: Page) -> list[str]:
    return page.locator("#measure-table thead th").all_inner_texts()


def set_strength(page: Page, value: str) -> None:
    page.fill("#strength input[type=number]", value)
    page.press("#strength input[type=number]", "Tab")


def test_a_visitor_measures_the_edit_and_moves_a_dial_afterwards(visitor: Page, tmp_path: Path) -> None:
    measure(visitor)
    is_done(visitor)
    gamma = float(visitor.input_value("#gamma input"))
    assert headings(visitor)[2].startswith("Edit of ") and headings(visitor)[3] == f"Steering, γ = {gamma:g}"
    table = visitor.get_by_role("table", name="utility prompts, held out")
    assert table.get_by_role("rowheader").count() >= 10
    assert "Edit minus steering" in visitor.inner_text("#measure-table")
    expect(visitor.locator("#measure-table .earlier")).to_have_count(0)
    rows = list(csv.DictReader(download(visitor, "#measure-csv", tmp_path).open(encoding="utf-8")))
    assert {row["variant"] for row in rows} >= {"original", "edit minus steering"}
    set_strength(visitor, "1.5")
    expect(visitor.locator("#measure-table .earlier")).to_contain_text("Of an earlier edit", timeout=PATIENCE)
    rest(visitor)
    visitor.click("#undo")
    expect(visitor.locator("#measure-table .earlier")).to_have_count(0, timeout=PATIENCE)
    rest(visitor)


def test_another_behaviour_shows_no_figures_of_this_one(visitor: Page) -> None:
    measure(visitor, 2, steered=False)
    is_done(visitor)
    assert len(headings(visitor)) == 3
    choose_behavior(visitor, 1)
    expect(visitor.locator("#measure-table table")).to_have_count(0, timeout=PATIENCE)
    expect(visitor.locator("#measure-csv")).to_be_hidden(timeout=PATIENCE)
    rest(visitor)


def test_two_visitors_measure_their_own_edits(browser: Browser, address: str) -> None:
    with watched_page(browser) as one, watched_page(browser) as two:
        arrive(one, address), arrive(two, address)
        two.fill("#heads-count input[type=number]", "3")
        two.press("#heads-count input[type=number]", "Tab")
        rest(two)
        measure(one, 2), measure(two, 2, steered=False)
        is_done(one), is_done(two)
        assert len(headings(one)) == 4 and len(headings(two)) == 3
        assert headings(two)[2].startswith("Edit of 3 heads") and headings(one)[2] != headings(two)[2]


def test_an_edit_of_nothing_is_a_sentence_and_the_button_comes_back(visitor: Page) -> None:
    visitor.click("#none")
    rest(visitor)
    measure(visitor, 2)
    expect(visitor.locator(".toast-body")).to_contain_text("Nothing is edited yet", timeout=PATIENCE)
    expect(visitor.locator("#measure")).to_be_enabled(timeout=PATIENCE)


def test_a_phone_shows_the_table_without_scrolling_sideways(browser: Browser, address: str) -> None:
    with watched_page(browser, viewport=PHONE, has_touch=True) as page:
        arrive(page, address)
        measure(page)
        is_done(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        widest = page.evaluate(
            "Math.max(...[...document.querySelectorAll('.in-full *')].map(node => node.getBoundingClientRect().right))"
        )
        assert widest <= PHONE["width"]
        assert page.locator("#measure-table").get_by_role("rowheader").count() >= 10


def test_stop_ends_a_run_and_leaves_what_was_measured_before(page: Page) -> None:
    with running_app(shared_store()) as address:
        arrive(page, address)
        measure(page, 2)
        is_done(page)
        before = page.inner_text("#measure-table")
        measure(page, 150)
        expect(page.locator("#measure-status")).to_contain_text("answers and texts,", timeout=PATIENCE)
        page.click("#stop-measure")
        expect(page.locator("#measure-status")).to_contain_text("Stopped", timeout=PATIENCE)
        page.wait_for_timeout(1500)
        assert "Stopped" in page.inner_text("#measure-status"), "nothing goes on behind its back"
        assert page.inner_text("#measure-table") == before
        measure(page, 3)
        is_done(page)
        assert page.inner_text("#measure-table") != before
        settled(page)
        page.goto("about:blank")  # before the server goes
