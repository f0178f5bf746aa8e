"""Layout of a visitor's own examples: boxes, files, what was understood, its correction, the model's own answers.

No logic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.shared import data_words as words
from components.shared import texts
from components.shared.limits import Limits

from .answer_table import answer_table
from .data_set_panel import DataSetPanel, data_set_panel

LENGTH, MOST_SAMPLES, SHARE = 128, 100, 5


@dataclass(frozen=True, eq=False)
class DataPanel:
    own: gr.Column
    positive: gr.Textbox
    negative: gr.Textbox
    file: gr.File
    second: gr.File
    data_set: DataSetPanel | None
    """None where visitors may not use the Hub."""
    preview: gr.HTML
    correct: gr.Accordion
    roles: dict[str, gr.Dropdown]
    positive_labels: gr.Dropdown
    negative_labels: gr.Dropdown
    most: gr.Number
    above: gr.Number
    marks: gr.Checkbox
    long: gr.Checkbox
    answers: gr.Accordion
    length: gr.Number
    samples: gr.Number
    temperature: gr.Number
    generate: gr.Button
    stop: gr.Button
    status: gr.HTML
    rules: gr.Row
    rule: gr.Radio
    share: gr.Number
    use: gr.Checkbox
    extract_answers: gr.Button
    table: gr.HTML
    extract_own: gr.Button

    @property
    def corrections(self) -> list[Any]:
        """The components of the correction, in the order of `own_data.CORRECTIONS`."""
        return [
            *self.roles.values(), self.positive_labels, self.negative_labels, self.most, self.above, self.marks,
            self.long,
        ]  # fmt: skip


def data_panel(limits: Limits, *, hub: bool) -> DataPanel:
    fields: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="own") as own:
        gr.Markdown(f"{words.OWN_HELP} {limits.examples_sentence()}")
        with gr.Row(elem_id="own-inputs"):
            fields["positive"] = _box(texts.OWN_POSITIVE, texts.OWN_EXAMPLE, "own-positive")
            fields["negative"] = _box(texts.OWN_NEGATIVE, texts.OWN_OPPOSITE, "own-negative")
            with gr.Column(min_width=240, elem_id="own-files"):
                # No file_types: a wrong file gets a sentence of its own, and phones know no .jsonl.
                fields["file"] = gr.File(label=words.OWN_FILE, elem_id="own-file", height=84, interactive=True)
                fields["second"] = gr.File(label=words.OWN_SECOND, elem_id="own-second", height=84, interactive=True)
        fields["data_set"] = data_set_panel() if hub else None
        fields["preview"] = gr.HTML(elem_id="own-preview", apply_default_css=False)
        with gr.Row(elem_id="own-folds"):
            fields |= _correction(limits) | _answers(limits)
        # The one beside the behaviour is out of sight by then.
        fields["extract_own"] = gr.Button(
            words.EXTRACT_THESE, variant="primary", elem_id="extract-own", size="sm", scale=0, min_width=200
        )
    return DataPanel(own=own, **fields)


def as_sent(dropdown: gr.Dropdown) -> gr.Dropdown:
    """The same, for choices that change: a value that was on its way while they did is no error of the page's.

    The handlers check every name. The class is changed, not the one object: an update of the choices makes a new object
    of it. An ordinary subclass would do, too, and have gradio write a .pyi beside its file.
    """
    body = {"preprocess": lambda self, payload: payload, "__module__": gr.Dropdown.__module__}
    dropdown.__class__ = type.__new__(type(gr.Dropdown), gr.Dropdown.__name__, (gr.Dropdown,), body)
    return dropdown


def _box(label: str, placeholder: str, elem_id: str) -> gr.Textbox:
    return gr.Textbox(
        label=label, placeholder=placeholder, lines=7, max_lines=12, elem_id=elem_id, interactive=True, min_width=280
    )


def _correction(limits: Limits) -> dict[str, Any]:
    fields: dict[str, Any] = {"roles": {}}
    with gr.Accordion(words.CORRECT, open=False, visible=False, elem_id="own-correct") as fields["correct"]:
        gr.Markdown(words.CORRECT_HELP, elem_classes="status")
        with gr.Row(elem_classes="fields"):
            for role, label in words.ROLES.items():
                fields["roles"][role] = as_sent(
                    gr.Dropdown(
                        [], value=None, label=label, elem_id=f"column-{role}", interactive=True, filterable=False,
                        min_width=190,
                    )
                )  # fmt: skip
                if role == "label":
                    fields |= _labels()
            fields["most"] = gr.Number(
                None, label=words.MOST, info=words.MOST_HELP, precision=0, minimum=1, maximum=limits.examples,
                elem_id="most-examples", interactive=True, min_width=190, placeholder=f"{limits.examples:,}",
            )  # fmt: skip
            fields["above"] = gr.Number(
                None, label=words.ABOVE, info=words.ABOVE_HELP, elem_id="above-score", interactive=True, min_width=190,
            )  # fmt: skip
        for name, label in (("marks", words.TAKE_OFF_MARKS), ("long", words.LEAVE_OUT_LONG)):
            fields[name] = gr.Checkbox(False, label=label, container=False, elem_id=f"own-{name}", interactive=True)
    return fields


def _labels() -> dict[str, gr.Dropdown]:
    names = {"positive_labels": words.POSITIVE_LABELS, "negative_labels": words.NEGATIVE_LABELS}
    return {
        name: as_sent(
            gr.Dropdown(
                [], value=[], multiselect=True, label=label, info=words.LABELS_HELP, interactive=True, visible=False,
                elem_id=name.replace("_", "-"), min_width=190,
            )
        )
        for name, label in names.items()
    }  # fmt: skip


def _answers(limits: Limits) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    with gr.Accordion(words.ANSWERS, open=False, visible=False, elem_id="own-answers") as fields["answers"]:
        gr.Markdown(words.ANSWERS_HELP, elem_classes="status")
        with gr.Row(elem_classes="bar"):
            fields["generate"] = gr.Button(
                words.GENERATE, variant="primary", elem_id="generate", size="sm", scale=0, min_width=130
            )
            fields["stop"] = gr.Button(
                words.STOP, elem_id="stop-generate", size="sm", scale=0, min_width=64, interactive=False
            )
            for name, label, value, most in (
                ("length", words.ANSWER_LENGTH, min(LENGTH, limits.new_tokens), limits.new_tokens),
                ("samples", words.SAMPLES, 1, MOST_SAMPLES),
                ("temperature", words.TEMPERATURE, 1, 10),
            ):
                fields[name] = gr.Number(
                    value, label=label, elem_id=f"answer-{name}", minimum=0 if name == "temperature" else 1,
                    maximum=most, precision=None if name == "temperature" else 0, interactive=True,
                    elem_classes="inline", min_width=120, scale=0,
                )  # fmt: skip
        fields["status"] = gr.HTML(elem_id="answers-status", elem_classes="status", apply_default_css=False)
        with gr.Row(elem_classes="bar", visible=False, elem_id="answer-rules") as fields["rules"]:
            fields["rule"] = gr.Radio(
                [(label, name) for name, label in words.RULES.items()], value="hand", label=words.RULE,
                elem_id="answer-rule", interactive=True,
            )  # fmt: skip
            fields["share"] = gr.Number(
                SHARE, label=words.SHARE, info=words.SHARE_HELP, elem_id="answer-share", minimum=0.1, maximum=50,
                interactive=True, elem_classes="inline", scale=0, min_width=120, visible=False,
            )  # fmt: skip
            fields["use"] = gr.Checkbox(
                False, label=words.USE_ANSWERS, elem_id="use-answers", container=False, interactive=True, scale=0,
                min_width=210,
            )  # fmt: skip
            fields["extract_answers"] = gr.Button(
                texts.EXTRACT, elem_id="extract-answers", size="sm", scale=0, min_width=84
            )
        fields["table"] = answer_table(elem_id="answers", label=words.ANSWER_TABLE)
    return fields
