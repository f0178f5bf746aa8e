"""Layout of the fold that brings a file from elsewhere. No logic."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from components.shared import texts

from . import words as words


@dataclass(frozen=True, eq=False)
class ImportPanel:
    upload: gr.File
    read: gr.HTML
    """What was read, before and after it is used."""
    texts: gr.File
    """For the mean inputs beside a steering vector; hidden for every other file."""
    opposite: gr.Checkbox
    """Hidden for a finished edit."""
    layer: gr.Number
    """Of a steering vector of one layer; hidden unless the file leaves it open."""
    skip_first: gr.Checkbox
    """For a steering vector with a row for the embedding; hidden for every other file."""
    use: gr.Button
    stop: gr.Button


def import_panel() -> ImportPanel:
    with gr.Accordion(words.BRING, open=False, elem_id="bring"):
        gr.Markdown(words.BRING_HELP, elem_classes="status")
        with gr.Row():
            upload = gr.File(label=words.FILE, elem_id="bring-file", height=150, interactive=True, min_width=260)
            with gr.Column(scale=2, min_width=300):
                read = gr.HTML(elem_id="bring-read", elem_classes="status", apply_default_css=False)
                own = gr.File(
                    label=words.TEXTS, elem_id="bring-texts", height=150, interactive=True, visible=False
                )  # fmt: skip
                opposite = gr.Checkbox(
                    False, label=words.OPPOSITE, container=False, elem_id="bring-opposite", interactive=True,
                    visible=False,
                )  # fmt: skip
                layer = gr.Number(
                    None, label=words.LAYER, info=words.LAYER_HELP, elem_id="bring-layer", precision=0, minimum=0,
                    interactive=True, visible=False,
                )  # fmt: skip
                skip_first = gr.Checkbox(
                    False, label=words.SKIP_FIRST, container=False, elem_id="bring-skip-first", interactive=True,
                    visible=False,
                )  # fmt: skip
                with gr.Row(elem_classes="bar"):
                    use = gr.Button(
                        words.USE, variant="primary", elem_id="bring-use", size="sm", scale=0, min_width=84,
                        interactive=False,
                    )  # fmt: skip
                    stop = gr.Button(
                        texts.STOP, elem_id="stop-bring", size="sm", scale=0, min_width=64, interactive=False
                    )  # fmt: skip
    return ImportPanel(upload, read, own, opposite, layer, skip_first, use, stop)
