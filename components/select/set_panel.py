"""Layout of the dials: the plain ones and the paper's, side by side because they move each other. No logic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from components.shared import texts
from s2e_core import EditSettings

from .families import DEFAULT_GATE, LEAST_GAMMA, LEAST_SIZE, MOST_GAMMA, MOST_PROTECT, SIZE_STEPS, mu_choices


@dataclass(frozen=True, eq=False)
class SetPanel:
    summary: gr.HTML
    family: gr.Dropdown
    preset: gr.Dropdown
    heads_on: gr.Checkbox
    neurons_on: gr.Checkbox
    heads_count: gr.Slider
    neurons_count: gr.Slider
    strength: gr.Slider
    rho_attn: gr.Slider
    rho_mlp: gr.Slider
    alpha: gr.Slider
    gate_gamma: gr.Slider
    gate_mu: gr.Dropdown
    gate_size: gr.Slider
    protect: gr.Slider


def set_panel(presets: Sequence[str]) -> SetPanel:
    with gr.Column(elem_id="set", scale=4, min_width=330):
        summary = gr.HTML(elem_id="summary", apply_default_css=False)
        with gr.Row(elem_classes="bar"):
            family = _choice(texts.FAMILIES, "elastic", texts.FAMILY, "family")
            preset = _choice([(name, name) for name in presets], presets[0], texts.PRESET, "preset")
        with gr.Row(elem_classes="dials"):
            strength = _dial(texts.STRENGTH, texts.STRENGTH_HELP, "strength", 0, 3, 0.05)
            alpha = _dial(texts.ALPHA, texts.ALPHA_HELP, "alpha", 0.01, 0.99, 0.01)
        with gr.Row(elem_classes="dials"):
            heads_count = _dial(texts.HEADS_COUNT, texts.HEADS_COUNT_HELP, "heads-count", 0, 48, 1)
            rho_attn = _dial(texts.RHO_ATTN, texts.RHO_HELP, "rho-attn", 0.005, 1.5, 0.001)
        with gr.Row(elem_classes="dials"):
            neurons_count = _dial(texts.NEURONS_COUNT, texts.NEURONS_COUNT_HELP, "neurons-count", 0, 1000, 1)
            rho_mlp = _dial(texts.RHO_MLP, texts.RHO_HELP, "rho-mlp", 0.005, 1.5, 0.001)
        gate_gamma, gate_mu, gate_size, protect = _gate_dials()
        with gr.Row(elem_classes="bar"):
            heads_on = gr.Checkbox(
                True, label=texts.EDIT_HEADS, elem_id="heads-on", container=False, scale=0, min_width=100,
                interactive=True,
            )  # fmt: skip
            neurons_on = gr.Checkbox(
                True, label=texts.EDIT_NEURONS, elem_id="neurons-on", container=False, scale=0, min_width=110,
                interactive=True,
            )  # fmt: skip
    return SetPanel(
        summary, family, preset, heads_on, neurons_on, heads_count, neurons_count,
        strength, rho_attn, rho_mlp, alpha, gate_gamma, gate_mu, gate_size, protect,
    )  # fmt: skip


def _gate_dials() -> tuple[gr.Slider, gr.Dropdown, gr.Slider, gr.Slider]:
    with gr.Row(elem_classes="dials"):
        gamma = _dial(texts.GATE_GAMMA, texts.GATE_GAMMA_HELP, "gate-gamma", LEAST_GAMMA, MOST_GAMMA, 0.05)
        mu = gr.Dropdown(
            mu_choices(EditSettings(None, None, 0.5)), value=DEFAULT_GATE.mu, label=texts.GATE_MU,
            info=texts.GATE_MU_HELP, elem_id="gate-mu", interactive=True, filterable=False, min_width=150,
        )  # fmt: skip
    with gr.Row(elem_classes="dials"):
        size = _dial(texts.GATE_SIZE, texts.GATE_SIZE_HELP, "gate-size", LEAST_SIZE, SIZE_STEPS, 1)
        protect = _dial(texts.PROTECT, texts.PROTECT_HELP, "protect", 0, MOST_PROTECT, 1)
    for dial in (gamma, mu, size, protect):
        dial.visible = "hidden"  # the page opens with the paper's family
    return gamma, mu, size, protect


def _choice(choices: Sequence[tuple[str, str]], value: str, label: str, elem_id: str) -> gr.Dropdown:
    return gr.Dropdown(
        list(choices), value=value, label=label, elem_id=elem_id, interactive=True, min_width=180, filterable=False,
        scale=1, container=False, show_label=False,
    )  # fmt: skip


def _dial(label: str, info: str, elem_id: str, low: float, high: float, step: float) -> gr.Slider:
    return gr.Slider(
        low, high, label=label, info=info, step=step, elem_id=elem_id, interactive=True, buttons=[], min_width=150
    )
