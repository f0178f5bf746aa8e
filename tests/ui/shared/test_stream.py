"""Every event is answered, whenever gradio's stream of answers closes (assets/stream.js).

What the network does by chance is done on purpose: the closing of the stream reaches the page when the test says so.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.ui.browser import PATIENCE, settled
from tests.ui.running import running_app, shared_store
from tests.ui.studio_page import arrive

LATE_CLOSE = """
    const reached = window.fetch;
    window.numbers = 0;
    window.fetch = async (...request) => {
        const answer = await reached(...request), url = String(request[0]?.url ?? request[0]);
        if (url.includes('/queue/join')) window.numbers++;
        if (!url.includes('/queue/data')) return answer;
        const cut = new TransformStream({async transform(text, page) {
            const at = text.search(/data:[^\\n]*"close_stream"/);
            if (at > 0) page.enqueue(text.slice(0, at));
            if (at >= 0 && window.holdClose) await new Promise(next => window.closing = next);
            page.enqueue(text.slice(Math.max(at, 0)));
        }});
        const told = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(cut);
        return new Response(told.pipeThrough(new TextEncoderStream()), answer);
    };
"""
LATE_END = """
    const reached = window.fetch;
    window.fetch = async (...request) => {
        const answer = await reached(...request);
        if (!String(request[0]?.url ?? request[0]).includes('/queue/data')) return answer;
        const late = new TransformStream({async transform(text, page) {
            if (window.holdEnd && text.includes('"process_completed"')) await new Promise(next => window.end = next);
            page.enqueue(text);
        }});
        const told = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(late);
        return new Response(told.pipeThrough(new TextEncoderStream()), answer);
    };
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


def press(page: Page, button: str) -> None:
    """As quick as a script."""
    page.evaluate("name => document.getElementById(name).click()", button)


def begin_as_the_stream_closes(page: Page) -> None:
    """Another event, that the dials rest, has its number when the closing of the stream arrives."""
    page.uncheck("#follow input")
    settled(page)
    page.evaluate("window.holdClose = true")
    press(page, "run")  # one event alone
    page.wait_for_function("Boolean(window.closing)")
    before = page.evaluate("window.numbers")
    press(page, "none")
    page.wait_for_function("n => window.numbers > n", arg=before)
    page.evaluate("() => new Promise(next => setTimeout(next, 200))")  # gradio has what it is to have of it by now
    page.evaluate("window.holdClose = false; window.closing()")


def test_an_event_that_begins_as_the_stream_closes_is_answered(page: Page, address: str) -> None:
    page.add_init_script(LATE_CLOSE)
    arrive(page, address)
    begin_as_the_stream_closes(page)
    expect(page.locator("#checkpoint")).to_be_disabled(timeout=PATIENCE)  # there is no file of an empty edit
    settled(page)


def test_a_run_that_follows_a_stop_can_be_stopped_though_the_end_of_the_one_before_comes_late(
    page: Page, address: str
) -> None:
    page.add_init_script(LATE_END)
    arrive(page, address)
    stop = page.locator("#stop-run")
    with shared_store().model(shared_store().first_model).lock:
        page.click("#run")
        expect(page.locator("#texts .texts")).to_have_attribute("aria-busy", "true", timeout=PATIENCE)
        page.evaluate("window.holdEnd = true")
        press(page, "stop-run")
        page.wait_for_function("Boolean(window.end)")
        press(page, "run")
        page.evaluate("() => new Promise(next => setTimeout(next, 500))")  # by now it would have begun
        page.evaluate("window.holdEnd = false; window.end()")
        page.evaluate("() => new Promise(next => setTimeout(next, 500))")
        expect(stop).to_be_enabled(timeout=PATIENCE)
        stop.click()
        expect(stop).to_be_disabled(timeout=PATIENCE)
    settled(page)
