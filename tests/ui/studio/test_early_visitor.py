"""A visitor who moves a dial before the scores have arrived: nothing of it is lost, and nothing breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.ui.browser import PATIENCE, settled
from tests.ui.running import running_app, shared_store
from tests.ui.studio_page import figures, place, rest

QUESTIONS = "**/component_server/**"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


def test_a_dial_that_is_moved_before_the_scores_have_arrived_counts(page: Page, address: str) -> None:
    page.set_default_timeout(PATIENCE)
    held: list[Route] = []
    page.route(QUESTIONS, lambda route: held.append(route))
    page.goto(address)
    page.fill("#strength input[type=number]", "0")
    page.press("#strength input[type=number]", "Tab")
    page.click("#undo", force=True)  # there is nothing yet to take back
    page.wait_for_timeout(100)
    assert held and page.evaluate("document.body.dataset.studio") is None
    for route in held:
        route.continue_()
    page.unroute(QUESTIONS)
    expect(page.locator("#summary .verdict")).to_contain_text("Nothing is edited", timeout=PATIENCE)
    expect(page.locator("#rolls .rolls.outdated")).to_have_count(1, timeout=PATIENCE)
    rest(page)
    assert place(page)["settings"]["strength"] == 0 and figures(page) == (0, 0)
    page.click("#undo")
    settled(page)
    assert sum(figures(page)) > 0
    rest(page)
