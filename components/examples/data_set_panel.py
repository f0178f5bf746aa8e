"""Layout of the field for a data set of the Hub, beside the files of a visitor's own examples. No logic."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from components.shared import data_words as words


@dataclass(frozen=True, eq=False)
class DataSetPanel:
    name: gr.Textbox
    fetch: gr.Button
    stop: gr.Button
    status: gr.HTML


def data_set_panel() -> DataSetPanel:
    with gr.Row(elem_classes="bar", elem_id="data-set-row"):
        name = gr.Textbox(
            label=words.DATA_SET, placeholder=words.DATA_SET_EXAMPLE, info=words.DATA_SET_HELP, elem_id="data-set",
            max_lines=1, interactive=True,
            html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False, autocapitalize="off"),
        )  # fmt: skip
        fetch = gr.Button(words.FETCH, elem_id="fetch", size="sm", scale=0, min_width=84)
        stop = gr.Button(words.STOP, elem_id="stop-fetch", size="sm", scale=0, min_width=64, interactive=False)
    status = gr.HTML(elem_id="fetch-status", elem_classes="status", apply_default_css=False)
    return DataSetPanel(name, fetch, stop, status)
