"""What the browser tests do with the studio: arrive, wait until all is at rest, move a dial, read the figures.

Knows the ids of the page, and a tab's place as `window.steer2edit.place` gives it.
"""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.ui.browser import PATIENCE, settled


def arrive(page: Page, address: str) -> Page:
    """Open the page and wait until it is at rest."""
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_function("() => window.steer2edit?.isAtRest?.()", timeout=PATIENCE)
    page.wait_for_selector("#heads [data-draws]")
    page.wait_for_selector("#neurons-ranked [data-draws]")
    rest(page)
    page.wait_for_function(
        "() => { const {chance, wait} = window.steer2edit.state().facts;"
        " return chance || (wait && !('total' in wait)); }",
        timeout=PATIENCE,
    )
    return page


def rest(page: Page) -> None:
    """Until the page and the texts have followed the last change."""
    settled(page)  # the texts follow once the dials rest
    page.wait_for_function(
        "() => document.querySelector('#texts .texts') && !document.querySelector('#texts .texts.outdated')"
        " && document.querySelector('#texts .texts').getAttribute('aria-busy') === 'false'",
        timeout=PATIENCE,
    )
    settled(page)


def place(page: Page) -> dict[str, Any]:
    """The place of the tab: what it tells the server of its edit."""
    found: dict[str, Any] = page.evaluate("() => window.steer2edit.place()")
    return found


def figures(page: Page) -> tuple[int, int]:
    """Edited heads and neurons, as the page says."""
    heads, neurons = page.locator("#summary .figure b").all_inner_texts()[:2]
    return int(heads.replace(",", "")), int(neurons.replace(",", ""))


def set_slider(page: Page, name: str, value: float) -> float:
    """Move a slider as a drag does and return the milliseconds until the studio has drawn the edit."""
    taken: float = page.evaluate(
        """async ([name, value]) => {
            const slider = document.querySelector(`#${name} input[type=range]`);
            const before = document.body.dataset.studio, start = performance.now();
            slider.value = value;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
            while (document.body.dataset.studio === before && performance.now() - start < 20000)
                await new Promise(next => setTimeout(next, 2));
            return performance.now() - start;
        }""",
        [name, value],
    )
    return taken


def set_count(page: Page, kind: str, count: int) -> float:
    """Move the dial of a count and return the milliseconds until the page says that so many are edited."""
    taken = set_slider(page, f"{kind}-count", count)
    assert figures(page)[0 if kind == "heads" else 1] == count
    return taken


def open_advanced(page: Page) -> None:
    """Open the fold with the paper's dials."""
    page.evaluate("() => { document.querySelector('#advanced').open = true; }")


def choose_behavior(page: Page, number: int) -> None:
    """Choose from the box of behaviours; -1 is the last choice, own examples."""
    page.click("#behavior input")
    page.locator("[role=option]").nth(number).click()


def said(page: Page) -> list[str]:
    """The texts of the columns, without the words that are only marked as left out."""
    return [text.text_content() or "" for text in page.locator("#texts .text").all()]
