"""Layout of the lessons: the way in at the top of the page, and the menu with the widget behind it. No logic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .lessons_widget import lessons_widget

WAY_IN = ' <a class="learn" href="?lesson=1">New here? Start with a lesson.</a>'
"""Stands in the header; without a script it still leads to the lesson."""


def lessons_panel(questions: Mapping[str, Callable[[Any], Any]]) -> None:
    lessons_widget(questions)


def lessons_css() -> str:
    return (Path(__file__).parent / "lessons.css").read_text(encoding="utf-8")
