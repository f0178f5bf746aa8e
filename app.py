"""The page: builds the panels, wires every event, and launches. The edit lives in the tab (components/studio); what an
event does is in components/*/handlers.py, and what the page then shows in components/page/view.py."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
from gradio.utils import get_upload_folder

from components.bring.panel import import_panel
from components.bring.wiring import wire_import
from components.choose.panel import choose_panel
from components.choose.wiring import ChooseWiring
from components.compare.handlers import Request, compared
from components.compare.panel import compare_panel
from components.compare.rolls import rolled
from components.compare.text_columns import of_edit
from components.examples.wiring import DataWiring
from components.lessons.panel import lessons_panel
from components.lessons.questions import lesson_questions
from components.page import look
from components.page.options import options, read_first, set_threads, store_of
from components.page.parts import BROKEN, Page
from components.page.view import opening_view, template_field
from components.shared import texts
from components.shared.choices import Choice, offered, opened
from components.shared.events import MODEL, QUIET, RUN, named, spare_the_browser, wire_stop
from components.shared.session import Session
from components.shared.store import ModelStore
from components.studio.panel import details_place, dials_place, pictures_place, studio_panel
from components.studio.place import place_of
from components.studio.questions import questions
from components.tab_model.questions import tab_questions
from components.take_home.panel import take_home_panel
from components.take_home.wiring import wire_take_home
from components.trade_off.panel import trade_off_panel
from components.trade_off.wiring import wire_trade_off
from components.why.panel import why_panel
from components.why.wiring import wire_why
from s2e_core import S2EError
from s2e_core.measure import is_slow

FIRST = "0"
"""What a new tab calls its first edit."""


def build(store: ModelStore) -> gr.Blocks:
    """The page with the first behaviour already extracted and its first example already run."""
    behavior = store.behavior_list[0]
    scored = store.scored(store.first_model, behavior.contrast, behavior)
    first = opened(store, Choice(store.first_model, behavior.name), scored)
    request = Request(behavior.examples[0], behavior.max_new_tokens)
    *_, columns = compared(store, first, request)
    slow = is_slow(store.model(store.first_model))  # then the page opens without what takes many answers
    *_, answers = [None] if slow else rolled(store, first, request)
    status = opening_view(store, first)["status"]  # made outside the page: its updates are components
    with gr.Blocks(title=texts.TITLE, fill_width=True, delete_cache=(3600, 86400)) as demo:
        look.header()
        behaviors = offered(store, store.first_model)
        template = template_field(store, first.model)
        choose = choose_panel(list(store.sources), behaviors, store.limits, status, template, any_model=store.hub)
        with gr.Row(elem_id="work"):
            dials_place()
            compare = compare_panel(behavior, of_edit(columns, FIRST), answers, store.limits)
        pictures_place()
        why = why_panel(list(store.sources), any_model=store.hub)
        bring = import_panel()
        trade_off = trade_off_panel(store.limits)
        details_place()
        take = take_home_panel(push=store.push)
        lessons_panel(lesson_questions(store))
        look.footer(store.limits)
        studio = studio_panel(place_of(first), {**questions(store), **(tab_questions(store) if store.in_tab else {})})
        page = Page(store, studio, choose, compare, take)
        data = DataWiring(page)
        ChooseWiring(page, data.inputs).wire()
        wire_import(page, bring)
        wire_compare(page)
        wire_take_home(page)
        wire_trade_off(page, trade_off)
        wire_why(page, why)
        data.wire()
    spare_the_browser(demo, page.place)
    return demo.queue(max_size=store.limits.waiting, api_open=False)


def wire_compare(page: Page) -> None:
    compare, store = page.compare, page.store

    def run(session: Session, *values: Any) -> Iterator[Any]:
        for value in compared(store, session, Request(*values)):
            yield of_edit(value, session.made)

    def ask(session: Session, *values: Any) -> Iterator[Any]:
        for value in rolled(store, session, Request(*values)):
            yield of_edit(value, session.made)

    inputs = [
        compare.prompt, compare.length, compare.temperature, compare.seed, compare.steered, compare.gamma,
        compare.prompted, compare.placebo,
    ]  # fmt: skip
    # A run that is asked for meanwhile replaces the one under way, which is stopped.
    runs = compare.run.click(
        page.asks(run), [page.place, *inputs], compare.columns, trigger_mode="multiple",
        js=named(compare.stop, "compare"), **MODEL,
    )  # fmt: skip
    compare.prompt.submit(None, js=RUN)
    asks = compare.ask.click(
        page.asks(ask), [page.place, *inputs], compare.rolls, trigger_mode="multiple",
        js=named(compare.stop, "rolls"), **MODEL,
    )  # fmt: skip
    alone = compare.alone.click(
        page.asks(ask), [page.place, *inputs], compare.rolls, trigger_mode="multiple",
        js=f"(...values) => ({named(compare.stop, 'rolls')})(window.steer2edit.alone(values[0]), ...values.slice(1))",
        **MODEL,
    )  # fmt: skip
    wire_stop(compare.stop, compare=runs, rolls=asks)
    wire_stop(compare.stop, rolls=alone)
    for one in (runs, asks, alone):
        one.failure(None, js=BROKEN)  # once it is known which runs are over
    compare.examples.click(lambda row: row[0], compare.examples, compare.prompt, **QUIET).success(None, js=RUN)
    for arm in (compare.steered, compare.prompted, compare.placebo):
        arm.input(None, js=RUN)


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = options(arguments)
    try:
        store = store_of(chosen, Path(get_upload_folder()) / "steer2edit")
        set_threads(chosen, store)
        read_first(store)
        demo = build(store)
    except S2EError as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit("Stopped.") from None
    demo.launch(server_name=chosen.host, server_port=chosen.port, **look.launch_options(store.limits))


if __name__ == "__main__":
    main()
