"""A folder behind a plain web server, and the modules of the tab's model in a page of it, called from Python.

Knows the standard library's server and Chromium; nothing of what is computed.
"""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from components.tab_model.files import scripts, write_model
from s2e_core.model import LoadedModel
from tests.ui.browser import watched_page

STUDIO = Path(__file__).parents[3] / "components" / "studio"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served_folder(folder: Path) -> Iterator[str]:
    """The address of a folder, served without Python's help, until the context ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


@contextmanager
def page_of_modules(browser: Browser, loaded: LoadedModel, folder: Path, names: tuple[str, ...]) -> Iterator[Page]:
    """A page with the modules of the tab's model as `modules`, by name, and its files under model/."""
    write_model(loaded, folder / "model")
    for name, files in (("tab_model", scripts()), ("studio", sorted(STUDIO.glob("*.js")))):
        (folder / name).mkdir()
        for path in files:
            shutil.copyfile(path, folder / name / path.name)
    (folder / "index.html").write_text('<!doctype html><title>Modules</title><link rel="icon" href="data:,">')
    with served_folder(folder) as address, watched_page(browser) as page:
        page.goto(address)
        page.evaluate(
            """async names => {
                const loaded = await Promise.all(names.map(name => import(`/${name}.js`)));
                window.modules = Object.fromEntries(names.map((name, i) => [name.split('/')[1], loaded[i]]));
            }""",
            list(names),
        )
        yield page
