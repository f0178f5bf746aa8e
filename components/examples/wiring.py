"""Wires a visitor's own examples: what was understood follows every change, and the model's own answers grow and stop.

Knows gradio's events. What is understood is in shared/brought.py, how answers are made in handlers.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gradio as gr

from components.page.parts import Page
from components.shared import data_words as words
from components.shared.answers import Answers
from components.shared.brought import CORRECTIONS, Correction
from components.shared.choices import Choice
from components.shared.errors import guarded
from components.shared.events import LOOK, QUIET, SWEEP, apart, fresh, named, stops, wire_stop
from components.shared.progress import progress_bar
from components.shared.session import Session
from s2e_core.responses import possible_rules

from .answer_table import read_mark
from .check_wiring import CheckRequest, CheckWiring
from .data_set_wiring import wire_data_set
from .handlers import AnswerRequest, Look, answer_settings, generate_answers, look_at_examples, stop_answers
from .trusted import Checks
from .view import answers_line, answers_value

ANSWER_PARTS = ("generate", "status", "rules", "rule", "share", "use", "table")
TABLE_SECONDS = 2.0
"""How often the table follows while answers come: it is large."""
EXTRACT = """() => setTimeout(() => {
  document.querySelector('#extract')?.click();
  document.querySelector('#choose')?.scrollIntoView();
}, 50)"""
"""The page goes to where progress and Stop are."""


class LookRequest(NamedTuple):
    """Everything that decides how own examples are shown."""

    session: Session
    checks: Checks
    on_show: object
    last: Look
    """The look that the page shows now."""
    choice: Choice

    @classmethod
    def of(cls, session: Session, checks: Checks, on_show: object, last: Look, *choice: Any) -> LookRequest:
        """From the values of the page; the rest is `Choice.of`."""
        return cls(session, checks, on_show, last, Choice.of(*choice))


class DataWiring:
    """The own examples of a page; `answers` and `look` hold what each visitor has."""

    def __init__(self, page: Page) -> None:
        choose = page.choose
        self.page, self.panel, self.store = page, choose.data, page.store
        self.answers = fresh(Answers)
        self.look = fresh(Look)
        panel = self.panel
        # What `Choice.of` is made from.
        self.inputs = [
            choose.model, choose.behavior, choose.swap, choose.template, panel.positive, panel.negative, panel.file,
            panel.second, *panel.corrections, self.answers,
        ]  # fmt: skip
        self.check = CheckWiring(page, self.look)
        self.outputs = [
            self.look, panel.correct, *panel.corrections, panel.answers, panel.status,
            *self.check.outputs,
        ]  # fmt: skip
        self.parts = [getattr(panel, name) for name in ANSWER_PARTS]

    def wire(self) -> None:
        panel, choose = self.panel, self.page.choose
        state = [self.page.place, *self.check.states, self.look, *self.inputs]
        # One event for all: a look is asked when the last one is on the page, and so with what that changed.
        changed = [
            panel.file.change, panel.second.change, panel.positive.change, panel.negative.change,
            choose.model.input, choose.behavior.input, choose.swap.input, *(one.input for one in panel.corrections),
        ]  # fmt: skip
        apart(*changed)(self.page.asks(self._look), state, self.outputs, trigger_mode="always_last", **LOOK)
        # What is wrong with arguments is said by the choice, which listens to them, too.
        quiet = self.page.asks(self._look, after_failure=True)
        apart(choose.template.submit)(quiet, state, self.outputs, trigger_mode="always_last", **LOOK)
        self._wire_answers(state)
        if panel.data_set is not None:
            wire_data_set(self.page, panel.data_set)
        self.check.wire()

    # ---- what was understood

    def _look(self, *values: Any) -> tuple[Any, ...]:
        request = LookRequest.of(*values)
        choice = request.choice
        files = (choice.own.file, choice.own.second)
        reset = files != request.last.files  # another file has other columns
        if reset:
            choice = replace(choice, own=replace(choice.own, correction=Correction()))
        look = replace(look_at_examples(self.store, choice), files=files)
        reading, answers = look.reading, choice.own.answers
        alone = reading is not None and reading.responses_missing
        opens = bool(look.names) and bool(look.problem or (look.questions and not alone))
        stale = bool(answers.by_prompt) and reading is not None and not answers.belong_to(choice.model, reading)
        can_answer = reading is not None and any(
            e.prompt.strip() for e in (*reading.positive, *reading.negative, *reading.without_side)
        )
        return (
            look,
            gr.update(visible=bool(look.names), **({"open": opens} if opens or reset else {})),
            *correction_updates(look, choice.own.correction, reset=reset),
            gr.update(visible=can_answer, **({"open": alone} if alone or reset else {})),
            progress_bar(words.OTHER_PROMPTS) if stale else gr.skip() if answers.running else _status(answers),
            *self.check.view(
                CheckRequest(request.session, request.checks, request.on_show, choice.model, choice.behavior, look)
            ),
        )

    # ---- the model's own answers

    def _wire_answers(self, state: Sequence[Any]) -> None:
        panel, choose = self.panel, self.page.choose
        fields = [panel.length, panel.samples, panel.temperature]
        outputs = [self.answers, *self.parts]

        def grow(place: Any, *values: Any) -> Iterator[tuple[Any, ...]]:
            request = AnswerRequest.of(*values)
            settings = answer_settings(self.store, request.length, request.samples, request.temperature)
            n, sent = -1, 0.0
            for answers in generate_answers(self.store, request.choice, settings):
                full = not answers.running or time.monotonic() - sent > TABLE_SECONDS
                if full:
                    sent = time.monotonic()
                    yield answers, *self._fold(answers)
                elif len(answers.by_prompt) != n:
                    yield answers, *_named(status=_status(answers))
                else:
                    yield gr.skip(), *_named()  # a place at which a Stop is heard
                n = len(answers.by_prompt)

        heard = panel.generate.click(_heard, None, self.parts, trigger_mode="once", **QUIET)
        done = heard.success(
            self.page.runs(grow), [self.page.place, *self.inputs, *fields], outputs,
            js=named(panel.stop, "generate", "sweep"), **SWEEP,
        )  # fmt: skip
        done.success(self.page.asks(self._look), state, self.outputs, **LOOK)

        def stopped(answers: Answers) -> tuple[Any, ...]:
            answers = stop_answers(answers)
            return answers, *self._fold(answers)

        failed = done.failure(guarded(stopped), self.answers, outputs, **QUIET)
        for other in (choose.model.input, choose.template.submit):
            other(None, js=stops(panel.stop))  # they would be another model's
        wire_stop(panel.stop, generate=done)
        failed.success(self.page.asks(self._look), state, self.outputs, **LOOK)
        self._wire_sides(state)

    def _wire_sides(self, state: Sequence[Any]) -> None:
        panel = self.panel

        def change(listen: Any, changed: Callable[..., Answers], inputs: Sequence[Any], *, table: bool) -> Any:
            """(answers, value) -> answers, then everything that follows; a table that was ticked is not sent again."""

            def handle(answers: Answers, *values: Any) -> tuple[Any, ...]:
                answers = changed(answers, *values)
                *parts, rows = self._fold(answers)
                return answers, *parts, rows if table else gr.skip()

            done = listen(
                guarded(handle), [self.answers, *inputs], [self.answers, *self.parts], trigger_mode="multiple",
                **LOOK,
            )  # fmt: skip
            return done.success(self.page.asks(self._look), state, self.outputs, **LOOK)

        change(panel.rule.input, Answers.with_rule, [panel.rule], table=True)
        change(panel.share.input, _with_share, [panel.share], table=True)
        change(panel.use.input, lambda answers, use: replace(answers, used=bool(use)), [panel.use], table=False)
        panel.extract_own.click(None, js=EXTRACT)
        go = change(panel.extract_answers.click, lambda answers: replace(answers, used=True), [], table=False)
        go.success(None, js=EXTRACT)

        def marked(answers: Answers, event: gr.EventData) -> tuple[Any, ...]:
            mark = read_mark(event._data, len(answers.by_prompt))
            answers = answers if mark is None else replace(answers.with_mark(*mark), used=True)
            *parts, _ = self._fold(answers)
            return answers, *parts, gr.skip()

        done = panel.table.mark(
            guarded(marked), self.answers, [self.answers, *self.parts], trigger_mode="multiple", **LOOK
        )  # fmt: skip
        done.success(self.page.asks(self._look), state, self.outputs, **LOOK)

    def _fold(self, answers: Answers) -> tuple[Any, ...]:
        """One update for each of ANSWER_PARTS; the table is the last."""
        rules = possible_rules(answers.asked)
        go_on = bool(answers.by_prompt) and not answers.is_complete
        return _named(
            generate=gr.update(value=words.GO_ON if go_on else words.GENERATE, interactive=not answers.running),
            status=_status(answers),
            rules=gr.update(visible=bool(answers.by_prompt) and not answers.running),
            rule=gr.update(choices=[(words.RULES[rule], rule) for rule in rules], value=answers.rule),
            share=gr.update(visible=answers.rule == "length"),
            use=answers.used,
            table=answers_value(answers, self.store.limits.table_rows),
        )


def correction_updates(look: Look, correction: Correction, *, reset: bool) -> Iterator[Any]:
    """One update for each of the correction's components.

    A value is sent only where it has to change: what a visitor chose while this was on its way stays chosen.
    """
    if not look.names and not reset:
        yield from (gr.skip() for _ in CORRECTIONS)
        return
    roles = look.reading.columns.roles() if look.reading is not None else {}
    for role in words.ROLES:
        given = getattr(correction, role) or ""
        names = [*look.sources, *look.names] if role in ("positive", "negative") else look.names
        kept = given if given in names else ""
        as_found = words.FIND_IT if kept else words.FOUND.format(roles[role]) if role in roles else words.NOT_FOUND
        choices = [(as_found, ""), *((words.COLUMN.format(name), name) for name in names)]
        yield gr.update(choices=choices, **({"value": kept} if reset or kept != given else {}))
    labels = look.reading.labels if look.reading is not None else ()
    found_labels = [(f"“{label.value[:40] or 'empty'}” ({label.count:,})", label.value) for label in labels]
    values = {value for _, value in found_labels}
    for chosen in (correction.positive_labels, correction.negative_labels):
        still = [value for value in chosen or () if value in values]
        changes = reset or len(still) != len(chosen or ())
        yield gr.update(choices=found_labels, visible=bool(found_labels), **({"value": still} if changes else {}))
    yield from (gr.update(value=value) if reset else gr.skip() for value in (None, None, False, False))


def _status(answers: Answers) -> str:
    sentence, done, total = answers_line(answers)
    return progress_bar(sentence, done, total) if sentence else ""


def _with_share(answers: Answers, share: float | None) -> Answers:
    return replace(answers, share=min(50.0, max(0.1, float(share)))) if share else answers


def _heard() -> tuple[Any, ...]:
    """A click says at once that it was heard; the run begins when it is its turn."""
    return _named(generate=gr.update(interactive=False), status=progress_bar(words.WAITING))


def _named(**updates: Any) -> tuple[Any, ...]:
    return tuple(updates.get(name, gr.skip()) for name in ANSWER_PARTS)
