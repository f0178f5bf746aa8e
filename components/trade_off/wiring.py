"""Wires the trade-off panel: runs that grow, Stop and Continue, points that load, files that download.

Knows gradio's events. What a run does is components/trade_off/handlers.py, what the panel then shows
components/trade_off/view.py. Runs have a queue of their own: they take the model in short parts, so that others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from components.page.parts import Page
from components.shared import texts
from components.shared.events import LOOK, QUIET, SWEEP, apart, apart_custom, fresh, named, ready_file, stops, wire_stop
from components.shared.progress import progress_bar
from components.shared.session import Session
from components.studio.place import place_of
from s2e_core import SettingsError

from .evaluation_wiring import wire_evaluation
from .figure_widget import read_point
from .files import csv_file, report_file, sweep_download
from .grid import PRESETS, GridRequest, estimate
from .handlers import SweepRequest, continued, run_study, searched, stopped, swept, why_not
from .lab import Bench, Lab, Place, Study, current_point, is_loaded
from .panel import TradeOffPanel
from .view import PARTS, lab_view

STATUS = ("status", "parts_status")
"""What changes all the time while something runs."""
STATES = (*STATUS, "find", "sweep", "progressive", "leave_one_out", "stop", "parts_stop", "go_on")
"""What says what runs and what can be done; cheap to send."""
Run = Callable[..., Iterator[Lab]]


def wire_trade_off(page: Page, panel: TradeOffPanel) -> None:
    """Everything in the panel."""
    TradeOffWiring(page, panel).wire()
    wire_evaluation(page, panel.in_full)


class TradeOffWiring:
    """The panel of a page; `bench` holds what each visitor has measured."""

    def __init__(self, page: Page, panel: TradeOffPanel) -> None:
        self.page, self.panel, self.store = page, panel, page.store
        self.bench = fresh(Bench)
        self.on_show = gr.State(None)
        self.names = list(PARTS)
        self.components = {name: getattr(panel, name) for name in self.names}
        self.rates: dict[str, float] = {}
        """Answers per second, by model: what every visitor's estimate is made from."""

    def wire(self) -> None:
        self._wire_runs()
        self._wire_points()
        self._wire_grid()
        self._wire_files()
        apart_custom(self.page.place.rested)(
            self.page.asks(self._show), [self.page.place, self.bench, self.on_show],
            [self.on_show, *self.components.values()], trigger_mode="always_last", **LOOK,
        )  # fmt: skip

    # ---- runs

    def _wire_runs(self) -> None:
        panel, grid = self.panel, self._grid_inputs()
        parts: tuple[tuple[gr.Button, Study, str], ...] = (
            (panel.progressive, "progressive", "progressive"), (panel.leave_one_out, "leave-one-out", "leave")
        )  # fmt: skip
        runs = [
            self._run(panel.find, "trade-off", "find", partial(searched, self.store), [panel.floor, panel.budget]),
            self._run(panel.sweep, "trade-off", "sweep", self._swept, [*grid, panel.prompts, panel.floor]),
            self._run(panel.go_on, "trade-off", "go", self._continued, [self.bench]),
            *(
                self._run(button, study, name, partial(self._taken_apart, study), [panel.parts_prompts, self.bench])
                for button, study, name in parts
            ),
        ]
        wire_stop(panel.stop, find=runs[0], sweep=runs[1], go=runs[2])
        wire_stop(panel.parts_stop, progressive=runs[3], leave=runs[4])
        # A run belongs to the model and behaviour on the page: with another choice it stops, and can be continued.
        choose = self.page.choose
        for stop in (panel.stop, panel.parts_stop):
            gr.on(
                [
                    choose.behavior.input, choose.swap.input, choose.model.input, choose.template.submit,
                    choose.extract.click,
                ],
                None, js=stops(stop), **QUIET,
            )  # fmt: skip

    def _run(self, button: gr.Button, study: Study, name: str, run: Run, inputs: list[Any]) -> Any:
        """A click says at once that it was heard, then the run begins when it is its turn."""
        outputs = [self.bench, *self.components.values()]
        heard = button.click(_heard, None, self._heard_outputs(study), trigger_mode="once", **QUIET)

        def grow(session: Session, bench: Bench, *values: Any) -> Iterator[tuple[Any, ...]]:
            shown = ""
            for lab in run(session, *values):
                if lab.state == "done" and lab.rate:
                    self.rates[session.model] = lab.rate
                bench = bench.with_lab(lab)
                names = STATUS if lab.view == shown and lab.state == "running" else self.names
                shown = lab.view
                yield bench, *self._view(session, bench, names)

        stop = self.panel.stop if study == "trade-off" else self.panel.parts_stop
        done = heard.success(
            self.page.asks(grow),
            [self.page.place, self.bench, *inputs],
            outputs,
            js=named(stop, name, "sweep"),
            **SWEEP,
        )
        done.success(  # dials may have moved meanwhile
            self.page.asks(self._show), [self.page.place, self.bench, self.on_show],
            [self.on_show, *self.components.values()], **LOOK,
        )  # fmt: skip
        # After an error and after Stop the panel shows what it had.
        asks = self.page.asks(self._stopped, after_failure=True)
        done.failure(asks, [self.page.place, self.bench], outputs, **QUIET)
        return done

    def _heard_outputs(self, study: Study) -> list[Any]:
        return [self.panel.status if study == "trade-off" else self.panel.parts_status]

    def _swept(self, session: Session, *values: Any) -> Iterator[Lab]:
        return swept(self.store, session, SweepRequest.of(*values))

    def _continued(self, session: Session, bench: Bench) -> Iterator[Lab]:
        return continued(self.store, session, bench.of(session))

    def _taken_apart(self, study: Study, session: Session, prompts: float | None, bench: Bench) -> Iterator[Lab]:
        return run_study(self.store, session, study, prompts, before=bench.of(session, study))

    def _stopped(self, session: Session, bench: Bench) -> tuple[Any, ...]:
        """What was running is stopped, with everything that its files hold."""
        running = [lab for lab in bench.labs.values() if lab.state == "running"]
        for lab in running:
            bench = bench.with_lab(stopped(self.store, session, lab))
        return bench, *self._view(session, bench, self.names if running else STATES)

    # ---- what is on show

    def _view(self, session: Session, bench: Bench, names: Sequence[str]) -> tuple[Any, ...]:
        """The named parts of the panel; the others stay as they are."""
        view = lab_view(self.store, session, bench, names)
        return tuple(view.get(name, gr.skip()) for name in self.names)

    def _show(self, session: Session, bench: Bench, on_show: Any) -> tuple[Any, ...]:
        """After a change of the session; figures that are on show already are not sent again."""
        lab = bench.of(session)
        showing = (Place.of(session), current_point(session, lab), is_loaded(session, lab), lab and lab.view)
        if showing == on_show or (lab is not None and lab.state == "running"):
            return on_show, *(gr.skip() for _ in self.names)
        return showing, *self._view(session, bench, self.names)

    # ---- points

    def _wire_points(self) -> None:
        panel = self.panel
        studies: tuple[tuple[gr.HTML, Study], ...] = (
            (panel.plot, "trade-off"), (panel.curve, "progressive"), (panel.bars, "leave-one-out")
        )  # fmt: skip
        for widget, study in studies:
            self._wire_turn(widget.pick, partial(point_in, study))
        panel.plot.pick(
            self._with_event(steering_of), [self.page.place, self.bench],
            [self.page.compare.gamma, self.page.compare.steered], trigger_mode="multiple", **QUIET,
        )  # fmt: skip
        self._wire_turn(panel.load.click, lambda session, bench, event: loaded_best(session, bench))

    def _wire_turn(self, listen: Any, change: Callable[..., Session]) -> None:
        """(session, bench, event) -> the session that the tab turns to."""

        def turn(session: Session, bench: Bench, event: gr.EventData) -> Any:
            changed = change(session, bench, event)
            return gr.skip() if changed is session else place_of(changed)

        listen(
            self._with_event(turn), [self.page.place, self.bench], self.page.place, trigger_mode="multiple", **LOOK
        )  # fmt: skip

    def _with_event(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """A handler of (session, bench, event) as gradio calls it, which gives the event by its annotation."""
        asks = self.page.asks(handler)

        def handle(place: Any, bench: Any, event: gr.EventData) -> Any:
            return asks(place, bench, event)

        return handle

    # ---- the grid

    def _grid_inputs(self) -> list[Any]:
        panel = self.panel
        return [panel.rho_attn, panel.rho_mlp, panel.alpha, panel.strength, panel.gamma]

    def _wire_grid(self) -> None:
        panel, fields = self.panel, self._grid_inputs()

        def estimated(session: Session, prompts: float | None, *values: Any) -> str:
            most = self.store.limits.sweep_settings
            reason = why_not(self.store, session)
            return reason or estimate(GridRequest(*values), prompts, most, self.rates.get(session.model))

        changed = apart(panel.prompts.change, *(field.change for field in fields))
        for listen in (changed, apart_custom(self.page.place.turned)):
            listen(
            self.page.asks(estimated), [self.page.place, panel.prompts, *fields], panel.work,
            trigger_mode="always_last", **QUIET,
        )  # fmt: skip
        panel.preset.input(
            lambda name: [getattr(PRESETS[name], field) if name in PRESETS else gr.skip() for field in PRESET_FIELDS],
            panel.preset, fields, **QUIET,
        )  # fmt: skip
        gr.on([field.input for field in fields], lambda: texts.OWN_GRID, None, panel.preset, **QUIET)

    # ---- files

    def _wire_files(self) -> None:
        panel = self.panel
        makers: tuple[tuple[str, gr.Button, Callable[..., Path]], ...] = (
            ("csv", panel.csv, csv_file), ("sweep", panel.sweep_file, sweep_download),
            ("report", panel.report, report_file),
        )  # fmt: skip
        for name, button, maker in makers:
            file, fetch = ready_file(name)

            def send(session: Session, bench: Bench, maker: Callable[..., Path] = maker) -> str:
                return str(maker(self.store, bench, session))

            sent = button.click(self.page.asks(send), [self.page.place, self.bench], file, **QUIET)
            sent.success(None, js=fetch)


def _heard() -> str:
    return progress_bar(texts.WAITING)


PRESET_FIELDS = ("rho_attn", "rho_mlp", "alpha", "strength", "gamma")


def point_in(study: Study, session: Session, bench: Bench, event: gr.EventData) -> Session:
    """`loaded_point` for an event of the page."""
    return loaded_point(study, session, event._data, bench)


def loaded_point(study: Study, session: Session, data: object, bench: Bench) -> Session:
    """The session with the settings of the point that was picked; a point without settings changes nothing."""
    lab = bench.of(session, study)
    n = _picked(lab, data)
    if lab is None or lab.measured is None or n is None:
        return session
    trial = lab.measured.tried[n].trial
    here = lab.measured.position(trial) == current_point(session, lab)
    return session if trial.settings is None or here else session.with_settings(trial.settings)


def steering_of(session: Session, bench: Bench, event: gr.EventData) -> tuple[Any, Any]:
    """The steering strength of the point that was picked, for the comparison; edits leave it as it is."""
    lab = bench.of(session)
    n = _picked(lab, event._data)
    gamma = None if lab is None or lab.measured is None or n is None else lab.measured.tried[n].trial.gamma
    return (gr.skip(), gr.skip()) if gamma is None else (gamma, True)


def loaded_best(session: Session, bench: Bench) -> Session:
    """The session with the recommended edit."""
    lab = bench.of(session)
    settings = lab.recommended if lab else None
    if settings is None:
        raise SettingsError(texts.SWITCHED)
    return session.with_settings(settings)


def _picked(lab: Lab | None, data: object) -> int | None:
    if lab is None or lab.measured is None:
        return None
    return read_point(data, lab.view, len(lab.measured.tried))
