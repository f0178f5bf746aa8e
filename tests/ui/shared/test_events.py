"""Which handlers listen to which events of the page, and that the page comes to rest after them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

import app
from components.page import look
from components.shared.errors import LOST
from components.shared.session import Lost
from tests.ui.browser import PATIENCE, settled
from tests.ui.page.test_journey import arrive, rest
from tests.ui.running import first_session, running_app, shared_store


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[gr.Blocks, str]]:
    demo = app.build(shared_store())
    with running_app(shared_store(), demo) as address:
        yield demo, address


def test_no_handler_that_waits_for_its_last_value_shares_its_event() -> None:
    """Gradio tells such an event again, to all who listen: two that wait would start each other without an end."""
    first_session()
    demo: gr.Blocks = app.build(shared_store())
    listeners: dict[tuple[int | None, str], list[str]] = {}
    for event in demo.fns.values():
        waits = event.fn is not None and event.trigger_mode == "always_last"
        for target in event.targets:
            if target[0] is None:  # after another event, and told by that one alone
                continue
            listeners.setdefault(target, []).append("waits" if waits else "hears")
    assert ["waits"] in listeners.values()
    assert not [target for target, all_of in listeners.items() if "waits" in all_of and len(all_of) > 1]


def test_every_button_whose_run_a_stop_ends_waits_until_a_stop_has_arrived() -> None:
    """The page's script knows the buttons that begin a run by their names alone."""
    first_session()
    demo = app.build(shared_store())
    buttons = {part._id: part.elem_id for part in demo.blocks.values() if isinstance(part, gr.Button)}
    script = (look.ASSETS / "stops.js").read_text(encoding="utf-8")
    named = set(re.findall(r"'([a-z-]+)'", re.search(r"RUNS = \[(.*?)\]", script, re.DOTALL)[1]))  # type: ignore[index]
    stopped = {number for event in demo.fns.values() for number in event.cancels}
    assert named == {buttons[part] for number in stopped for part, _ in demo.fns[number].targets if part in buttons}


def test_no_handler_works_on_a_session_that_is_lost() -> None:
    first_session()
    refused = 0
    for event in app.build(shared_store()).fns.values():
        values = [Lost.LOST if getattr(part, "value", None) is Lost.LOST else None for part in event.inputs]
        if event.fn is None or Lost.LOST not in values:
            continue
        with pytest.raises(gr.Error) as error:
            made = event.fn(*values)
            next(made) if inspect.isgenerator(made) else None
        assert error.value.message == LOST
        assert error.value.visible is not event.trigger_only_on_failure, "once: what follows a failure is silent"
        refused += 1
    assert refused > 40


def test_a_page_whose_session_is_lost_says_so_once_and_changes_nothing_until_it_is_reloaded(
    page: Page, running: tuple[gr.Blocks, str]
) -> None:
    demo, address = running
    arrive(page, address)
    page.click("#heads-only")
    rest(page)
    shown = page.inner_text("#summary")
    demo.app.state_holder.session_data.clear()
    page.locator("#strength input[type=number]").fill("1.25")
    expect(page.get_by_text("Reload the page")).to_have_count(1, timeout=PATIENCE)
    settled(page)
    assert page.inner_text("#summary") == shown
    arrive(page, address)
    assert page.inner_text("#summary") != shown
    page.click("#heads-only")
    expect(page.locator("#summary b").nth(1)).to_have_text("0", timeout=PATIENCE)
    assert page.get_by_text("Reload the page").count() == 0
