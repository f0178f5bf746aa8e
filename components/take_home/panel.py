"""Layout of the downloads, and of the push below them where the operator allows it. No logic."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from components.shared import texts

from .push_panel import PushPanel, push_panel


@dataclass(frozen=True, eq=False)
class TakeHomePanel:
    checkpoint: gr.Button
    adapter: gr.Button
    gguf_lora: gr.Button
    mlx: gr.Button
    recipe: gr.Button
    control_vector: gr.Button
    stop: gr.Button
    dtype: gr.Radio
    report: gr.Markdown
    components_csv: gr.Button
    as_python: gr.Code
    as_command: gr.Code
    push: PushPanel | None


def take_home_panel(*, push: bool) -> TakeHomePanel:
    with gr.Column(elem_id="take-home"):
        gr.Markdown(f"## {texts.TAKE_HOME}\n{texts.TAKE_HOME_HELP}")
        with gr.Row(elem_id="downloads"):
            checkpoint = gr.Button(texts.CHECKPOINT, elem_id="checkpoint", variant="primary", min_width=140)
            adapter = gr.Button(texts.ADAPTER, elem_id="adapter", min_width=140)
            gguf_lora = gr.Button(texts.GGUF_LORA, elem_id="gguf-lora", min_width=140)
            mlx = gr.Button(texts.MLX, elem_id="mlx", min_width=140)
            recipe = gr.Button(texts.RECIPE, elem_id="recipe", min_width=140)
            vector = gr.Button(texts.CONTROL_VECTOR, elem_id="control-vector", min_width=140)
            stop = gr.Button(texts.STOP, elem_id="stop-export", scale=0, min_width=64, interactive=False)
        dtype = gr.Radio(
            list(texts.DTYPE_CHOICES), value="stored", label=texts.DTYPE, elem_id="dtype", interactive=True
        )
        status = gr.Markdown(elem_id="export-status", elem_classes="status")
        components_csv = gr.Button(visible="hidden", elem_id="components-csv")
        as_python, as_command = _copying()
        pushing = push_panel() if push else None
    return TakeHomePanel(
        checkpoint, adapter, gguf_lora, mlx, recipe, vector, stop, dtype, status, components_csv, as_python,
        as_command, pushing,
    )  # fmt: skip


def _copying() -> tuple[gr.Code, gr.Code]:
    with gr.Accordion(texts.COPY, open=False, elem_id="copying"):
        as_python = gr.Code(
            language="python", label=texts.AS_PYTHON, interactive=False, elem_id="as-python", max_lines=14
        )
        as_command = gr.Code(
            language="shell", label=texts.AS_COMMAND, interactive=False, elem_id="as-command", max_lines=4
        )
        gr.Code(texts.CITATION, language=None, label=texts.CITE, interactive=False, elem_id="cite", max_lines=8)
    return as_python, as_command
