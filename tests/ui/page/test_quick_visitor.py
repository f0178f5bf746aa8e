"""A visitor who is quicker than the page: several buttons at once, a Stop before the server knows of the run.

Where the server must be slow, a lock of the model is held or an answer of the server is kept back in the browser: no
test waits for a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from components.select.dials import set_count
from playwright.sync_api import Page, expect

import app
from components.bring.handlers import FromFile
from components.examples.handlers import Look, trust_key
from components.examples.trusted import Checks, Trust
from components.page.view import DIALS, is_shown, page_view
from components.shared.answers import Answers
from components.shared.brought import CORRECTIONS
from components.shared.session import OWN, Session
from s2e_core import save_edit
from tests.ui.browser import settled
from tests.ui.page.test_journey import PATIENCE, arrive
from tests.ui.running import first_session, running_app, shared_store

Handlers = dict[str, Callable[..., Any]]
KEEP_BACK = """
    const send = window.fetch;
    window.kept = {};
    window.release = name => { delete window.hold[name]; window.kept[name]?.(); };
    window.hold = {};
    window.joins = 0;
    window.fetch = async (...request) => {
        const name = ['join', 'reset'].find(end => String(request[0]).split('?')[0].endsWith('/' + end));
        if (name === 'join') window.joins++;
        const answer = await send(...request);
        if (window.hold[name]) await new Promise(next => window.kept[name] = next);
        return answer;
    };
"""
"""The answers to what begins a run, or to what ends one, come when the test says so."""
OVERTAKE = """
    const asked = window.fetch;
    window.fetch = async (...request) => {
        const answer = await asked(...request);
        if (!String(request[0]?.url ?? request[0]).includes('/queue/data')) return answer;
        const send = async page => {
            let rest = '', others = false;
            for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
                const messages = (rest + text).split('\\n\\n');
                rest = messages.pop();
                for (const message of messages) {
                    if (window.overtake && message.includes('"process_completed"')) {
                        window.overtake = false;
                        window.overtaken = message;
                    } else if (message.includes('"close_stream"') && window.overtaken && others) {
                        await new Promise(next => window.release = next);
                        page.enqueue(window.overtaken + '\\n\\n' + message + '\\n\\n');
                        window.overtaken = null;
                    } else page.enqueue(message + '\\n\\n');
                    others ||= message.includes('"process_completed"') && window.overtaken !== message;
                }
            }
            page.close();
        };
        const told = new ReadableStream({start: page => { send(page).catch(() => {}); }});
        return new Response(told.pipeThrough(new TextEncoderStream()), answer);
    };
"""
"""Of the next event, the end reaches the page after those of the ones that follow it, when the test says so."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


@pytest.fixture
def visitor(page: Page, address: str) -> Page:
    page.add_init_script(KEEP_BACK)
    arrive(page, address)
    page.uncheck("#follow input")
    return page


def press(page: Page, *buttons: str) -> None:
    """All at once, as quick as a script."""
    page.evaluate("names => { for (const name of names) document.getElementById(name).click(); }", buttons)


def steps(page: Page) -> int:
    return int(page.locator("#summary [data-edit]").get_attribute("data-edit") or 0)


def model_is_free(page: Page) -> None:
    """A download of the directions takes its turn after all runs of the model, and no model."""
    with page.expect_download(timeout=PATIENCE):
        page.click("#control-vector")


def test_files_that_are_asked_for_at_once_all_come(visitor: Page) -> None:
    with visitor.expect_download(lambda file: file.suggested_filename.endswith(".safetensors"), timeout=PATIENCE):
        with visitor.expect_download(lambda file: file.suggested_filename.endswith(".gguf"), timeout=PATIENCE):
            press(visitor, "recipe", "control-vector")
    settled(visitor)


def test_every_press_of_undo_goes_back_one_step(visitor: Page) -> None:
    first = visitor.inner_text("#summary")
    for button in ("heads-only", "neurons-only", "none"):
        before = steps(visitor)
        visitor.click(f"#{button}")
        visitor.wait_for_function("n => document.querySelector('#summary [data-edit]').dataset.edit != n", arg=before)
    press(visitor, "undo", "undo", "undo")
    expect(visitor.locator("#undo")).to_be_disabled(timeout=PATIENCE)
    settled(visitor)
    assert visitor.inner_text("#summary") == first


def move(page: Page, dial: str, value: float) -> None:
    page.evaluate(
        """([dial, value]) => {
            const slider = document.querySelector(`#${dial} input[type=range]`);
            slider.value = value;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
        }""",
        [dial, value],
    )


def test_a_dial_that_the_page_sets_while_its_event_is_to_come_gets_its_value_back(page: Page, address: str) -> None:
    page.add_init_script(OVERTAKE)
    arrive(page, address)
    sent: list[dict[str, Any]] = []
    page.on("request", lambda request: "/queue/join" in request.url and sent.append(request.post_data_json))
    page.evaluate("window.overtake = true")
    move(page, "heads-count", 4)
    page.wait_for_function("Boolean(window.overtaken)")
    move(page, "heads-count", 17)  # waits for the end of the event before
    press(page, "refresh")
    page.wait_for_function("window.release && document.querySelector('#heads-count input[type=range]').value === '4'")
    page.evaluate("window.release()")
    expect(page.locator("#summary b").first).to_have_text("17", timeout=PATIENCE)
    settled(page)
    expect(page.locator("#heads-count input[type=number]")).to_have_value("17", timeout=PATIENCE)
    assert [one["data"][1] for one in sent if one["fn_index"] == sent[0]["fn_index"]] == [4, 17], "never what it shows"


