"""Which handlers listen to which events of the page, what they do about a place that is none, and what is served."""

from __future__ import annotations

import html
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

import app
from components.shared.errors import BUG
from components.studio.place import GONE, UNREADABLE, place_of
from tests.ui.browser import settled
from tests.ui.edits import with_count
from tests.ui.running import first_session, running_app, shared_store, store_beside
from tests.ui.studio_page import arrive, figures, rest, set_count


@pytest.fixture(scope="module")
def demo() -> gr.Blocks:
    first_session()
    return app.build(shared_store())


def asked_of_a_session(demo: gr.Blocks) -> Iterator[Any]:
    """The handlers of the page that are asked about a session, once each."""
    for event in demo.fns.values():
        inner = getattr(event.fn, "__wrapped__", None)
        if inner is not None and inner.__code__.co_qualname.startswith("Page.asks"):
            yield event


def read_beside(demo: gr.Blocks, elem_id: str) -> list[Any]:
    """The handlers that are asked about a session by an event of one component."""
    asked = [event for event in asked_of_a_session(demo) if event.trigger_after is not None]
    targets = [(event, demo.fns[event.trigger_after].targets) for event in asked]
    return [event for event, of in targets if any(getattr(demo.blocks.get(t[0]), "elem_id", "") == elem_id for t in of)]


def test_no_handler_that_waits_for_its_last_value_shares_its_event(demo: gr.Blocks) -> None:
    """Gradio tells such an event again, to all who listen: two that wait would start each other without an end."""
    listeners: dict[tuple[int | None, str], list[str]] = {}
    for event in demo.fns.values():
        waits = event.fn is not None and event.trigger_mode == "always_last"
        for target in event.targets:
            if target[0] is None:  # after another event, and told by that one alone
                continue
            listeners.setdefault(target, []).append("waits" if waits else "hears")
    assert ["waits"] in listeners.values()
    assert not [target for target, all_of in listeners.items() if "waits" in all_of and len(all_of) > 1]


def test_every_run_that_gets_a_name_of_a_stop_button_is_over_by_that_name(demo: gr.Blocks) -> None:
    """A name whose run never ends for the page would leave the button lit for ever."""
    buttons = {part.elem_id for part in demo.blocks.values() if isinstance(part, gr.Button)}
    scripts = [event.js for event in demo.fns.values() if isinstance(event.js, str)]
    begun, over = (
        Counter(pair for script in scripts for pair in re.findall(rf"\.{what}\?\.\('([\w-]+)', '([\w-]+)'", script))
        for what in ("begin", "ended")
    )
    assert begun and {stop for stop, _ in begun} <= buttons
    assert over == Counter({pair: 2 * count for pair, count in begun.items()}), "on success and on failure"
    stops = {stop for script in scripts for stop in re.findall(r"\.stop\?\.\('([\w-]+)'\)", script)}
    assert stops == {stop for stop, _ in begun}


def test_every_handler_refuses_a_place_that_is_none_in_a_sentence(demo: gr.Blocks) -> None:
    forgotten = {**place_of(first_session()), "behavior": "own", "key": "forgotten"}
    refused, beside = 0, read_beside(demo, "template")  # the choice, which is asked at once, says it
    for event in asked_of_a_session(demo):
        for place, sentence in ((None, UNREADABLE), ({"model": 1}, UNREADABLE), (forgotten, GONE)):
            with pytest.raises(gr.Error) as error:
                made = event.fn(place, *(None for _ in event.inputs[1:]))
                next(made) if inspect.isgenerator(made) else None
            assert html.unescape(error.value.message) == sentence
            if event not in beside:
                assert error.value.visible is not event.trigger_only_on_failure, (
                    "once: what follows a failure is silent"
                )
        refused += 1
    assert refused > 15


def test_an_address_that_names_nothing_is_refused_in_a_sentence(demo: gr.Blocks) -> None:
    (restore,) = (event for event in demo.fns.values() if any(name == "restore" for _, name in event.targets))
    places: tuple[Any, ...] = (None, 7, [], {}, {"behavior": "nonsense"})
    for place in places:
        with pytest.raises(gr.Error) as error:
            list(restore.fn(place))
        assert error.value.message not in (BUG, "")


def test_every_event_about_the_edit_is_told_the_place_first(demo: gr.Blocks) -> None:
    (place,) = (part for part in demo.blocks.values() if part.elem_id == "studio")
    for event in asked_of_a_session(demo):
        assert event.inputs[0] is place


# ---- a running page --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


def test_scripts_are_served_and_nothing_beside_them(page: Page, address: str) -> None:
    for name in ("plotly.min.js", "studio/studio.js", "studio/method.js"):
        assert page.request.get(f"{address}/gradio_api/s2e/{name}").ok, name
    for name in ("studio/place.py", "studio/..%2fplace.py", "studio/%2e%2e/place.py", "studio/", "..%2f__init__.py"):
        assert not page.request.get(f"{address}/gradio_api/s2e/{name}").ok, name


def test_a_stop_reaches_the_server_by_the_name_of_its_run(page: Page, address: str) -> None:
    arrive(page, address)
    page.evaluate("() => window.steer2edit.end(['one run'])")
    page.evaluate("() => window.steer2edit.end(['first', 'second'])")
    jobs = shared_store().jobs
    assert all(jobs.is_stopped(name) for name in ("one run", "first", "second")) and not jobs.is_stopped("o")


def test_a_server_that_was_started_again_goes_on_with_an_open_page(page: Page) -> None:
    """It has nothing of a visitor to lose: sessions and extractions are made again."""
    store = store_beside(_scored=shared_store()._scored.copy(), _keys={})
    store.__dict__["_behaviors"] = shared_store()._behaviors
    demo = app.build(store)
    with running_app(store, demo) as url:
        arrive(page, url)
        set_count(page, "heads", 3)
        rest(page)
        demo.app.state_holder.session_data.clear()
        store._scored.clear()
        set_count(page, "neurons", 21)
        rest(page)
        assert figures(page) == (3, 21)
        page.click("#run")
        rest(page)
        expect(page.locator(".toast-body")).to_have_count(0)
        label = page.locator("#recipe").inner_text()
        assert "kB" in label or "MB" in label
        settled(page)
    edit = with_count(with_count(first_session(), "heads", 3), "neurons", 21).edit
    assert (edit.count("heads"), edit.count("neurons")) == (3, 21)
