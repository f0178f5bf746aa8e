"""Layout of the fold that measures the edit on the page in full. No logic."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from components.shared import texts
from components.shared.limits import Limits

PROMPTS = 60


@dataclass(frozen=True, eq=False)
class EvaluationPanel:
    measure: gr.Button
    stop: gr.Button
    prompts: gr.Number
    steered: gr.Checkbox
    status: gr.HTML
    table: gr.HTML
    csv: gr.Button


def evaluation_panel(limits: Limits) -> EvaluationPanel:
    with gr.Accordion(texts.IN_FULL, open=False, elem_id="in-full"):
        gr.Markdown(texts.IN_FULL_HELP, elem_classes="status")
        with gr.Row(elem_classes="bar"):
            measure = gr.Button(texts.MEASURE, variant="primary", elem_id="measure", size="sm", scale=0, min_width=130)
            stop = gr.Button(
                texts.STOP, elem_id="stop-measure", size="sm", scale=0, min_width=64, interactive=False
            )  # fmt: skip
            prompts = gr.Number(
                min(PROMPTS, limits.sweep_prompts), label=texts.PROMPTS, elem_id="measure-prompts", minimum=2,
                maximum=limits.sweep_prompts, precision=0, interactive=True, elem_classes="inline", min_width=150,
                scale=0,
            )  # fmt: skip
            steered = gr.Checkbox(
                True, label=texts.WITH_STEERING, elem_id="measure-steered", container=False, scale=0, min_width=260,
                interactive=True,
            )  # fmt: skip
        status = gr.HTML(elem_id="measure-status", elem_classes="status", apply_default_css=False)
        table = gr.HTML(elem_id="measure-table", apply_default_css=False)
        csv = gr.Button(texts.CSV_FILE, elem_id="measure-csv", size="sm", scale=0, min_width=120, visible=False)
    return EvaluationPanel(measure, stop, prompts, steered, status, table, csv)
