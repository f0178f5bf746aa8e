"""A student at 200 % zoom, a teacher with the keyboard, a researcher who trusts no number: what each comes for."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from components.studio.place import session_of
from s2e_core import load_edit
from s2e_core.method import relative_changes
from tests.ui.browser import DESKTOP, PHONE, settled, watched_page
from tests.ui.running import running_app, shared_store, store_in_tab
from tests.ui.studio_page import arrive, place, rest, said, set_slider

ZOOMED = {"width": DESKTOP["width"] // 2, "height": DESKTOP["height"] // 2}
"""What the page has of a window at 200 %."""
PROJECTOR = {"width": 1920, "height": 1080}
PRINTED = {"width": 720, "height": 1000}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(store_in_tab()) as url:
        yield url


def counts(page: Page) -> list[int]:
    """How many of the answers of each side show the behaviour."""
    words = page.locator("#rolls").inner_text()
    return [int(count) for count in re.findall(r": (\d) of 8", words)]


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the focus is there, as somebody without a mouse."""
    for _ in range(60):
        if page.evaluate("selector => Boolean(document.activeElement?.matches(selector))", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not reach {selector}")


def test_a_student_at_twice_the_size_sees_what_the_edit_does_and_takes_it_back(browser: Browser, address: str) -> None:
    with watched_page(browser, viewport=ZOOMED, device_scale_factor=2) as page:
        arrive(page, address)
        original, edited = counts(page)
        assert edited > original, "the suggested edit works on arrival"
        assert page.evaluate("document.documentElement.scrollWidth") <= ZOOMED["width"]
        set_slider(page, "strength", 0)
        rest(page)
        assert len(set(said(page)[:2])) == 1, "without strength both sides say the same"
        page.click("#ask-eight")
        rest(page)
        assert counts(page) == [original, original]
        page.click("#undo")
        rest(page)
        assert len(set(said(page)[:2])) == 2


def test_a_teacher_shows_a_class_with_the_keyboard_alone(browser: Browser, address: str) -> None:
    with watched_page(browser, viewport=PROJECTOR, color_scheme="dark") as page:
        arrive(page, address)
        before = place(page)["settings"]
        tab_to(page, "#strength input[type=range]")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        rest(page)
        moved = place(page)["settings"]
        assert moved["strength"] > before["strength"]
        page.keyboard.press("Control+z")
        rest(page)
        assert place(page)["settings"] == before
        tab_to(page, "#run")
        page.keyboard.press("Enter")
        rest(page)
        tab_to(page, "#heads canvas, #heads [tabindex='0']")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        rest(page)
        assert place(page)["settings"] != before, "a cell is chosen without a mouse too"


def test_a_researcher_finds_every_number_of_the_page_in_python(browser: Browser, address: str, tmp_path: Path) -> None:
    with watched_page(browser, viewport=DESKTOP) as page:
        arrive(page, address)
        session = session_of(shared_store(), place(page))
        with page.expect_download() as csv_file:
            page.get_by_role("button", name="All as CSV").click()
        rows = list(csv.DictReader(Path(csv_file.value.path()).read_text(encoding="utf-8").splitlines()))
        scores, edit = session.scored.scores, session.edit
        ranked = torch.cat(scores.g).abs().argsort(descending=True, stable=True)
        for column, tensors in (("g", scores.g), ("λ", edit.strength), ("|ΔW| / |W|", relative_changes(scores, edit))):
            expected = torch.cat(tensors)[ranked]
            assert len(rows) == len(expected)
            shown = torch.tensor([float(row[column]) for row in rows])
            assert torch.allclose(shown, expected, atol=1e-6, rtol=1e-6), column
        with page.expect_download() as recipe:
            page.click("#recipe")
        loaded = load_edit(recipe.value.path())
        settled(page)
        assert torch.equal(torch.cat(loaded.strength), torch.cat(edit.strength))


@pytest.mark.parametrize("viewport", [PRINTED, PHONE], ids=["paper", "phone"])
def test_on_paper_stands_what_was_found_and_nothing_to_press(
    browser: Browser, address: str, viewport: dict[str, int]
) -> None:
    with watched_page(browser, viewport=viewport) as page:
        arrive(page, address)
        page.emulate_media(media="print")
        for name in ("#texts", "#rolls", "#summary", "#heads canvas"):
            expect(page.locator(name).first).to_be_visible()
        for name in ("#run", "#undo", "#stop-run", "#recipe", "#choose button"):
            expect(page.locator(name).first).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
