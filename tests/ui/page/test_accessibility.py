"""What a screen reader or a person without a mouse would stumble over, as axe-core finds it; in light and dark."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.ui.browser import DESKTOP, PHONE, settled, watched_page
from tests.ui.running import running_app, shared_store


def problems(page: Page) -> list[str]:
    found = Axe().run(page).response
    assert found["passes"], "axe-core has not looked at the page"
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


@pytest.mark.parametrize(("size", "theme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light")])
def test_nothing_on_the_page_shuts_anybody_out(browser: Browser, size: dict[str, int], theme: str) -> None:
    with running_app(shared_store()) as address, watched_page(browser, viewport=size) as page:
        page.goto(f"{address}/?__theme={theme}")
        page.wait_for_selector("#summary[data-edit]")
        settled(page)
        assert problems(page) == []
        page.locator("#advanced > summary").click()
        page.locator("#map-tools").click()
        page.locator("#maps button[data-view=map]").click()
        assert problems(page) == []
