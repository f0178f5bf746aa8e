"""The studio's modules that know no page, called from Python: plain values in, plain values out.

They run in Chromium, in an empty page that gets them without a server. Knows components/studio by its file names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route

from tests.ui.browser import watched_page

STUDIO = Path(__file__).parents[3] / "components" / "studio"
ADDRESS = "http://localhost/"
MODULES = ("facts", "chance", "method", "settings", "url", "history", "solved", "words", "table")
"""What `call` passes on by name."""


class Modules:
    """The modules in one page, and the facts of one model, which are decoded once."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def load(self, facts: dict[str, Any]) -> None:
        """The extraction that later calls are about, as `facts` of the server sends it."""
        self._page.evaluate("sent => { window.facts = window.modules.facts.decode(sent); }", facts)

    def call(self, body: str, value: Any = None) -> Any:
        """What a function of (m, facts, value) gives, as JSON: m are the modules by name, `body` is its body."""
        call = f"((m, facts, value) => {{ {body} }})(modules, window.facts, value)"
        return json.loads(self._page.evaluate(f"value => JSON.stringify({call}) ?? 'null'", value))

    def awaited(self, promise: str) -> Any:
        """What a promise of the page comes to."""
        return self._page.evaluate(promise)


@contextmanager
def modules(browser: Browser) -> Iterator[Modules]:
    """Fails at the end if a module had an error or asked for another host."""
    with watched_page(browser) as page:
        page.route(f"{ADDRESS}**", _send)
        page.goto(ADDRESS)
        page.evaluate(
            """async names => {
                const loaded = await Promise.all(names.map(name => import(`/${name}.js`)));
                window.modules = Object.fromEntries(names.map((name, i) => [name, loaded[i]]));
            }""",
            list(MODULES),
        )
        yield Modules(page)


def _send(route: Route) -> None:
    name = route.request.url.removeprefix(ADDRESS)
    if name.endswith(".js"):
        route.fulfill(path=STUDIO / name, content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html><title>Modules</title>", content_type="text/html")
