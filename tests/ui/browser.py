"""A real browser for the tests, and pages that report what a visitor would never see: foreign requests and errors.

Knows Chromium and a running app's address; nothing of what is on the page.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright
from playwright.sync_api import Error as PlaywrightError

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
EVENTS = """
    // Events and questions that the page has sent to its server and not yet heard the end of; one more as long as the
    // tab's edit is not at rest, since an event follows.
    const begun = new Set(), over = new Set(), ask = window.fetch;
    let sending = 0;
    const moves = () => window.steer2edit?.isAtRest?.() === false;
    window.underWay = () => sending + [...begun].filter(id => !over.has(id)).length + Number(moves());

    function listening() {  // on the way to the page, which leaves a stream on which all is over
        const decoder = new TextDecoder();
        let line = '';
        return new TransformStream({transform(bytes, page) {
            const lines = (line + decoder.decode(bytes, {stream: true})).split('\\n');
            line = lines.pop();
            for (const data of lines.filter(one => one.startsWith('data:'))) {
                const message = JSON.parse(data.slice(5));
                if (message.msg === 'process_completed') over.add(message.event_id);
            }
            page.enqueue(bytes);
        }});
    }

    window.fetch = async (...request) => {
        const address = String(request[0]?.url ?? request[0]);
        if (/\\/(queue\\/join|run\\/|component_server)/.test(address)) {
            sending++;
            try {
                const answer = await ask(...request);
                const id = (await answer.clone().json())?.event_id;
                if (id) begun.add(id);
                return answer;
            } finally { sending--; }
        }
        const answer = await ask(...request);
        if (!address.includes('/queue/data')) return answer;
        return new Response(answer.body.pipeThrough(listening()), answer);
    };

    // A page that is left cuts its streams off and says so, to nobody. If it stays after all, it is heard again.
    addEventListener('beforeunload', () => {
        const say = console.error;
        console.error = () => {};
        setTimeout(() => { console.error = say; }, 2000);
    });
"""
QUIET_FOR = 10
"""Looks, 10 milliseconds apart, at which nothing may be under way: what one event sets off begins in between."""
PATIENCE = 60_000
"""Milliseconds; generous, for the machine may be busy with other work."""
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The system's Chromium, headless; skips without one, or fails where S2E_REQUIRE_BROWSER=1 asks for it."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        if os.environ.get("S2E_REQUIRE_BROWSER") == "1":
            pytest.fail("S2E_REQUIRE_BROWSER=1, but no Chromium is installed; install the package chromium.")
        pytest.skip("No Chromium on this machine; install the package chromium to run the browser tests.")
    with sync_playwright() as playwright:
        browser = _launch(playwright, path)
        try:
            yield browser
        finally:
            browser.close()


def _launch(playwright: Playwright, path: str) -> Browser:
    return playwright.chromium.launch(executable_path=path, args=list(FLAGS))


@dataclass(eq=False)
class Watch:
    """What went wrong on the pages of one context so far, as sentences."""

    complaints: list[str] = field(default_factory=list)
    is_over: bool = False
    """Set before the context is closed: what a page says of questions that are cut off there is no complaint."""

    def attach(self, page: Page) -> None:
        page.on("request", lambda request: self._request(request.url))
        page.on("pageerror", lambda error: self._complain(f"page error: {error}"))
        page.on("console", lambda m: m.type == "error" and self._complain(f"console error: {m.text}"))

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob", "file") and parts.hostname not in ("127.0.0.1", "localhost"):
            self._complain(f"foreign request: {url}")

    def _complain(self, sentence: str) -> None:
        if not self.is_over:
            self.complaints.append(sentence)


def state(page: Page) -> str:
    """What a page was doing when its test failed."""
    try:
        under_way, said = page.evaluate(
            "() => [window.underWay(), [...document.querySelectorAll('.toast-body')].map(one => one.innerText)]"
        )
    except PlaywrightError as error:
        return f"the page does not answer: {error}"
    return f"{under_way} events under way, messages: {said}"


@contextmanager
def watched_page(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page in a context of its own; raises AssertionError at the end if it asked for a foreign host or had errors.

    `options` are those of playwright's `new_context`, such as `viewport`, `has_touch` or `color_scheme`.
    """
    context: BrowserContext = browser.new_context(**{"viewport": DESKTOP, **options})
    watch = Watch()
    context.on("page", watch.attach)
    context.add_init_script(EVENTS)
    context.set_default_timeout(PATIENCE)
    try:
        page = context.new_page()
        yield page
        with suppress(PlaywrightError):
            page.evaluate("0")  # what was said before is heard
    except Exception as error:
        error.add_note(f"{state(page)}; complaints: {watch.complaints}")
        raise
    finally:
        watch.is_over = True
        context.close()
    assert not watch.complaints, "\n".join(watch.complaints)


def settled(page: Page) -> None:
    """Until the page waits for nothing from its server: every event is handled, with all that followed from it."""
    under_way = page.evaluate(
        """async ([looks, patience]) => {
            const end = performance.now() + patience;
            for (let quiet = 0; quiet < looks; quiet = window.underWay() ? 0 : quiet + 1) {
                if (performance.now() > end) return window.underWay();
                await new Promise(next => setTimeout(next, 10));
            }
            return 0;
        }""",
        [QUIET_FOR, PATIENCE],
    )
    assert not under_way, f"the page still waits for {under_way} events"


@contextmanager
def served(demo: gr.Blocks, *, app_kwargs: Mapping[str, Any] | None = None) -> Iterator[str]:
    """The address of an app that runs in this process until the context ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    demo.launch(
        prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", server_port=port, run_history=False,
        ssr_mode=False, app_kwargs=dict(app_kwargs or {}),
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        demo.close(verbose=False)
