"""The catalogues of the lessons: every language says the same, with the same values, and no figure stands in a text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from components.lessons.lessons_widget import TEXTS, languages
from tests.ui.running import running_app, shared_store
from tests.ui.studio_page import arrive

FILES = sorted(TEXTS.glob("*.json"))
LESSONS = ("direction", "writers", "sparse", "cost", "fooled")


def texts(path: Path) -> dict[str, str]:
    """Every text by its name; the paragraphs of one text are joined."""

    def walk(value: Any, name: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(inner, f"{name}.{key}")
        else:
            yield name, value if isinstance(value, str) else "\n".join(value)

    return dict(walk(json.loads(path.read_text(encoding="utf-8")), ""))


ENGLISH = texts(TEXTS / "en.json")


def test_there_are_five_lessons_in_two_languages() -> None:
    assert languages() == {"de": "Deutsch", "en": "English"}
    assert {name.split(".")[2] for name in ENGLISH if name.startswith(".lessons.")} == set(LESSONS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_language_has_the_same_texts_with_the_same_placeholders(path: Path) -> None:
    other = texts(path)
    assert list(other) == list(ENGLISH)
    for name, text in ENGLISH.items():
        assert set(re.findall(r"\{\w+\}", other[name])) == set(re.findall(r"\{\w+\}", text)), name
        assert other[name].strip() and other[name].count("*") % 2 == 0, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_figure_is_written_in_a_text(path: Path) -> None:
    assert not {name: text for name, text in texts(path).items() if re.search(r"\d", text)}


EMPHASIS = {"Back"}
"""Names of buttons of the card itself, and words that are only stressed."""


def test_every_control_that_a_text_names_is_on_the_page(page: Page) -> None:
    names = {name for text in ENGLISH.values() for name in re.findall(r"\*([^*{}]+)\*", text)}
    controls = {name for name in names if name[0].isupper()} - EMPHASIS
    assert {"Strength", "Undo", "Kind of edit"} <= controls
    with running_app(shared_store()) as address:
        arrive(page, address)
        shown = page.evaluate("() => document.body.textContent")
    assert not [name for name in controls if name not in shown]


def test_the_texts_are_translated() -> None:
    german = texts(TEXTS / "de.json")
    same = {name for name, text in ENGLISH.items() if german[name] == text}
    assert all(len(ENGLISH[name]) < 20 for name in same), same
