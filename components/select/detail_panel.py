"""Layout of the ranked table and the inspector of one component. No logic."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from components.shared import texts

from .table import COLUMNS, DATATYPES, WHEN_COLUMNS


@dataclass(frozen=True, eq=False)
class DetailPanel:
    shown: gr.Radio
    table: gr.Dataframe
    inspector: gr.HTML
    own_strength: gr.Slider
    switch: gr.Button
    keep_only: gr.Button


def detail_panel() -> DetailPanel:
    with gr.Row(elem_id="details"):
        with gr.Column(scale=7, min_width=330):
            with gr.Row(elem_classes="bar"):
                gr.Markdown(f"## {texts.TABLE}\n{texts.TABLE_HELP}")
                shown = gr.Radio(
                    list(texts.TABLE_CHOICES), value="all", show_label=False, container=False, elem_id="shown",
                    label=texts.TABLE, scale=0, min_width=230, interactive=True,
                )  # fmt: skip
            frame = gr.Dataframe(
                headers=[*COLUMNS, *WHEN_COLUMNS], datatype=list(DATATYPES), interactive=True,
                static_columns=list(range(1, len(DATATYPES))), max_height=360, elem_id="table", show_label=False,
                label=texts.TABLE, buttons=[],
            )  # fmt: skip
        with gr.Column(scale=4, min_width=300, elem_id="inspector-panel"):
            gr.Markdown(f"## {texts.INSPECTOR}")
            inspector = gr.HTML(elem_id="inspector", apply_default_css=False)
            with gr.Row(elem_classes="dials"):
                strength = gr.Slider(
                    0, 3, 1, step=0.05, label=texts.COMPONENT_STRENGTH, info=texts.COMPONENT_STRENGTH_HELP,
                    elem_id="own-strength", interactive=True, buttons=[],
                )  # fmt: skip
            with gr.Row(elem_classes="bar"):
                switch = gr.Button(texts.SWITCH, elem_id="switch", size="sm")
                keep_only = gr.Button(texts.KEEP_ONLY, elem_id="keep-only", size="sm")
    return DetailPanel(shown, frame, inspector, strength, switch, keep_only)
