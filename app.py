"""The page: builds the panels, wires every event, and launches. What an event does is in components/select/dials.py and
components/*_handlers.py; what the page then shows is components/page/view.py."""

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
from components.page import look
from components.page.changes import BROKEN, Changes, Page
from components.page.options import options, read_first, set_threads, store_of
from components.page.view import whole_view
from components.select import dials, families, presets
from components.select import picks as pick_handlers
from components.select.detail_panel import detail_panel
from components.select.see_panel import see_panel
from components.select.set_panel import set_panel
from components.shared import texts
from components.shared.choices import Choice, offered, opened
from components.shared.errors import guarded
from components.shared.events import MODEL, QUIET, RUN, spare_the_browser, started, wire_stop
from components.shared.session import Lost, Session
from components.shared.store import ModelStore
from components.take_home.panel import take_home_panel
from components.take_home.wiring import wire_take_home
from components.trade_off.panel import trade_off_panel
from components.trade_off.wiring import wire_trade_off
from s2e_core import S2EError
from s2e_core.measure import is_slow


def build(store: ModelStore) -> gr.Blocks:
    """The page with the first behaviour already extracted and its first example already run."""
    behavior = store.behavior_list[0]
    scored = store.scored(store.first_model, behavior.contrast, behavior)
    first = opened(store, Choice(store.first_model, behavior.name), scored)
    request = Request(behavior.examples[0], behavior.max_new_tokens)
    *_, columns = compared(store, first, request)
    slow = is_slow(store.model(store.first_model))  # then the page opens without what takes many answers
    *_, answers = [None] if slow else rolled(store, first, request)
    names = list(whole_view(store, first, "all", "stored"))  # made outside the page: its updates are components
    with gr.Blocks(title=texts.TITLE, fill_width=True, delete_cache=(3600, 86400)) as demo:
        look.header()
        choose = choose_panel(list(store.sources), offered(store, store.first_model), store.limits, any_model=store.hub)
        with gr.Row(elem_id="work"):
            dial_panel = set_panel([texts.SUGGESTED, *presets.PUBLISHED, texts.BY_HAND])
            compare = compare_panel(behavior, of_edit(columns, first.made), answers, store.limits)
        see = see_panel(first.scored.scores.spec.n_layers)
        bring = import_panel()
        trade_off = trade_off_panel(store.limits)
        details, take = detail_panel(), take_home_panel(push=store.push)
        refresh = gr.Button(visible="hidden", elem_id="refresh")
        look.footer(store.limits)
        page = Page(store, gr.State(Lost.LOST), choose, see, dial_panel, compare, details, take, refresh)
        data = DataWiring(page)
        ChooseWiring(page, names, data.inputs).wire(demo, first)
        wire_import(page, bring, names)
        wire_dials(page, first)
        wire_selection(page, first)
        wire_compare(page)
        wire_take_home(page, first)
        wire_trade_off(page, trade_off, first)
        data.wire()
    spare_the_browser(demo, page.session)
    return demo.queue(max_size=store.limits.waiting, api_open=False)


def wire_dials(page: Page, first: Session) -> None:
    changes, panel, details = Changes(page, first), page.dials, page.details
    heads, neurons = ("heads_count", "heads_on"), ("neurons_count", "neurons_on")
    by_heads, by_neurons = ("rho_attn", "heads_on", "family"), ("rho_mlp", "neurons_on", "family")
    changes.dial(panel.heads_count, lambda session, value: dials.set_count(session, "heads", value), by_heads)
    changes.dial(panel.neurons_count, lambda session, value: dials.set_count(session, "neurons", value), by_neurons)
    changes.dial(panel.rho_attn, lambda session, value: dials.set_rho(session, "heads", value), heads)
    changes.dial(panel.rho_mlp, lambda session, value: dials.set_rho(session, "neurons", value), neurons)
    changes.dial(panel.alpha, dials.set_alpha, ("heads_count", "neurons_count"))
    changes.dial(panel.strength, dials.set_strength)
    changes.dial(details.own_strength, dials.set_component_strength)
    changes.on(panel.heads_on.input, lambda session, on: dials.set_kind(session, "heads", on), [panel.heads_on])
    changes.on(panel.neurons_on.input, lambda session, on: dials.set_kind(session, "neurons", on), [panel.neurons_on])
    changes.on(panel.family.input, families.set_family, [panel.family])
    changes.dial(panel.gate_gamma, families.set_gamma)
    changes.on(panel.gate_mu.input, families.set_mu, [panel.gate_mu])
    changes.dial(panel.gate_size, families.set_size)
    changes.dial(panel.protect, families.set_protect)
    changes.on(panel.preset.input, presets.set_preset, [panel.preset])
    changes.settle()


def wire_selection(page: Page, first: Session) -> None:
    changes, see, details, rows = Changes(page, first), page.see, page.details, page.store.limits.table_rows
    changes.on(see.above.click, dials.select_all)
    changes.on(see.none.click, dials.select_none)
    changes.on(see.heads_only.click, lambda session: dials.only_kind(session, "heads"))
    changes.on(see.neurons_only.click, lambda session: dials.only_kind(session, "neurons"))
    changes.on([see.first_layer.input, see.last_layer.input], pick_handlers.layers, [see.first_layer, see.last_layer])
    changes.step(see.undo.click, Session.undo)
    changes.step(see.redo.click, Session.redo)
    changes.on(see.color.input, Session.with_mode, [see.color])
    changes.on(see.all_columns.input, Session.with_all_columns, [see.all_columns])
    changes.on_event(see.heads.pick, lambda session, data: pick_handlers.picked(session, "heads", data))
    changes.on_event(see.neurons.pick, lambda session, data: pick_handlers.picked(session, "neurons", data))
    changes.on_event(
        details.table.edit,
        lambda session, data, shown: pick_handlers.ticked(session, shown, rows, data), [details.shown],
    )  # fmt: skip
    changes.on_event(
        details.table.select,
        lambda session, data, shown: pick_handlers.inspected(session, shown, rows, data), [details.shown],
    )  # fmt: skip
    changes.step(details.switch.click, dials.toggle_focus)
    changes.on(details.keep_only.click, dials.keep_focus)


def wire_compare(page: Page) -> None:
    compare, store = page.compare, page.store

    def run(session: Session, *values: Any) -> Iterator[Any]:
        for value in compared(store, session, Request(*values)):
            yield of_edit(value, session.made)

    def ask(session: Session, *values: Any) -> Iterator[Any]:
        yield from rolled(store, session, Request(*values))

    inputs = [compare.prompt, compare.length, compare.temperature, compare.seed, compare.steered, compare.gamma]
    # One that is asked for meanwhile follows, which the page sees to: gradio would forget it at an error, or at a Stop
    # keep it until after the next one.
    runs = compare.run.click(
        guarded(run), [page.session, *inputs], compare.columns, trigger_mode="once",
        js=started(compare.stop, "compare"), **MODEL,
    )  # fmt: skip
    compare.prompt.submit(None, js=RUN)
    asks = compare.ask.click(
        guarded(ask), [page.session, *inputs], compare.rolls, trigger_mode="once",
        js=started(compare.stop, "rolls"), **MODEL,
    )  # fmt: skip
    for one in (runs, asks):
        one.failure(None, js=BROKEN)
    wire_stop(compare.stop, {"compare": runs, "rolls": asks})
    compare.examples.click(lambda row: row[0], compare.examples, compare.prompt, **QUIET).success(None, js=RUN)
    compare.steered.input(None, js=RUN)


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
