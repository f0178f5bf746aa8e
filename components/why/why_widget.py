"""The widgets of the why: gr.HTML elements that scripts of their own draw, and the routes of these scripts.

Knows the page's machinery. Values are made in handlers.py; every text enters the page through `textContent`.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from starlette.routing import Route

from components.studio.studio_widget import script_routes

HERE = Path(__file__).parent
SCRIPTS_PATH = "gradio_api/s2e/why"
"""Beside the studio's, whose small tools these scripts import."""
START = """
import(new URL('%(path)s/%(script)s.js', document.baseURI).href).then(one => one.start({element, props, watch}));
"""


def why_routes() -> list[Route]:
    return script_routes(HERE, SCRIPTS_PATH)


def drawn_by(script: str, elem_id: str, label: str, tag: str = "div") -> gr.HTML:
    """An element that `script` fills as soon as it has a value."""
    return gr.HTML(
        None,
        elem_id=elem_id,
        label=label,
        html_template=f'<{tag} class="{elem_id}" role="region" aria-label="{label}" hidden></{tag}>',
        js_on_load=START % {"path": SCRIPTS_PATH, "script": script},
        apply_default_css=False,
        padding=False,
    )
