"""Layout of the first panel: model, behaviour, extraction; own examples and the check of examples. No logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.examples.check_panel import CheckPanel, check_panel
from components.examples.panel import DataPanel, as_sent, data_panel
from components.shared import data_words as words
from components.shared import texts
from components.shared.limits import Limits


@dataclass(frozen=True, eq=False)
class ChoosePanel:
    model: gr.Dropdown
    behavior: gr.Dropdown
    swap: gr.Checkbox
    extract: gr.Button
    stop: gr.Button
    template: gr.Textbox
    """Arguments of the model's chat template; hidden where it has none."""
    status: gr.Markdown
    check: gr.Button
    own: gr.Column
    data: DataPanel
    check_panel: CheckPanel


def choose_panel(
    models: Sequence[str],
    behaviors: Sequence[tuple[str, str]],
    limits: Limits,
    status: str,
    template: Mapping[str, Any],
    *,
    any_model: bool,
) -> ChoosePanel:
    """`template` are properties of the field for arguments of the chat template; `any_model`: also from the Hub."""
    with gr.Row(elem_id="choose", elem_classes="bar"):
        model = gr.Dropdown(
            models, value=models[0], label=texts.MODEL, allow_custom_value=any_model, interactive=True,
            elem_id="model", scale=2, min_width=180,
        )  # fmt: skip
        behavior = gr.Dropdown(
            behaviors, value=behaviors[0][1], label=texts.BEHAVIOR, interactive=True, elem_id="behavior", scale=2,
            min_width=180, filterable=False,
        )  # fmt: skip
        as_sent(behavior)  # its choices follow the model's box
        swap = gr.Checkbox(False, label=texts.SWAP, interactive=True, elem_id="swap", scale=1, min_width=170)
        check = gr.Button(words.CHECK, elem_id="check-examples", size="sm", scale=0, min_width=72)
        extract = gr.Button(texts.EXTRACT, elem_id="extract", size="sm", scale=0, min_width=84)
        stop = gr.Button(texts.STOP, elem_id="stop-extract", size="sm", scale=0, min_width=64, interactive=False)
    with gr.Row(elem_id="template-row", elem_classes="bar"):
        template_field = gr.Textbox(
            label=texts.TEMPLATE, elem_id="template", max_lines=1, interactive=True, **template
        )  # fmt: skip
    said = gr.Markdown(status, elem_id="status", elem_classes="status")
    data = data_panel(limits, hub=any_model)
    return ChoosePanel(model, behavior, swap, extract, stop, template_field, said, check, data.own, data, check_panel())
