"""Wires the check of examples: the linter's report at once, separability and stability on demand, with a Stop.

Knows gradio's events. What is measured is in handlers.py, how it reads in check_view.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import gradio as gr

from components.page.parts import Page
from components.shared import data_words as words
from components.shared.events import LOOK, MODEL, apart_custom, fresh, named, stops, wire_stop
from components.shared.model_names import with_arguments
from components.shared.progress import progress_bar
from components.shared.session import OWN, Session
from s2e_core import ContrastSet

from .check_view import report_html, trust_html
from .handlers import Look, TrustProgress, is_due, measure_trust, report_on, trust_key, with_trust
from .trusted import Checks, Trust
from .view import preview_html

PARTS = ("preview", "column", "report", "measure", "status", "trust")
MEASURE_DUE = (
    "() => { if (document.querySelector('#trust [data-due]')) document.querySelector('#measure-trust')?.click() }"
)


class CheckRequest(NamedTuple):
    """Everything that decides how the check is shown, in the order of the page's inputs."""

    session: Session
    checks: Checks
    on_show: object
    """What the page shows now, as `CheckWiring.view` returned it."""
    plain_model: str
    behavior: str
    look: Look
    template: str | None = ""
    """Arguments of the chat template, if the model's name has none."""

    @property
    def model(self) -> str:
        """The model as the store knows it."""
        return with_arguments(self.plain_model, self.template or "")

    @property
    def is_open(self) -> bool:
        """True if the check is on show."""
        return self.behavior == OWN if self.checks.open is None else self.checks.open

    @property
    def contrast(self) -> ContrastSet | None:
        """The examples whose check is on show."""
        if not self.is_open:
            return None
        if self.behavior == OWN:
            return self.look.contrast
        return None if self.session.origin else self.session.scored.contrast

    def is_extracted(self, contrast: ContrastSet) -> bool:
        """Whether the session has the scores of these examples."""
        session = self.session
        same = session.scored.contrast.content_hash == contrast.content_hash and not session.origin
        return same and (session.model, session.behavior) == (self.model, self.behavior)


class CheckWiring:
    """The check of a page; `checks` holds what each visitor has measured, `on_show` what stands there."""

    def __init__(self, page: Page, look: gr.State) -> None:
        self.page, self.panel, self.store, self.look = page, page.choose.check_panel, page.store, look
        self.checks, self.on_show = fresh(Checks), gr.State(None)
        self.states = [self.checks, self.on_show]
        self.parts = [page.choose.data.preview, *(getattr(self.panel, name) for name in PARTS[1:])]
        self.outputs = [self.on_show, *self.parts]

    def wire(self) -> None:
        page, panel, choose = self.page, self.panel, self.page.choose
        shown = [page.place, *self.states, choose.model, choose.behavior, self.look, choose.template]

        def show(*values: Any) -> tuple[Any, ...]:
            return self.view(CheckRequest(*values))

        def show_with(request: CheckRequest, checks: Checks) -> tuple[Any, ...]:
            return checks, *self.view(request._replace(checks=checks))

        def toggle(*values: Any) -> tuple[Any, ...]:
            request = CheckRequest(*values)
            return show_with(request, replace(request.checks, open=not request.is_open))

        def start(session: Session, checks: Checks) -> tuple[Any, ...]:
            tried_keys = checks.tried_keys | {trust_key(session)}
            return replace(checks, running=True, tried_keys=tried_keys, status=""), *_heard()

        def grow(session: Session) -> Iterator[tuple[Any, ...]]:
            for step in measure_trust(self.store, session):
                if isinstance(step, TrustProgress):
                    sentence = words.MEASURING.format(step.done, step.total)
                    yield gr.skip(), *_named(status=progress_bar(sentence, step.done, step.total))
                else:
                    yield (session, step), *_named()

        def finish(session: Session, result: tuple[Session, Trust], *values: Any) -> tuple[Any, ...]:
            request = CheckRequest(session, *values)
            return show_with(request, with_trust(request.checks, *result))

        def stop(*values: Any) -> tuple[Any, ...]:
            request = CheckRequest(*values)
            checks, sentence = request.checks, words.MEASURE_STOPPED if request.checks.running else ""
            tried_keys = checks.tried_keys | {trust_key(request.session)}
            return show_with(request, replace(checks, running=False, tried_keys=tried_keys, status=sentence))

        choose.check.click(page.asks(toggle), shown, [self.checks, *self.outputs], **LOOK)
        apart_custom(page.place.turned)(
            page.asks(show), shown, self.outputs, trigger_mode="always_last", **LOOK
        ).success(None, js=MEASURE_DUE)
        # What is chosen while it measures counts: all changes of the checks come one after the other.
        changed, result = [self.checks, *self.outputs], gr.State(None)
        heard = panel.measure.click(
            page.asks(start), [page.place, self.checks], [self.checks, *self.parts], trigger_mode="once", **LOOK
        )
        done = heard.success(
            page.asks(grow), [page.place], [result, *self.parts], trigger_mode="always_last",
            js=named(panel.stop, "trust"), **MODEL,
        )  # fmt: skip
        done.success(page.asks(finish), [page.place, result, *shown[1:]], changed, **LOOK)
        done.failure(page.asks(stop, after_failure=True), shown, changed, **LOOK)
        wire_stop(panel.stop, trust=done)
        # Another choice needs the model; where nothing is measured it costs no request.
        gr.on([choose.behavior.input, choose.model.input, choose.template.submit], None, js=stops(panel.stop))

    def view(self, request: CheckRequest) -> tuple[Any, ...]:
        """(what is on show from now on, one update for each of PARTS); what stands there already is not sent again."""
        session, checks, on_show, model, behavior, look = *request[:3], request.model, request.behavior, request.look
        own, contrast = behavior == OWN, request.contrast
        extracted = contrast is not None and request.is_extracted(contrast)
        trust = checks.trusts.get(trust_key(session)) if extracted else None
        due = extracted and is_due(self.store, session, checks)
        foreign = bool(session.origin) and not own and bool(checks.open)
        showing = (
            model, behavior, foreign, own and look.stamp, contrast and contrast.content_hash, extracted,
            trust is not None, due, checks.running, checks.status, self.store.is_loaded(model),
        )  # fmt: skip
        if showing == on_show:
            return on_show, *_named()
        folded = own and extracted  # the heatmaps are what matters from now on
        preview = preview_html(look, folded=folded) if own else gr.skip()
        if foreign:
            note = f'<p class="note">{words.FROM_A_FILE}</p>'
            return showing, *_named(
                column=gr.update(visible=True), report=note, measure=gr.update(interactive=False), status="", trust=""
            )
        if contrast is None:
            return showing, *_named(preview=preview, column=gr.update(visible=False))
        sentence = checks.status if extracted else words.NOT_EXTRACTED
        return showing, *_named(
            preview=preview,
            column=gr.update(visible=True),
            report=report_html(report_on(self.store, model, contrast), folded=folded),
            measure=gr.update(interactive=extracted and not checks.running),
            status=progress_bar(sentence) if sentence else "",
            trust=trust_html(trust, folded=folded) if trust else "<span data-due></span>" if due else "",
        )


def _heard() -> tuple[Any, ...]:
    """A click says at once that it was heard; the run begins when it is its turn."""
    return _named(measure=gr.update(interactive=False), status=progress_bar(words.WAITING))


def _named(**updates: Any) -> tuple[Any, ...]:
    return tuple(updates.get(name, gr.skip()) for name in PARTS)
