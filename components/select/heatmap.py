"""The clickable heatmap: a gr.HTML that draws `heatmap_value(...)` with plotly.js and reports what a person picks.

Knows the page's machinery and where the scripts lie; not what a component is. The drawing is in
heatmap_draw.js, the interaction in heatmap.js.

Wiring (one handler per heatmap):

    grid = heatmap("heads", elem_id="heads", label="Attention heads")
    grid.pick(picked, session, [session, grid, ...], trigger_mode="multiple", concurrency_limit=1,
              show_progress="hidden", api_visibility="private")

    def picked(session, event: gr.EventData):
        try:
            pick = read_pick(event._data, "heads", columns)
        except InvalidPick:
            return gr.skip()
        ...  # pick.components(spec, "heads") -> new session; then heatmap_value(..., seq=pick.seq)

The event must stay queued with "multiple" and a limit of 1: the default "once" drops quick clicks, and unqueued calls
overwrite each other's session. Handle every pick, whatever its `seq`: each says what was done, not what is then
selected. The widget marks a pick as pending until a value with that `seq` or a later one arrives.

Data of the event, client-controlled and therefore only ever read through `read_pick`:
`{seq, view, action: "toggle"|"include"|"exclude"}` and either `cells: [[layer, real index], ...]` or
`box: [[layer, position], [layer, position]]`, two opposite corners in positions on show.
"""

from __future__ import annotations

import html
from pathlib import Path

import gradio as gr
import plotly
from starlette.responses import FileResponse
from starlette.routing import Route

from s2e_core.spec import Kind

HERE = Path(__file__).parent
PLOTLY_PATH = "gradio_api/s2e/plotly.min.js"
"""Below /gradio_api, which every proxy in front of the app forwards; relative, so that a sub-path works too."""


def heatmap_routes() -> list[Route]:
    """For `launch(app_kwargs={"routes": heatmap_routes()})`: plotly.js from the installed package, that one file."""
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"

    async def send(_request: object) -> FileResponse:
        return FileResponse(script, media_type="text/javascript", headers={"Cache-Control": "public, max-age=86400"})

    return [Route(f"/{PLOTLY_PATH}", send)]


def heatmap(kind: Kind, *, elem_id: str, label: str, height: int | None = None) -> gr.HTML:
    """The widget, empty until its value is set to `heatmap_value(...)`. `height` in pixels; None follows the rows."""
    return gr.HTML(
        None,
        elem_id=elem_id,
        label=label,
        html_template=_template(kind, elem_id, label, height),
        css_template=(HERE / "heatmap.css").read_text(encoding="utf-8"),
        js_on_load="".join((HERE / name).read_text(encoding="utf-8") for name in ("heatmap_draw.js", "heatmap.js")),
        head=f'<script src="{PLOTLY_PATH}"></script>',
        apply_default_css=False,
    )


def _template(kind: Kind, elem_id: str, label: str, height: int | None) -> str:
    """The constant skeleton. A template is evaluated as code, so nothing a visitor wrote may ever be part of it."""
    what = {"heads": "head", "neurons": "neuron"}[kind]
    name = html.escape(label).replace("$", "&#36;").replace("{", "&#123;")
    tools = "".join(
        f'<button type="button" aria-pressed="false" data-tool="{tool}" title="{title}">{word}</button>'
        for tool, word, title in (
            ("toggle", "Toggle", f"Click flips one {what}; drag adds a range; with Alt it leaves the range out"),
            ("include", "Add", f"Click or drag adds {what}s to the edit"),
            ("exclude", "Leave out", f"Click or drag leaves {what}s as they are"),
            ("zoom", "Zoom", "Drag zooms in"),
        )
    )
    buttons = "".join(
        f'<button type="button" data-do="{do}" title="{title}" aria-label="{title}">{word}</button>'
        for do, word, title in (
            ("out", "\N{MINUS SIGN}", "Zoom out"), ("in", "+", "Zoom in"),
            ("reset", "Reset", "Reset: show the whole grid"),
            ("png", "PNG", "Save as PNG image"), ("svg", "SVG", "Save as SVG drawing"),
        )
    )  # fmt: skip
    return f"""
<section class="s2e-map" data-what="{what}" data-height="{height or 0}" aria-label="{name}">
  <div class="s2e-map-bar"><strong class="s2e-map-title"></strong>
    <div class="s2e-map-tools" role="group" aria-label="What a click does">{tools}</div>
    <div class="s2e-map-buttons">{buttons}</div></div>
  <div class="s2e-map-stage" tabindex="0" role="application" aria-label="{name}" aria-describedby="{elem_id}-keys">
    <div class="s2e-map-plot"></div><div class="s2e-map-box" hidden></div>
    <div class="s2e-map-cursor" hidden></div><div class="s2e-map-tip" hidden></div>
    <p class="s2e-map-note">The picture is on its way. If it does not appear, the drawing script did not load; the table
    holds the same figures.</p></div>
  <div class="s2e-map-legend"></div>
  <p class="s2e-map-live" role="status"></p>
  <p class="s2e-map-keys" id="{elem_id}-keys">Arrow keys move, Enter or Space toggles, Shift with arrows marks a
  range, Enter adds it, Delete leaves out.</p>
</section>"""
