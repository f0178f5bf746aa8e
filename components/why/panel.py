"""Layout of the why: the card of one component in full, where the texts part, attribution beside cause. No logic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from components.shared import texts

from . import words
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
    beside: BesidePanel
    two: TwoPanel


@dataclass(frozen=True, eq=False)
class BesidePanel:
    """The fold of what stands beside the edit."""

    run: gr.Button
    ask: gr.Button
    stop: gr.Button
    status: gr.HTML
    drawn: gr.HTML
    rates: gr.HTML


@dataclass(frozen=True, eq=False)
class TwoPanel:
    """The fold of two checkpoints."""

    model: gr.Dropdown
    files: gr.File
    run: gr.Button
    stop: gr.Button
    status: gr.HTML
    drawn: gr.HTML
    load: gr.Button
    """Loads the nearest recipe; hidden, pressed by the script."""
    load_own: gr.Button
    """Loads the edit of the difference's own directions; hidden, pressed by the script."""


def why_panel(models: Sequence[str], *, any_model: bool) -> WhyPanel:
    """Below the pictures; neither card nor strip is to be seen before it is asked for."""
    strip, card = drawn_by("strip", "why-strip", words.STRIP), drawn_by("card", "why-card", words.CARD)
    hidden = [gr.Button(visible="hidden", elem_id=name) for name in ("why-ask", "stop-why", "why-part")]
    ask, stop, part = hidden
    with gr.Accordion(words.MAP, open=False, elem_id="cause"):
        gr.Markdown(words.MAP_HELP, elem_classes="status")
        with gr.Row(elem_classes="bar"):
            run = gr.Button(words.MAP_RUN, elem_id="map-run", variant="primary", size="sm", scale=0, min_width=140)
            map_stop = gr.Button(texts.STOP, elem_id="stop-map", size="sm", scale=0, min_width=64, interactive=False)
        status = gr.HTML(elem_id="map-status", elem_classes="status", apply_default_css=False)
        drawn = drawn_by("map", "why-map", words.MAP)
    number, text = gr.Number(visible="hidden"), gr.Textbox(visible="hidden")
    beside, two = _beside_panel(), _two_panel(models, any_model=any_model)
    return WhyPanel(card, ask, number, text, stop, strip, part, drawn, run, map_stop, status, beside, two)


def _beside_panel() -> BesidePanel:
    with gr.Accordion(words.BESIDE, open=False, elem_id="beside"):
        gr.Markdown(words.BESIDE_HELP, elem_classes="status")
        with gr.Row(elem_classes="bar"):
            run = gr.Button(
                words.BESIDE_RUN, elem_id="beside-run", variant="primary", size="sm", scale=0, min_width=150
            )
            ask = gr.Button(words.BESIDE_ASK, elem_id="beside-ask", size="sm", scale=0, min_width=130)
            stop = gr.Button(texts.STOP, elem_id="stop-beside", size="sm", scale=0, min_width=64, interactive=False)
        status = gr.HTML(elem_id="beside-status", elem_classes="status", apply_default_css=False)
        rates = drawn_by("refusals", "why-refusals", words.BESIDE_RATES)
        drawn = drawn_by("beside", "why-beside", words.BESIDE_DRAWN)
    return BesidePanel(run, ask, stop, status, drawn, rates)


def _two_panel(models: Sequence[str], *, any_model: bool) -> TwoPanel:
    with gr.Accordion(words.TWO, open=False, elem_id="checkpoints"):
        gr.Markdown(words.TWO_HELP, elem_classes="status")
        with gr.Row(elem_id="two-choice"):
            with gr.Column(scale=1, min_width=260):
                model = gr.Dropdown(
                    models, value=None, label=words.TWO_MODEL, allow_custom_value=any_model, interactive=True,
                    elem_id="two-model",
                )  # fmt: skip
                with gr.Row(elem_classes="bar"):
                    run = gr.Button(
                        words.TWO_RUN, elem_id="two-run", variant="primary", size="sm", scale=0, min_width=140
                    )  # fmt: skip
                    stop = gr.Button(
                        texts.STOP, elem_id="stop-two", size="sm", scale=0, min_width=64, interactive=False
                    )  # fmt: skip
            files = gr.File(
                label=words.TWO_FILE, elem_id="two-file", file_count="multiple", height=150, interactive=True,
                scale=1, min_width=260,
            )  # fmt: skip
        status = gr.HTML(elem_id="two-status", elem_classes="status", apply_default_css=False)
        drawn = drawn_by("checkpoints", "why-two", words.TWO_DRAWN)
        load, own = (gr.Button(visible="hidden", elem_id=name) for name in ("two-load", "two-load-own"))
    return TwoPanel(model, files, run, stop, status, drawn, load, own)


def why_css() -> str:
    return (Path(__file__).parent / "why.css").read_text(encoding="utf-8")
