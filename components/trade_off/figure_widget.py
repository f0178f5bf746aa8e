"""A plotly figure on the page, with a table of its points: a gr.HTML that draws and reports which point is picked.

Knows the page's machinery; not what a point is. Figure and table travel as JSON text in the value, never through a
template, which the browser would evaluate as code. The drawing is in components/trade_off/figure_widget.js.

The `pick` event carries `{view, n}`: the value's own `view` and the customdata of a point, or `n` of a table row. Both
are client-controlled: `read_point` checks them.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from components.studio.studio_widget import PLOTLY_PATH

HERE = Path(__file__).parent


def figure_widget(*, elem_id: str, label: str) -> gr.HTML:
    """The widget, not to be seen until its value is set to `figure_value(...)`."""
    name = html.escape(label).replace("$", "&#36;").replace("{", "&#123;")
    return gr.HTML(
        None,
        elem_id=elem_id,
        label=label,
        html_template=f"""
<section class="s2e-figure" aria-label="{name}" hidden>
  <div class="s2e-figure-side"><div class="s2e-figure-bar"><strong></strong>
    <small>Drag to zoom, double-click for all</small>
    <button type="button" data-save="png" title="Save as PNG image">PNG</button>
    <button type="button" data-save="svg" title="Save as SVG drawing">SVG</button></div>
    <div class="s2e-figure-plot"></div></div>
  <div class="s2e-figure-table" role="region" aria-label="The same figures as a table" tabindex="-1"></div>
</section>""",
        css_template=(HERE / "figure_widget.css").read_text(encoding="utf-8"),
        js_on_load=(HERE / "figure_widget.js").read_text(encoding="utf-8"),
        head=f'<script src="{PLOTLY_PATH}"></script>',
        apply_default_css=False,
    )


def figure_value(
    figure: go.Figure, *, title: str, file: str, view: str, dark: Mapping[str, str], table: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The widget's value. `dark` says what each colour becomes in the dark; `file` names the pictures saved."""
    return {
        "figure": figure.to_json(), "table": json.dumps(table), "title": title, "file": file, "view": view,
        "dark": dict(dark),
    }  # fmt: skip


def read_point(data: object, view: str, count: int) -> int | None:
    """Which of `count` points an event names; None for anything that the figure on show cannot have sent."""
    if not isinstance(data, Mapping) or data.get("view") != view:
        return None
    n = data.get("n")
    return n if type(n) is int and 0 <= n < count else None
