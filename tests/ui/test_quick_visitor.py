"""A visitor who is quicker than the page: several buttons at once, a Stop before the server knows of the run.

Where the server must be slow, a lock of the model is held or an answer of the server is kept back in the browser: no
test waits for a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from components.dials import set_count
from components.page_view import DIALS, is_shown, page_view
from tests.ui.running import first_session, running_app, shared_store
from tests.ui.test_journey import PATIENCE, arrive, rest

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


def test_every_press_of_undo_goes_back_one_step(visitor: Page) -> None:
    first = visitor.inner_text("#summary")
    for button in ("heads-only", "neurons-only", "none"):
        before = steps(visitor)
        visitor.click(f"#{button}")
        visitor.wait_for_function("n => document.querySelector('#summary [data-edit]').dataset.edit != n", arg=before)
    press(visitor, "undo", "undo", "undo")
    expect(visitor.locator("#undo")).to_be_disabled(timeout=PATIENCE)
    assert visitor.inner_text("#summary") == first


def test_a_stop_that_is_quicker_than_the_server_ends_the_run(visitor: Page) -> None:
    stop = visitor.locator("#stop-run")
    with shared_store().model(shared_store().first_model).lock:
        visitor.evaluate("window.hold.join = true")
        visitor.click("#run")
        stop.click()
        visitor.evaluate("window.release('join')")
        expect(stop).to_be_disabled(timeout=PATIENCE)
        model_is_free(visitor)


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
    expect(stop).to_be_disabled(timeout=PATIENCE)
    rest(visitor)
    assert visitor.evaluate("window.joins") == before + 1


def test_a_page_is_told_apart_from_that_of_an_earlier_edit_or_with_a_dial_elsewhere() -> None:
    session = set_count(first_session(), "heads", 5)
    view = page_view(session)
    values = [view[name].get("value") if isinstance(view[name], dict) else view[name] for name in DIALS]
    assert is_shown(session, view["summary"], values)
    assert is_shown(session, view["summary"], [None if value == 5 else value for value in values])
    assert not is_shown(session, view["summary"], [6 if value == 5 else value for value in values])
    assert not is_shown(session, page_view(session.undo())["summary"], values) and not is_shown(session, None, values)
