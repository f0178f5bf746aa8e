"""Layout of the comparison: prompt, options, texts side by side. No logic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.shared import texts
from components.shared.limits import Limits
from components.shared.prompt_chips import prompt_chips
from s2e_core import Behavior

from .rolls_widget import rolls_widget
from .text_columns import text_columns


@dataclass(frozen=True, eq=False)
class ComparePanel:
    prompt: gr.Textbox
    run: gr.Button
    stop: gr.Button
    examples: gr.Dataset
    columns: gr.HTML
    ask: gr.Button
    rolls: gr.HTML
    length: gr.Number
    temperature: gr.Number
    seed: gr.Number
    steered: gr.Checkbox
    gamma: gr.Number
    prompted: gr.Checkbox
    placebo: gr.Checkbox
    alone: gr.Button
    follow: gr.Checkbox


def compare_panel(
    behavior: Behavior, shown: dict[str, Any], rolled: dict[str, Any] | None, limits: Limits
) -> ComparePanel:
    """`shown` is what the text columns hold before the first run, `rolled` the answers before they are asked for."""
    with gr.Column(elem_id="compare", scale=7, min_width=330):
        with gr.Row(elem_classes="bar", elem_id="asked"):
            prompt = gr.Textbox(
                behavior.examples[0], label=texts.PROMPT, lines=1, max_lines=3, scale=1, elem_id="prompt",
                interactive=True, container=False, show_label=False,
                placeholder="Type a prompt and press Enter", min_width=200,
            )  # fmt: skip
            run = gr.Button(texts.RUN, variant="primary", elem_id="run", size="sm", scale=0, min_width=72)
            ask = gr.Button(texts.ROLLS, elem_id="ask-eight", size="sm", scale=0, min_width=104)
            stop = gr.Button(texts.STOP, elem_id="stop-run", size="sm", scale=0, min_width=64, interactive=False)
            follow = _switch(texts.FOLLOW, "follow", True)
        dataset = gr.Dataset(
            components=[gr.Textbox(visible=False)], **prompt_chips(behavior.examples), label=texts.EXAMPLES,
            elem_id="examples", layout="gallery", show_label=False, container=False, samples_per_page=8,
        )  # fmt: skip
        columns = text_columns(elem_id="texts", label="Texts side by side", value=shown)
        rolls = rolls_widget(rolled)
        with gr.Row(elem_id="options", elem_classes="bar"):
            length = _number(
                behavior.max_new_tokens, texts.LENGTH, "length", 1, limits.new_tokens, 0
            )  # fmt: skip
            temperature = _number(0.0, texts.TEMPERATURE, "temperature", 0, 5, 2)
            seed = _number(0, texts.SEED, "seed", 0, 2**31 - 1, 0)
            steered = _switch(texts.STEERED, "steered", False)
            gamma = _number(behavior.gamma, texts.GAMMA, "gamma", -5, 5, 2)
            prompted = _switch(texts.PROMPTED, "prompted", False)
            placebo = _switch(texts.PLACEBO, "placebo", False)
        alone = gr.Button(visible="hidden", elem_id="ask-alone")
    return ComparePanel(
        prompt,
        run,
        stop,
        dataset,
        columns,
        ask,
        rolls,
        length,
        temperature,
        seed,
        steered,
        gamma,
        prompted,
        placebo,
        alone,
        follow,
    )


def _number(value: float, label: str, elem_id: str, low: float, high: float, precision: int) -> gr.Number:
    return gr.Number(
        value, label=label, elem_id=elem_id, minimum=low, maximum=high, precision=precision, interactive=True, scale=0,
        step=1 if precision == 0 else 0.1, elem_classes="inline", min_width=96,
    )  # fmt: skip


def _switch(label: str, elem_id: str, value: bool) -> gr.Checkbox:
    return gr.Checkbox(value, label=label, elem_id=elem_id, container=False, scale=0, min_width=80, interactive=True)