def test_the_dial_that_was_moved_last_counts_though_another_is_answered_after_it(visitor: Page) -> None:
    visitor.evaluate("window.hold.join = true")
    move(visitor, "heads-count", 4)
    visitor.wait_for_function("Boolean(window.kept.join)")
    move(visitor, "heads-count", 17)  # waits for the end of the event before, and sets rho too
    visitor.evaluate("window.hold = {}")
    begun = visitor.evaluate("window.joins")
    move(visitor, "rho-attn", 0.3)
    number = visitor.locator("#rho-attn input[type=number]")
    visitor.wait_for_function("begun => window.joins > begun + 1", arg=begun)  # the page looks whether it is right
    settled(visitor)
    visitor.evaluate("window.release('join')")
    expect(number).not_to_have_value("0.3", timeout=PATIENCE)
    expect(number).to_have_value("0.3", timeout=PATIENCE)
    settled(visitor)
    expect(number).to_have_value("0.3", timeout=PATIENCE)


def test_a_stop_that_is_quicker_than_the_server_ends_the_run(visitor: Page) -> None:
    stop = visitor.locator("#stop-run")
    with shared_store().model(shared_store().first_model).lock:
        visitor.evaluate("window.hold.join = true")
        visitor.click("#run")
        expect(stop).to_be_enabled(timeout=PATIENCE)
        press(visitor, "stop-run", "stop-run")
        visitor.evaluate("window.release('join')")
        expect(stop).to_be_disabled(timeout=PATIENCE)
        model_is_free(visitor)
    settled(visitor)


def test_a_run_that_is_begun_while_another_is_being_stopped_can_be_stopped_and_none_follows(visitor: Page) -> None:
    stop, texts = visitor.locator("#stop-run"), visitor.locator("#texts .texts")
    with shared_store().model(shared_store().first_model).lock:
        visitor.click("#run")
        expect(texts).to_have_attribute("aria-busy", "true", timeout=PATIENCE)
        visitor.evaluate("window.hold.reset = true")
        press(visitor, "run", "stop-run")
        visitor.wait_for_function("Boolean(window.kept.reset)")
        before = visitor.evaluate("window.joins")
        press(visitor, "run")
        visitor.evaluate("window.release('reset')")
        visitor.wait_for_function("n => window.joins > n", arg=before)
        stop.click()
        expect(stop).to_be_disabled(timeout=PATIENCE)
        model_is_free(visitor)
    before = visitor.evaluate("window.joins")
    press(visitor, "run")
    visitor.wait_for_function("document.querySelector('#texts .note').innerText.includes('word')")
    settled(visitor)
    expect(stop).to_be_disabled(timeout=PATIENCE)
    assert visitor.evaluate("window.joins") == before + 1


@pytest.fixture(scope="module")
def handlers() -> Handlers:
    """Those of the page, by name."""
    demo = app.build(shared_store())
    return {event.fn.__name__: event.fn for event in demo.fns.values() if event.fn is not None}


@pytest.mark.parametrize("name", ["use", "_prepare"])
def test_a_run_that_begins_leaves_what_the_one_before_has_made_until_the_page_turns_to_it(
    handlers: Handlers, name: str, tmp_path: Path
) -> None:
    session = first_session()
    file = save_edit(session.edit, tmp_path / "recipe.safetensors")
    choice = (session.model, session.behavior, False, "", "", None, None, *(None for _ in CORRECTIONS), Answers())
    *progress, (_, made) = handlers[name](session, *((str(file), None, False) if name == "use" else choice))
    assert progress and all(made == gr.skip() for _, made in progress)
    assert isinstance(made, FromFile | Session)


@pytest.mark.parametrize(("model", "waits"), [(None, True), ("somebody/something", True), ("", False)])
def test_a_choice_that_was_changed_while_another_was_extracted_waits_for_the_button_where_no_run_of_its_own_follows(
    handlers: Handlers, model: str | None, waits: bool
) -> None:
    session, other = first_session(), shared_store().behavior_list[1].name
    prepared = set_count(session, "heads", 5)
    chosen = (session.model, OWN, False) if model is None else (model or session.model, other, False)
    kept, *view = handlers["_adopt"](session, prepared, "all", "stored", *chosen)
    (status,) = (part for part in view if isinstance(part, str))
    assert kept == gr.skip() and ("Extract" in status) is waits


def test_a_check_that_is_closed_while_it_measures_stays_closed_and_keeps_what_was_measured(
    handlers: Handlers,
) -> None:
    session, trust = first_session(), Trust((), 6, 0.9, 0.9, "", (), 8)
    page = (None, session.model, session.behavior, Look())
    checks, *_ = handlers["toggle"](session, Checks(), *page)
    checks, *_ = handlers["start"](session, checks)
    assert checks.open and checks.running
    checks, *_ = handlers["toggle"](session, checks, *page)
    checks, *_ = handlers["finish"]((session, trust), session, checks, *page)
    assert (checks.open, checks.running, checks.trusts[trust_key(session)]) == (False, False, trust)


def test_a_page_is_told_apart_from_that_of_an_earlier_edit_or_with_a_dial_elsewhere() -> None:
    session = set_count(first_session(), "heads", 5)
    view = page_view(session)
    values = [view[name].get("value") if isinstance(view[name], dict) else view[name] for name in DIALS]
    assert is_shown(session, view["summary"], values)
    assert is_shown(session, view["summary"], [None if value == 5 else value for value in values])
    assert not is_shown(session, view["summary"], [6 if value == 5 else value for value in values])
    assert not is_shown(session, page_view(session.undo())["summary"], values) and not is_shown(session, None, values)
