"""The model's own answers with two boxes each: a gr.HTML whose script writes every text with `textContent`.

Knows the page's machinery. Answers travel in the value alone, never through a template, which the browser would
evaluate as code. The `mark` event carries `{n, side}`, client-controlled: `read_mark` checks it. The drawing is in
components/examples/answer_table.js.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gradio as gr

HERE = Path(__file__).parent
SIDES: Mapping[str, bool | None] = {"positive": True, "negative": False, "": None}


def answer_table(*, elem_id: str, label: str) -> gr.HTML:
    return gr.HTML(
        None,
        elem_id=elem_id,
        label=label,
        html_template=f'<div class="answer-table" role="region" aria-label="{label}" tabindex="0" hidden></div>',
        js_on_load=(HERE / "answer_table.js").read_text(encoding="utf-8"),
        apply_default_css=False,
    )


def read_mark(data: object, count: int) -> tuple[int, bool | None] | None:
    """(answer, its side) of an event; None for anything that a table of `count` answers cannot have sent."""
    if not isinstance(data, Mapping):
        return None
    n, side = data.get("n"), data.get("side")
    if type(n) is not int or not 0 <= n < count or not isinstance(side, str) or side not in SIDES:
        return None
    return n, SIDES[side]
