"""Writes the static site: page, scripts, model, and for every behaviour what was extracted from the model.

Knows files and the values that the page shows; every script of another package is copied as it is.
"""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

from components import compare, lessons, studio
from components.lessons.lessons_widget import TEXTS, languages
from components.lessons.questions import about
from components.shared import texts
from components.shared.choices import Choice, opened
from components.shared.session import Session
from components.shared.store import ModelStore
from components.studio.by_chance import chance_values
from components.studio.facts import facts
from components.tab_model.files import runs_in_tab, scripts, write_model
from components.tab_model.questions import asked_data, words
from components.tab_model.vectors import moments, vectors
from s2e_core import Behavior, SettingsError, swapped
from s2e_core.why import Chance

HERE = Path(__file__).parent
STUDIO, COMPARE, LESSONS = (Path(package.__path__[0]) for package in (studio, compare, lessons))
ARMS = {"swap": texts.SWAP, "steered": texts.STEERED, "prompted": texts.PROMPTED, "placebo": texts.PLACEBO}
STYLE = Path(__file__).parents[2] / "assets" / "style.css"
WIDGETS = ("text_columns", "rolls")
"""Scripts of components/compare whose body draws a value into `element`; as modules they export a function."""
TABLE_ROWS = 300
SWAPPED = ".swapped"
"""Ends the name of the file of a behaviour whose sides are swapped."""


def build(store: ModelStore, out: Path, *, progress: Callable[[str], None] = lambda line: None) -> None:
    """Write the site into a folder that is new or empty.

    Raises SettingsError if the folder has content, or if the store's first model does not run in a browser.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} already exists and is not empty. Name a new folder, or empty it.")
    loaded = store.model(store.first_model)
    if not runs_in_tab(loaded):
        raise SettingsError("Only the bundled model runs in a browser. Build the site from it.")
    out.mkdir(parents=True, exist_ok=True)
    behaviors = store.fitting(store.first_model)
    write_model(loaded, out / "model")
    _write_scripts(out)
    _write_page(out, behaviors)
    (out / "behaviors").mkdir()
    for behavior in behaviors:
        progress(f"{behavior.title}: reading its examples and prompts …")
        for swap in (False, True):
            session = _session(store, behavior, swap)
            found = store.chances.read(loaded, session.scored, lambda done, total: None)
            _write_behavior(out / "behaviors", store, behavior, session, found.chance)


def _session(store: ModelStore, behavior: Behavior, swap: bool) -> Session:
    contrast = swapped(behavior.contrast) if swap else behavior.contrast
    scored = store.scored(store.first_model, contrast, behavior)
    return opened(store, Choice(store.first_model, behavior.name, swap), scored)


def _write_behavior(folder: Path, store: ModelStore, behavior: Behavior, session: Session, chance: Chance) -> None:
    loaded = store.model(session.model)
    extraction, name = session.scored.extraction, f"{behavior.name}{SWAPPED if session.swapped else ''}"
    data = {
        # The store's key is one of a running server; an address of the site must hold after the next build as well.
        "facts": {**facts(session, TABLE_ROWS), "key": f"{name} {loaded.fingerprint}"},
        "chance": chance_values(chance),
        "vectors": vectors(extraction),
        **asked_data(loaded, behavior, session.swapped),
        "about": about(store, session),
    }
    _write_json(folder / f"{name}.json", data)
    # The prompts that a gate is fitted on have no sides.
    if extraction.token_inputs is not None and not session.swapped:
        (folder / f"{behavior.name}.moments").write_bytes(moments(extraction.token_inputs))


def _write_scripts(out: Path) -> None:
    taught = (*LESSONS.glob("*.js"), *TEXTS.glob("*.json"))
    folders = {"studio": STUDIO.glob("*.js"), "tab_model": scripts(), "lessons": taught, "site": HERE.glob("*.js")}
    for folder, files in folders.items():
        (out / folder).mkdir()
        for path in files:
            shutil.copyfile(path, out / folder / path.name)
    for name in WIDGETS:
        body = (COMPARE / f"{name}.js").read_text(encoding="utf-8")
        module = f"export const start = (element, props, watch) => {{\n{body}\n}};\n"
        (out / "site" / f"{name}.js").write_text(module, encoding="utf-8")


def _write_page(out: Path, behaviors: tuple[Behavior, ...]) -> None:
    styles = [STYLE, *sorted(STUDIO.glob("*.css")), *sorted(LESSONS.glob("*.css")), HERE / "site.css"]
    (out / "style.css").write_text("\n".join(path.read_text(encoding="utf-8") for path in styles), encoding="utf-8")
    page = Template((HERE / "page.html").read_text(encoding="utf-8"))
    labels = {"run": texts.RUN, "rolls": texts.ROLLS, "follow": texts.FOLLOW}
    shown = {"title": texts.TITLE, "legend": texts.LEGEND.replace("**", ""), **labels, **ARMS}
    filled = page.substitute({name: html.escape(word) for name, word in shown.items()})
    (out / "index.html").write_text(filled, encoding="utf-8")
    site: dict[str, Any] = {
        "model": "Bundled demo model",
        "behaviors": [{"name": each.name, "title": each.title} for each in behaviors],
        "told": texts.TOOLTIPS,
        "words": words(),
        "languages": languages(),
    }
    _write_json(out / "site.json", site)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
