"""Layout of the studio: where the dials, the pictures, the table and the card of one component stand. No logic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from components.shared import texts

from .studio_widget import studio_widget


@dataclass(frozen=True, eq=False)
class StudioPanel:
    place: gr.HTML


def studio_panel(place: Mapping[str, Any], questions: Mapping[str, Callable[[Any], Any]]) -> StudioPanel:
    """The widget without a picture of its own; its parts are drawn into the places below."""
    return StudioPanel(studio_widget(place, texts.TOOLTIPS, questions))


def dials_place() -> None:
    with gr.Column(elem_id="set", scale=4, min_width=330):
        _empty("dials", "summary")


def pictures_place() -> None:
    _empty("see", inner=("maps", "inspector-panel"))
    _empty("selection")
    gr.Markdown(texts.LEGEND, elem_classes="status legend")


def details_place() -> None:
    _empty("details", inner=("table-panel",))


def _empty(*names: str, inner: tuple[str, ...] = ()) -> None:
    """Elements that the studio fills."""
    filled = "".join(f'<div id="{name}"></div>' for name in inner)
    gr.HTML("".join(f'<div id="{name}">{filled}</div>' for name in names), apply_default_css=False, padding=False)


def studio_css() -> str:
    """The style of what the studio draws."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.css")))
