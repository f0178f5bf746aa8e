"""Wires the choice of model and behaviour: what is extracted, and how the page turns to what was made.

Knows gradio's events. What a choice becomes is components/shared/choices.py, what the page shows of it page/view.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import gradio as gr

from components.page.changes import CHANGED, Page
from components.page.view import CHOICE, kept_choice, kept_status, whole_view
from components.select.table import Shown
from components.shared.choices import Choice, carried_over, extract, is_ready, offered
from components.shared.errors import guarded
from components.shared.events import MODEL, QUIET, SESSION, apart, started, wire_stop
from components.shared.session import OWN, Session
from s2e_core.export import ExportDtype


class ChooseWiring:
    """The first panel of a page. `names` are those of the whole view, `inputs` what `Choice.of` is made from."""

    def __init__(self, page: Page, names: Sequence[str], inputs: Sequence[Any]) -> None:
        self.page, self.store, self.names, self.inputs = page, page.store, names, inputs
        self.sides = [page.details.shown, page.take.dtype]
        self.components = page.named()
        self.outputs = [page.session, *(self.components[name] for name in names)]

    def wire(self, demo: gr.Blocks, first: Session) -> None:
        """A new tab has the first session; then every choice leads to a run, and every run to a view."""
        session, choose = self.page.session, self.page.choose
        # Not queued: a tab has its session before anything can be asked of it.
        demo.load(guarded(partial(self._show, first)), self.sides, self.outputs, queue=False, **QUIET)
        runs = self._wire_runs()
        for run, made in runs.values():
            adopted = run.success(
                guarded(self._adopt),
                [session, made, *self.sides, choose.model, choose.behavior, choose.swap],
                self.outputs,
                trigger_mode="always_last",  # by default one that comes while another is under way is dropped
                **SESSION,
            )
            adopted.success(None, js=CHANGED)
            # After an error and after Stop the page still shows the session it had, and says so.
            run.failure(
                guarded(partial(kept_choice, self.store), after_failure=True), [session, choose.behavior],
                [self.components[name] for name in CHOICE], **QUIET,
            )  # fmt: skip
        wire_stop(choose.stop, {name: run for name, (run, _) in runs.items()})

    def _wire_runs(self) -> dict[str, tuple[Any, gr.State]]:
        """Extractions by name, by the button and by a choice of what takes no time, each with the session it made.

        No two share that state: one that finds nothing to do would overwrite what another has just made.
        """
        choose = self.page.choose
        # Another behaviour starts with its sides as they are; only then are the choices read.
        turned = apart(choose.behavior.input)(
            lambda name: (gr.update(visible=name == OWN), False), choose.behavior, [choose.own, choose.swap],
            trigger_mode="always_last", **QUIET,
        )  # fmt: skip
        # Another model speaks of other things: the behaviours that fit it are offered before the choices are read.
        changed = apart(choose.model.input)(
            lambda model, name: gr.update(
                choices=offered(self.store, model), value=carried_over(self.store, model, name)
            ),
            [choose.model, choose.behavior], choose.behavior, trigger_mode="always_last", **QUIET,
        )  # fmt: skip
        inputs = [self.page.session, *self.inputs]
        made = {name: gr.State(None) for name in ("extract", "behavior", "swap", "model")}
        pressed = choose.extract.click(
            guarded(self._prepare), inputs, [choose.status, made["extract"]],
            trigger_mode="once", js=started(choose.stop, "extract"), **MODEL,
        )  # fmt: skip
        listens = {"behavior": turned.success, "swap": apart(choose.swap.input), "model": changed.success}
        chosen = {
            name: listen(
                guarded(self._prepare_ready), inputs, [choose.status, made[name]],
                trigger_mode="always_last", js=started(choose.stop, name), **MODEL,
            )
            for name, listen in listens.items()
        }  # fmt: skip
        return {name: (run, made[name]) for name, run in {"extract": pressed, **chosen}.items()}

    def _show(self, session: Session, shown: Shown, dtype: ExportDtype) -> tuple[Any, ...]:
        view = whole_view(self.store, session, shown, dtype)
        return session, *(view[name] for name in self.names)

    def _prepare(self, session: Session, model: str, name: str, *values: Any) -> Iterator[tuple[Any, Any]]:
        # A click may be quicker than the box of behaviours follows the model.
        for step in extract(self.store, Choice.of(model, carried_over(self.store, model, name), *values)):
            # The page may still have to turn to what the run before has made.
            yield (step, gr.skip()) if isinstance(step, str) else (gr.skip(), step)

    def _prepare_ready(self, session: Session, *values: Any) -> Iterator[tuple[Any, Any]]:
        choice = Choice.of(*values)
        if not choice.is_of(session) and is_ready(self.store, choice, session):
            yield from self._prepare(session, *values)
        else:
            yield gr.skip(), None

    def _adopt(
        self, session: Session, prepared: Session | None, shown: Any, dtype: Any, model: str, behavior: str, swap: bool
    ) -> tuple[Any, ...]:
        if prepared is not None and Choice(model, carried_over(self.store, model, behavior), swap).is_of(prepared):
            # The choice itself is on the page already, and may have moved on while this was under way.
            view = whole_view(self.store, prepared, shown, dtype)
            there = {name for name in CHOICE[1:] if name != "behavior" or behavior == prepared.behavior}
            return prepared, *(gr.skip() if name in there else view[name] for name in self.names)
        # Nothing was ready, or another choice was made meanwhile, whose own run follows if it needs no button.
        needs_button = prepared is None or behavior == OWN or model not in self.store.sources
        waits = needs_button and not Choice(model, behavior, swap).is_of(session)
        status = kept_status(self.store, session, waits_for=behavior if waits else None)
        return gr.skip(), *(status if name == "status" else gr.skip() for name in self.names)
