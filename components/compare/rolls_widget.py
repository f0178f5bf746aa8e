"""The widget of the eight answers a side: a gr.HTML whose script writes every text with `textContent`.

Knows the page's machinery. The value is made in rolls.py, the drawing is in components/compare/rolls.js.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from components.shared import texts

HERE = Path(__file__).parent


def rolls_widget(value: dict[str, Any] | None) -> gr.HTML:
    return gr.HTML(
        value,
        elem_id="rolls",
        label=texts.ROLLS,
        html_template=f'<div class="rolls" role="region" aria-label="{texts.ROLLS}"></div>',
        js_on_load=(HERE / "rolls.js").read_text(encoding="utf-8"),
        apply_default_css=False,
    )
