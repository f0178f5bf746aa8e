"""The widget of the lessons, and the routes of its scripts and texts. Knows the page's machinery alone.

A further language is a further file in components/lessons/texts; its `name` is what the menu shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.routing import Route

from components.studio.studio_widget import answering, script_routes, send

HERE = Path(__file__).parent
TEXTS = HERE / "texts"
LESSONS_PATH = "gradio_api/s2e/lessons"
START = """
import(new URL('%(path)s/lessons.js', document.baseURI).href).then(lessons =>
  lessons.start({root: element.querySelector('.lessons'), server, languages: %(languages)s}));
"""


def lesson_routes() -> list[Route]:
    """For `launch(app_kwargs={"routes": ...})`, beside those of the studio, whose modules the scripts import."""
    scripts = script_routes(HERE, LESSONS_PATH)
    texts = [
        Route(f"/{LESSONS_PATH}/{path.name}", send(path, "no-cache", "application/json"))
        for path in sorted(TEXTS.glob("*.json"))
    ]
    return [*scripts, *texts]


def languages() -> dict[str, str]:
    """What each language calls itself, by its code."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8"))["name"] for path in sorted(TEXTS.glob("*.json"))}


def lessons_widget(questions: Mapping[str, Callable[[Any], Any]]) -> gr.HTML:
    """`questions` are what a lesson may ask the server."""
    return gr.HTML(
        None,
        elem_id="lessons",
        html_template='<div class="lessons"></div>',
        js_on_load=START % {"path": LESSONS_PATH, "languages": json.dumps(languages(), ensure_ascii=False)},
        server_functions=[answering(name, question) for name, question in questions.items()],
        apply_default_css=False,
        padding=False,
    )
