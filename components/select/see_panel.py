"""Layout of the heatmaps and the selection buttons below them. No logic."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from components.shared import texts

from .heatmap import heatmap

HEIGHT = 200


@dataclass(frozen=True, eq=False)
class SeePanel:
    heads: gr.HTML
    neurons: gr.HTML
    color: gr.Radio
    all_columns: gr.Checkbox
    above: gr.Button
    none: gr.Button
    heads_only: gr.Button
    neurons_only: gr.Button
    first_layer: gr.Number
    last_layer: gr.Number
    undo: gr.Button
    redo: gr.Button


def see_panel(n_layers: int) -> SeePanel:
    with gr.Row(elem_id="maps"):
        with gr.Column(scale=9, min_width=330):
            heads = heatmap("heads", elem_id="heads", label=texts.HEADS_MAP, height=HEIGHT)
        with gr.Column(scale=13, min_width=300):
            neurons = heatmap("neurons", elem_id="neurons", label=texts.NEURONS_MAP, height=HEIGHT)
    gr.Markdown(texts.LEGEND, elem_classes="status legend")
    with gr.Row(elem_id="selection", elem_classes="bar"):
        color = gr.Radio(
            [*texts.COLOR_CHOICES, texts.WHEN_CHOICE], value="g", show_label=False, container=False, elem_id="color",
            scale=0, label=texts.COLOR, min_width=230, interactive=True,
        )  # fmt: skip
        above, none, heads_only, neurons_only = (
            gr.Button(label, elem_id=elem_id, size="sm", scale=0, min_width=60)
            for label, elem_id in (
                (texts.ABOVE, "above"),
                (texts.NONE, "none"),
                (texts.HEADS_ONLY, "heads-only"),
                (texts.NEURONS_ONLY, "neurons-only"),
            )
        )
        first = _layer(texts.FIRST_LAYER, "first-layer", 0, n_layers)
        last = _layer(texts.LAST_LAYER, "last-layer", n_layers - 1, n_layers)
        all_columns = gr.Checkbox(
            False, label="All neurons", container=False, elem_id="all-columns", scale=0, min_width=110, interactive=True
        )
        undo = gr.Button(texts.UNDO, elem_id="undo", size="sm", scale=0, min_width=60)
        redo = gr.Button(texts.REDO, elem_id="redo", size="sm", scale=0, min_width=60)
    return SeePanel(heads, neurons, color, all_columns, above, none, heads_only, neurons_only, first, last, undo, redo)


def _layer(label: str, elem_id: str, value: int, n_layers: int) -> gr.Number:
    return gr.Number(
        value, label=label, elem_id=elem_id, minimum=0, maximum=n_layers - 1, precision=0, scale=0, min_width=96,
        elem_classes="inline", interactive=True,
    )  # fmt: skip
