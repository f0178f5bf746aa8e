"""The widget that holds a tab's place, and the routes of the scripts behind it. Knows the page's machinery alone.

What the tab asks without running a model are functions of the server, which answer at once and outside of the queue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import plotly
from starlette.responses import FileResponse
from starlette.routing import Route

from components.shared.errors import sentence

HERE = Path(__file__).parent
SCRIPTS_PATH = "gradio_api/s2e/studio"
PLOTLY_PATH = "gradio_api/s2e/plotly.min.js"
"""Below /gradio_api, which every proxy in front of the app forwards; relative, so that a sub-path works too."""
TAB_PATH, MODEL_PATH = "gradio_api/s2e/tab_model", "gradio_api/s2e/demo_model"
"""Where the scripts of the model in the tab are, and its files, below the fingerprint of their weights."""
# The events that it tells the page: the dials have come to rest; the tab has another model or other examples, which is
# told at rest as well; an address names a place.
START = """
const here = path => new URL(path, document.baseURI).href;
const scripts = ['%(path)s/studio.js', '%(tab)s/in_page.js'].map(path => import(here(path)));
Promise.all(scripts).then(([studio, tab]) => studio.start({
  props, trigger, watch, server, told: %(told)s, events: ['rested', 'turned', 'restore'],
  live: tab.inPage({server, scripts: here('%(tab)s/'), model: here('%(model)s/')}),
}));
"""


def routes() -> list[Route]:
    """For `launch(app_kwargs={"routes": routes()})`: the scripts of the studio, and plotly.js from its package."""
    plotly_js = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return [*script_routes(HERE, SCRIPTS_PATH), Route(f"/{PLOTLY_PATH}", send(plotly_js, "public, max-age=86400"))]


def script_routes(folder: Path, path: str) -> list[Route]:
    """The scripts of a folder below a path; they may change between two starts of the program."""
    return [Route(f"/{path}/{script.name}", send(script, "no-cache")) for script in sorted(folder.glob("*.js"))]


def send(path: Path, caching: str, media_type: str = "text/javascript") -> Callable[[object], Any]:
    """What a route does that sends a file."""

    async def sent(_request: object) -> FileResponse:
        return FileResponse(path, media_type=media_type, headers={"Cache-Control": caching})

    return sent


def studio_widget(
    place: Mapping[str, Any], told: Mapping[str, str], questions: Mapping[str, Callable[[Any], Any]]
) -> gr.HTML:
    """`place` is where a new tab begins, `told` what controls are for, `questions` what the tab may ask."""
    return gr.HTML(
        dict(place),
        elem_id="studio",
        visible="hidden",
        html_template="<div></div>",
        js_on_load=START
        % {
            "path": SCRIPTS_PATH,
            "tab": TAB_PATH,
            "model": MODEL_PATH,
            "told": json.dumps(dict(told), ensure_ascii=False),
        },
        server_functions=[answering(name, question) for name, question in questions.items()],
        apply_default_css=False,
    )


def answering(name: str, question: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A question as the browser asks it; what goes wrong is answered in a sentence."""

    def answer(data: Any) -> Any:
        try:
            return question(data)
        except Exception as error:
            return {"error": sentence(error)}

    answer.__name__ = name
    return answer
