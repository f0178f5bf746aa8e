"""Wires the check of examples: the linter's report at once, separability and stability on demand, with a Stop.

Knows gradio's events. What is measured is in handlers.py, how it reads in check_view.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from components.page.changes import Page
from components.shared import data_words as words
from components.shared.errors import guarded
from components.shared.events import LOOK, MODEL, apart, fresh
from components.shared.progress import progress_bar
from components.shared.session import OWN, Session
from s2e_core import ContrastSet

from .check_view import report_html, trust_html
from .handlers import Look, Measuring, is_due, measured, report_on, trust_key, with_trust
from .trusted import Checks, Trust
from .view import preview_html

PARTS = ("preview", "column", "report", "measure", "stop", "status", "trust")
STOP_MEASURING = "() => document.querySelector('#stop-trust:not(:disabled)')?.click()"
MEASURE_DUE = (
    "() => { if (document.querySelector('#trust [data-due]')) document.querySelector('#measure-trust')?.click() }"
)


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
        shown = [page.session, *self.states, choose.model, choose.behavior, self.look]

        def toggle(session: Session, checks: Checks, *values: Any) -> tuple[Any, ...]:
            *_, behavior, _ = values
            checks = replace(checks, open=not (behavior == OWN if checks.open is None else checks.open))
            return checks, *self.view(session, checks, *values)

        def began(session: Session, checks: Checks) -> tuple[Any, ...]:
            return replace(checks, running=True, tried=checks.tried | {trust_key(session)}, said=""), *_heard()

        def grow(session: Session) -> Iterator[tuple[Any, ...]]:
            for step in measured(self.store, session):
                if isinstance(step, Measuring):
                    said, on = words.MEASURING.format(step.done, step.total), gr.update(interactive=True)
                    yield gr.skip(), *_named(stop=on, status=progress_bar(said, step.done, step.total))
                else:
                    yield (session, step), *_named()

        def finished(made: tuple[Session, Trust], session: Session, checks: Checks, *values: Any) -> tuple[Any, ...]:
            checks = with_trust(checks, *made)
            return checks, *self.view(session, checks, *values)

        def stopped(session: Session, checks: Checks, *values: Any) -> tuple[Any, ...]:
            said = words.MEASURE_STOPPED if checks.running else ""
            checks = replace(checks, running=False, tried=checks.tried | {trust_key(session)}, said=said)
            return checks, *self.view(session, checks, *values)

        choose.check.click(guarded(toggle), shown, [self.checks, *self.outputs], **LOOK)
        apart(page.refresh.click)(guarded(self.view), shown, self.outputs, trigger_mode="always_last", **LOOK).success(
            None, js=MEASURE_DUE
        )
        # What is chosen while it measures counts: all changes of the checks come one after the other.
        changed, made = [self.checks, *self.outputs], gr.State(None)
        heard = panel.measure.click(
            guarded(began), [page.session, self.checks], [self.checks, *self.parts], trigger_mode="once", **LOOK
        )
        done = heard.success(
            guarded(grow), page.session, [made, *self.parts], trigger_mode="always_last", **MODEL
        )  # fmt: skip
        done.success(guarded(finished), [made, *shown], changed, **LOOK)
        done.failure(guarded(stopped, after_failure=True), shown, changed, **LOOK)
        panel.stop.click(guarded(stopped), shown, changed, cancels=[heard, done], **LOOK)
        # Another choice needs the model; where nothing is measured it costs no request.
        gr.on([choose.behavior.input, choose.model.input], None, js=STOP_MEASURING)

    def view(
        self, session: Session, checks: Checks, on_show: Any, model: str, behavior: str, look: Look
    ) -> tuple[Any, ...]:
        """(what is on show from now on, one update for each of PARTS); what stands there already is not sent again."""
        own = behavior == OWN
        contrast = self._contrast(session, checks, behavior, look)
        extracted = contrast is not None and self._is_extracted(session, model, behavior, contrast)
        trust = checks.found.get(trust_key(session)) if extracted else None
        due = extracted and is_due(self.store, session, checks)
        foreign = bool(session.origin) and not own and bool(checks.open)
        showing = (
            model, behavior, foreign, own and look.made, contrast and contrast.content_hash, extracted,
            trust is not None, due, checks.running, checks.said, self.store.is_loaded(model),
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
        said = checks.said if extracted else words.NOT_EXTRACTED
        return showing, *_named(
            preview=preview,
            column=gr.update(visible=True),
            report=report_html(report_on(self.store, model, contrast), folded=folded),
            measure=gr.update(interactive=extracted and not checks.running),
            stop=gr.update(interactive=checks.running),
            status=progress_bar(said) if said else "",
            trust=trust_html(trust, folded=folded) if trust else "<span data-due></span>" if due else "",
        )

    def _contrast(self, session: Session, checks: Checks, behavior: str, look: Look) -> ContrastSet | None:
        """The examples whose check is on show."""
        own = behavior == OWN
        if not (own if checks.open is None else checks.open):
            return None
        return look.contrast if own else None if session.origin else session.scored.contrast

    def _is_extracted(self, session: Session, model: str, behavior: str, contrast: ContrastSet) -> bool:
        same = session.scored.contrast.content_hash == contrast.content_hash and not session.origin
        return same and (session.model, session.behavior) == (model, behavior)


def _heard() -> tuple[Any, ...]:
    """A click says at once that it was heard; the run begins when it is its turn."""
    return _named(
        measure=gr.update(interactive=False), stop=gr.update(interactive=True), status=progress_bar(words.WAITING)
    )


def _named(**updates: Any) -> tuple[Any, ...]:
    return tuple(updates.get(name, gr.skip()) for name in PARTS)
