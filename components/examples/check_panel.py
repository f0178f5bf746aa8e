"""Layout of the check of examples: what is odd, one example as tokens, how far they can be trusted. No logic."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from components.shared import data_words as words
from components.shared import texts


@dataclass(frozen=True, eq=False)
class CheckPanel:
    column: gr.Column
    report: gr.HTML
    measure: gr.Button
    stop: gr.Button
    status: gr.HTML
    trust: gr.HTML


def check_panel() -> CheckPanel:
    with gr.Column(visible=False, elem_id="check") as column:
        gr.Markdown(f"## {words.CHECK_TITLE}")
        report = gr.HTML(elem_id="check-report", apply_default_css=False)
        with gr.Row(elem_classes="bar"):
            measure = gr.Button(words.MEASURE, elem_id="measure-trust", size="sm", scale=0, min_width=220)
            stop = gr.Button(texts.STOP, elem_id="stop-trust", size="sm", scale=0, min_width=64, interactive=False)
            status = gr.HTML(elem_id="trust-status", elem_classes="status", apply_default_css=False)
        trust = gr.HTML(elem_id="trust", apply_default_css=False)
    return CheckPanel(column, report, measure, stop, status, trust)
