"""Layout of the why: the card of one component in full, where the texts part, attribution beside cause. No logic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from components.shared import texts

from .why_widget import drawn_by


@dataclass(frozen=True, eq=False)
class WhyPanel:
    card: gr.HTML
    ask: gr.Button
    """Pressed by the script, as the visitor looks at another component."""
    number: gr.Number
    """Which component: its number through all sites."""
    text: gr.Textbox
    """What the visitor wants the component to be watched on; empty for an example."""
    stop: gr.Button
    strip: gr.HTML
    part: gr.Button
    map: gr.HTML
    map_run: gr.Button
    map_stop: gr.Button
    map_status: gr.HTML


def why_panel() -> WhyPanel:
    """Below the pictures; neither card nor strip is to be seen before it is asked for."""
    strip, card = drawn_by("strip", "why-strip", texts.WHY_STRIP), drawn_by("card", "why-card", texts.WHY_CARD)
    hidden = [gr.Button(visible="hidden", elem_id=name) for name in ("why-ask", "stop-why", "why-part")]
    ask, stop, part = hidden
    with gr.Accordion(texts.WHY_MAP, open=False, elem_id="cause"):
        gr.Markdown(texts.WHY_MAP_HELP, elem_classes="status")
        with gr.Row(elem_classes="bar"):
            run = gr.Button(texts.WHY_MAP_RUN, elem_id="map-run", variant="primary", size="sm", scale=0, min_width=140)
            map_stop = gr.Button(texts.STOP, elem_id="stop-map", size="sm", scale=0, min_width=64, interactive=False)
        status = gr.HTML(elem_id="map-status", elem_classes="status", apply_default_css=False)
        drawn = drawn_by("map", "why-map", texts.WHY_MAP)
    number, text = gr.Number(visible="hidden"), gr.Textbox(visible="hidden")
    return WhyPanel(card, ask, number, text, stop, strip, part, drawn, run, map_stop, status)


def why_css() -> str:
    return (Path(__file__).parent / "why.css").read_text(encoding="utf-8")
