"""Layout of the downloads and the recipe upload. No logic."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from . import texts


@dataclass(frozen=True, eq=False)
class TakeHomePanel:
    checkpoint: gr.Button
    adapter: gr.Button
    recipe: gr.Button
    stop: gr.Button
    dtype: gr.Radio
    upload: gr.File
    report: gr.Markdown
    file: gr.DownloadButton
    """Hidden; the page clicks it when the file is ready, so that one click of the visitor downloads."""


def take_home_panel() -> TakeHomePanel:
    with gr.Column(elem_id="take-home"):
        gr.Markdown(f"### {texts.TAKE_HOME}\n{texts.TAKE_HOME_HELP}")
        with gr.Row():
            with gr.Column(scale=7, min_width=330):
                with gr.Row():
                    checkpoint = gr.Button(texts.CHECKPOINT, elem_id="checkpoint", variant="primary", min_width=140)
                    adapter = gr.Button(texts.ADAPTER, elem_id="adapter", min_width=140)
                    recipe = gr.Button(texts.RECIPE, elem_id="recipe", min_width=140)
                    stop = gr.Button(texts.STOP, elem_id="stop-export", scale=0, min_width=64)
                dtype = gr.Radio(
                    list(texts.DTYPE_CHOICES), value="stored", label=texts.DTYPE, elem_id="dtype", interactive=True
                )
                status = gr.Markdown(elem_id="export-status", elem_classes="status", min_height=48)
            with gr.Column(scale=4, min_width=300):
                upload = gr.File(
                    label=texts.UPLOAD_RECIPE, file_types=[".safetensors"], elem_id="upload-recipe", height=150,
                    interactive=True,
                )  # fmt: skip
        file = gr.DownloadButton(visible="hidden", elem_id="download")
    return TakeHomePanel(checkpoint, adapter, recipe, stop, dtype, upload, status, file)
