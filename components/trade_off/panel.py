"""Layout of the trade-off: find a good edit, the plot with its table, a grid, the components, the edit in full.

No logic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.shared import texts
from components.shared.limits import Limits

from .evaluation_panel import EvaluationPanel, evaluation_panel
from .figure_widget import figure_widget
from .grid import PRESETS, SMALL

PROMPTS = 60


@dataclass(frozen=True, eq=False)
class TradeOffPanel:
    find: gr.Button
    stop: gr.Button
    go_on: gr.Button
    floor: gr.Slider
    budget: gr.Number
    status: gr.HTML
    advice: gr.HTML
    load: gr.Button
    plot: gr.HTML
    downloads: gr.Row
    csv: gr.Button
    sweep_file: gr.Button
    report: gr.Button
    preset: gr.Dropdown
    rho_attn: gr.Textbox
    rho_mlp: gr.Textbox
    alpha: gr.Textbox
    strength: gr.Textbox
    gamma: gr.Textbox
    prompts: gr.Number
    work: gr.Markdown
    sweep: gr.Button
    progressive: gr.Button
    leave_one_out: gr.Button
    parts_prompts: gr.Number
    parts_stop: gr.Button
    parts_status: gr.HTML
    curve: gr.HTML
    bars: gr.HTML
    in_full: EvaluationPanel


def trade_off_panel(limits: Limits) -> TradeOffPanel:
    fields: dict[str, Any] = {}
    with gr.Column(elem_id="trade-off"):
        gr.Markdown(f"## {texts.TRADE_OFF}\n{texts.TRADE_OFF_HELP}")
        with gr.Row(elem_id="find-row"):
            fields["floor"] = gr.Slider(
                80, 100, 97, step=0.5, label=texts.FLOOR, info=texts.FLOOR_HELP, elem_id="floor", interactive=True,
                buttons=[], min_width=260, scale=2,
            )  # fmt: skip
            fields["budget"] = gr.Number(
                0, label=texts.BUDGET, info=texts.BUDGET_HELP, elem_id="budget", minimum=0,
                maximum=limits.sweep_settings, precision=0, interactive=True, min_width=150, scale=1,
            )  # fmt: skip
            with gr.Row(elem_classes="bar", scale=2):
                fields["find"] = gr.Button(
                    texts.FIND, variant="primary", elem_id="find", size="sm", scale=0, min_width=140
                )
                fields["stop"] = gr.Button(
                    texts.STOP, elem_id="stop-find", size="sm", scale=0, min_width=64, interactive=False
                )
                fields["go_on"] = gr.Button(
                    texts.GO_ON, elem_id="go-on", size="sm", scale=0, min_width=80, visible=False
                )
        fields["status"] = gr.HTML(elem_id="find-status", elem_classes="status", apply_default_css=False)
        fields["advice"] = gr.HTML(elem_id="advice", apply_default_css=False)
        fields["load"] = gr.Button(
            texts.LOAD_BEST, variant="primary", elem_id="load-best", size="sm", scale=0, visible=False
        )
        fields["plot"] = figure_widget(elem_id="trade-off-plot", label=texts.PLOT)
        with gr.Row(elem_classes="bar", visible=False, elem_id="trade-off-files") as downloads:
            for name, label in (
                ("csv", texts.CSV_FILE), ("sweep_file", texts.SWEEP_FILE), ("report", texts.REPORT_FILE),
            ):  # fmt: skip
                fields[name] = gr.Button(label, elem_id=f"{name.replace('_', '-')}", size="sm", scale=0, min_width=120)
        fields |= _grid_fields(limits) | _component_fields(limits)
        fields["in_full"] = evaluation_panel(limits)
    return TradeOffPanel(downloads=downloads, **fields)


def _grid_fields(limits: Limits) -> dict[str, Any]:
    first = PRESETS[SMALL]
    with gr.Accordion(texts.GRID, open=False, elem_id="grid"):
        gr.Markdown(texts.GRID_HELP, elem_classes="status")
        with gr.Row():
            preset = gr.Dropdown(
                [*PRESETS, texts.OWN_GRID], value=SMALL, label=texts.GRID_PRESET, elem_id="grid-preset",
                interactive=True, filterable=False, min_width=260,
            )  # fmt: skip
            rho_attn = _values(texts.RHO_ATTN_VALUES, "rho-attn-values", first.rho_attn)
            rho_mlp = _values(texts.RHO_MLP_VALUES, "rho-mlp-values", first.rho_mlp)
            alpha = _values(texts.ALPHA_VALUES, "alpha-values", first.alpha)
            strength = _values(texts.STRENGTH_VALUES, "strength-values", first.strength)
            gamma = _values(texts.GAMMA_VALUES, "gamma-values", first.gamma)
            prompts = _prompts("grid-prompts", limits)
        with gr.Row(elem_classes="bar"):
            sweep = gr.Button(texts.SWEEP, variant="primary", elem_id="sweep", size="sm", scale=0, min_width=90)
            work = gr.Markdown(elem_id="grid-work", elem_classes="status")
    return {
        "preset": preset, "rho_attn": rho_attn, "rho_mlp": rho_mlp, "alpha": alpha, "strength": strength,
        "gamma": gamma, "prompts": prompts, "work": work, "sweep": sweep,
    }  # fmt: skip


def _component_fields(limits: Limits) -> dict[str, Any]:
    with gr.Accordion(texts.TAKE_APART, open=False, elem_id="take-apart"):
        gr.Markdown(texts.TAKE_APART_HELP, elem_classes="status")
        with gr.Row(elem_classes="bar"):
            progressive = gr.Button(texts.PROGRESSIVE, elem_id="progressive", size="sm", scale=0)
            leave_one_out = gr.Button(texts.LEAVE_ONE_OUT, elem_id="leave-one-out", size="sm", scale=0)
            stop = gr.Button(texts.STOP, elem_id="stop-parts", size="sm", scale=0, min_width=64, interactive=False)
            prompts = _prompts("parts-prompts", limits, "inline")
        status = gr.HTML(elem_id="parts-status", elem_classes="status", apply_default_css=False)
        with gr.Row(elem_id="parts-plots"):
            with gr.Column(min_width=330):
                curve = figure_widget(elem_id="curve", label=texts.PROGRESSIVE)
            with gr.Column(min_width=330):
                bars = figure_widget(elem_id="bars", label=texts.LEAVE_ONE_OUT)
    return {
        "progressive": progressive, "leave_one_out": leave_one_out, "parts_stop": stop, "parts_prompts": prompts,
        "parts_status": status, "curve": curve, "bars": bars,
    }  # fmt: skip


def _values(label: str, elem_id: str, value: str) -> gr.Textbox:
    return gr.Textbox(value, label=label, elem_id=elem_id, interactive=True, lines=1, max_lines=1, min_width=150)


def _prompts(elem_id: str, limits: Limits, style: str = "") -> gr.Number:
    return gr.Number(
        min(PROMPTS, limits.sweep_prompts), label=texts.PROMPTS, elem_id=elem_id, minimum=2,
        maximum=limits.sweep_prompts, precision=0, interactive=True, min_width=150,
        elem_classes=style,
    )  # fmt: skip
