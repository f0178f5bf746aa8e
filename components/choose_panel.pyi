"""Layout of the first panel: model, behaviour, own examples, extraction. No logic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from . import texts
from .limits import Limits

from gradio.events import Dependency

class FollowingDropdown(gr.Dropdown):
    """A dropdown whose choices follow another box: a value that was on its way while they changed is no error here.

    The handlers check every name.
    """

    is_template = True  # drawn by the browser as its parent

    def preprocess(self, payload: Any) -> Any:
        return payload
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


@dataclass(frozen=True, eq=False)
class ChoosePanel:
    model: gr.Dropdown
    behavior: gr.Dropdown
    swap: gr.Checkbox
    extract: gr.Button
    stop: gr.Button
    status: gr.Markdown
    own: gr.Column
    own_positive: gr.Textbox
    own_negative: gr.Textbox
    own_file: gr.File


def choose_panel(
    models: Sequence[str], behaviors: Sequence[tuple[str, str]], limits: Limits, *, any_model: bool
) -> ChoosePanel:
    with gr.Row(elem_id="choose", elem_classes="bar"):
        model = gr.Dropdown(
            models, value=models[0], label=texts.MODEL, allow_custom_value=any_model, interactive=True,
            elem_id="model", scale=2, min_width=180,
        )  # fmt: skip
        behavior = FollowingDropdown(
            behaviors, value=behaviors[0][1], label=texts.BEHAVIOR, interactive=True, elem_id="behavior", scale=2,
            min_width=180, filterable=False,
        )  # fmt: skip
        status = gr.Markdown(elem_id="status", elem_classes="status")
        swap = gr.Checkbox(False, label=texts.SWAP, interactive=True, elem_id="swap", scale=1, min_width=170)
        extract = gr.Button(texts.EXTRACT, elem_id="extract", size="sm", scale=0, min_width=84)
        stop = gr.Button(texts.STOP, elem_id="stop-extract", size="sm", scale=0, min_width=64, variant="secondary")
    with gr.Column(visible=False, elem_id="own") as own:
        gr.Markdown(texts.OWN_HELP + " " + limits.sentence())
        with gr.Row():
            positive = gr.Textbox(
                label=texts.OWN_POSITIVE,
                placeholder=texts.OWN_EXAMPLE,
                lines=6,
                max_lines=12,
                elem_id="own-positive",
                interactive=True,
                min_width=280,
            )
            negative = gr.Textbox(
                label=texts.OWN_NEGATIVE,
                placeholder=texts.OWN_OPPOSITE,
                lines=6,
                max_lines=12,
                elem_id="own-negative",
                interactive=True,
                min_width=280,
            )
            file = gr.File(
                label=texts.OWN_FILE, file_types=[".jsonl", ".json", ".csv"], elem_id="own-file", height=180,
                interactive=True, min_width=240,
            )  # fmt: skip
    return ChoosePanel(model, behavior, swap, extract, stop, status, own, positive, negative, file)