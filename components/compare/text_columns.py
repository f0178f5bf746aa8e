"""The texts of a comparison side by side: a gr.HTML whose script writes every text with `textContent`.

Knows the page's machinery. Generated text and prompts travel in the value alone, never through a template, which the
browser would evaluate as code. The drawing is in components/compare/text_columns.js.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from .differences import Segment

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Column:
    title: str
    note: str
    segments: Sequence[Segment]


def text_columns(*, elem_id: str, label: str, value: dict[str, Any]) -> gr.HTML:
    return gr.HTML(
        value,
        elem_id=elem_id,
        label=label,
        html_template=f'<div class="texts" role="region" aria-label="{label}"></div>',
        js_on_load=(HERE / "text_columns.js").read_text(encoding="utf-8"),
        apply_default_css=False,
    )


def of_edit(value: dict[str, Any], made: str) -> dict[str, Any]:
    """The value with the mark of the edit that wrote it, so that the page can tell texts of an earlier edit."""
    return {**value, "edit": made}


def columns_value(columns: Sequence[Column], *, asked: str = "", busy: bool = False) -> dict[str, Any]:
    """The widget's value: `asked` says what the texts belong to; `busy` while they still grow."""
    return {
        "busy": busy,
        "asked": asked,
        "columns": [
            {"title": column.title, "note": column.note, "segments": [list(segment) for segment in column.segments]}
            for column in columns
        ],
    }
