"""Wires the choice of model and behaviour, and a place from an address: what is extracted, and how the tab turns to it.

Knows gradio's events. What a choice becomes is components/shared/choices.py, what the page shows of it page/view.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from components.page.parts import Page
from components.page.view import ASKED, CHOICE, kept_choice, kept_status, opening_view, restored_view, template_field
from components.shared.choices import Choice, carried_over, extract, is_ready, offered
from components.shared.errors import guarded
from components.shared.events import MODEL, QUIET, apart, ended, named, stops
from components.shared.session import OWN, Session
from components.studio.place import session_of
from s2e_core import S2EError

TURNED = ("place", "status", "prompt", "examples", "length", "gamma", "swap", "template")
"""What follows a choice; the choice itself is on the page already, and may have moved on."""
LATE = (
    "(place, ...values) => (%s)("
    "{...place, late: window.steer2edit?.isUnderWay?.('stop-extract', 'extract') || false}, ...values)"
)
"""The `js` of the run of a choice: where the button was quicker, its run has the same choice and does what there is."""
RESTORED = (*TURNED, "model", "behavior", "own", *ASKED)


class ChooseWiring:
    """The first panel of a page. `inputs` is what `Choice.of` is made from."""

    def __init__(self, page: Page, inputs: Sequence[Any]) -> None:
        self.page, self.store, self.inputs = page, page.store, inputs
        components = page.named()
        self.turned = [components[name] for name in TURNED]
        self.choice = [components[name] for name in CHOICE]
        self.restored = [components[name] for name in dict.fromkeys(RESTORED)]

    def wire(self) -> None:
        page, choose = self.page, self.page.choose
        # Another behaviour starts with its sides as they are; only then are the choices read.
        turned = apart(choose.behavior.input)(
            lambda name: (gr.update(visible=name == OWN), False), choose.behavior, [choose.own, choose.swap],
            trigger_mode="always_last", **QUIET,
        )  # fmt: skip
        # Another model speaks of other things: the behaviours that fit it are offered before the choices are read.
        changed = apart(choose.model.input)(
            lambda model, name: (
                gr.update(choices=offered(self.store, model), value=carried_over(self.store, model, name)),
                gr.update(**template_field(self.store, model), value=""),
            ),
            [choose.model, choose.behavior], [choose.behavior, choose.template], trigger_mode="always_last", **QUIET,
        )  # fmt: skip
        inputs = [page.place, *self.inputs]
        runs = {
            "extract": [
                choose.extract.click(
                    page.runs(self._extract), inputs, self.turned, trigger_mode="once",
                    js=named(choose.stop, "extract"), **MODEL,
                )
            ],
            # The latest choice counts: it ends the run of the one before.
            "choice": [
                listen(
                    page.runs(self._extract_ready), inputs, self.turned, trigger_mode="multiple",
                    js=LATE % named(choose.stop, "choice"), **MODEL,
                )
                for listen in (turned.success, apart(choose.swap.input), apart(choose.template.submit), changed.success)
            ],
            "restore": [
                page.place.restore(
                    page.runs(self._restore), page.place, self.restored, trigger_mode="multiple",
                    js=named(choose.stop, "restore"), **MODEL,
                )
            ],
        }  # fmt: skip
        for name, run in ((name, run) for name, several in runs.items() for run in several):
            run.success(None, js=ended(choose.stop, name))
            # After an error and after Stop the page still shows the place it had, and says so.
            run.failure(
                guarded(self._kept, after_failure=True), [page.place, choose.behavior], self.choice,
                js=_over(choose.stop, name), trigger_mode="multiple", **QUIET,
            )  # fmt: skip
        runs["restore"][0].failure(None, js="() => window.steer2edit?.tell?.()")  # the place that the tab still has
        choose.stop.click(None, js=stops(choose.stop))
        # Before the run of the new choice begins, which may come after a click on the button.
        gr.on(
            [choose.behavior.input, choose.swap.input, choose.model.input, choose.template.submit], None,
            js=f"() => window.steer2edit?.replace?.('{choose.stop.elem_id}')", trigger_mode="multiple", **QUIET,
        )  # fmt: skip

    def _known(self, place: Any) -> Session | None:
        """The session of the tab; None if what it rests on is no longer kept."""
        try:
            return session_of(self.store, place)
        except S2EError:
            return None

    def _extract(self, place: Any, model: str, name: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        # A click may be quicker than the box of behaviours follows the model.
        for step in extract(self.store, Choice.of(model, carried_over(self.store, model, name), *values)):
            if isinstance(step, str):
                yield self._only(status=step)
            else:
                # Directions out of a file have switched off what swaps the sides; the visitor's choice stays.
                view = {**opening_view(self.store, step), "swap": gr.update(interactive=True)}
                view["template"] = gr.update(**template_field(self.store, step.model))
                yield tuple(view[part] for part in TURNED)

    def _extract_ready(self, place: Any, *values: Any) -> Iterator[tuple[Any, ...]]:
        if place.get("late"):
            yield self._only()
            return
        choice, session = Choice.of(*values), self._known(place)
        if session is not None and choice.is_of(session):
            yield self._only(status=kept_status(self.store, session, waits_for=None))
        elif is_ready(self.store, choice, session):
            yield from self._extract(place, *values)
        elif session is not None:
            yield self._only(status=kept_status(self.store, session, waits_for=choice.behavior))
        else:
            yield self._only()

    def _restore(self, place: Any) -> Iterator[tuple[Any, ...]]:
        """A place from an address, exactly as it was; what has to be read again is read."""
        names = list(dict.fromkeys(RESTORED))
        place = place if isinstance(place, Mapping) else {}
        choice = Choice(str(place.get("model")), str(place.get("behavior")), bool(place.get("swapped")))
        if choice.behavior != OWN and not place.get("origin"):
            for step in extract(self.store, choice):
                if isinstance(step, str):
                    yield tuple(step if name == "status" else gr.skip() for name in names)
        session = session_of(self.store, place)
        view = restored_view(self.store, session, place)
        yield tuple(view[name] for name in names)

    def _kept(self, place: Any, behavior: str) -> tuple[Any, ...]:
        if place.get("job"):  # another choice has replaced this one, and says what is on the page
            return tuple(gr.skip() for _ in CHOICE)
        session = self._known(place)
        return kept_choice(self.store, session, behavior) if session else tuple(gr.skip() for _ in CHOICE)

    def _only(self, **parts: Any) -> tuple[Any, ...]:
        return tuple(parts.get(name, gr.skip()) for name in TURNED)


def _over(stop: gr.Button, run: str) -> str:
    """The `js` of what follows a failure: the run is over, and the place says whether another one has replaced it."""
    return f"(place, behavior) => [{{...place, job: ({ended(stop, run)})() ? 'replaced' : ''}}, behavior]"
