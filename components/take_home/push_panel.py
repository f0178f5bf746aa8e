"""Layout of the fold that sends an export to the Hub. No logic."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from components.shared import texts

from . import push_words as words


@dataclass(frozen=True, eq=False)
class PushPanel:
    repository: gr.Textbox
    what: gr.Radio
    private: gr.Checkbox
    token: gr.Textbox
    push: gr.Button
    stop: gr.Button
    status: gr.HTML


def push_panel() -> PushPanel:
    with gr.Accordion(words.PUSH_TO_HUB, open=False, elem_id="push-fold"):
        gr.Markdown(words.HELP, elem_classes="status")
        with gr.Row():
            repository = gr.Textbox(
                label=words.REPOSITORY, placeholder=words.REPOSITORY_EXAMPLE, elem_id="push-repository", max_lines=1,
                interactive=True, min_width=240, html_attributes=_plain(),
            )  # fmt: skip
            token = gr.Textbox(
                label=words.TOKEN, type="password", placeholder=words.TOKEN_EXAMPLE, elem_id="push-token", max_lines=1,
                interactive=True, min_width=240, html_attributes=_plain(),
            )  # fmt: skip
        with gr.Row(elem_classes="bar"):
            what = gr.Radio(
                list(words.WHAT_CHOICES), value="checkpoint", label=words.WHAT, show_label=False, container=False,
                elem_id="push-what", interactive=True, min_width=230, scale=0,
            )  # fmt: skip
            private = gr.Checkbox(
                True, label=words.PRIVATE, container=False, elem_id="push-private", interactive=True, min_width=200,
                scale=0,
            )  # fmt: skip
            push = gr.Button(words.PUSH, variant="primary", elem_id="push", size="sm", scale=0, min_width=84)
            stop = gr.Button(texts.STOP, elem_id="stop-push", size="sm", scale=0, min_width=64, interactive=False)
        status = gr.HTML(elem_id="push-status", elem_classes="status", apply_default_css=False)
    return PushPanel(repository, what, private, token, push, stop, status)


def _plain() -> gr.InputHTMLAttributes:
    """The browser neither corrects nor remembers what is typed; gradio's password fields take no `autocomplete`."""
    return gr.InputHTMLAttributes(autocomplete="off", spellcheck=False, autocapitalize="off")
