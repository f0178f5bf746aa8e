"""A visitor who is quicker than the page: random quick use, several buttons at once, a Stop before a run has begun.

Whatever was pressed and however fast, a page that has come to rest shows what Python computes for its settings. Where
the server must be slow, an answer of the server is kept back in the browser or a run waits for the test.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from playwright.sync_api import Page, expect

import app
from components.compare.handlers import compared
from components.examples.handlers import Look, trust_key
from components.examples.trusted import Checks, Trust
from components.page.view import resting_view
from components.shared.answers import Answers
from components.shared.brought import CORRECTIONS
from components.shared.session import Session
from components.studio.place import place_of, session_of
from s2e_core import save_edit
from s2e_core.method import relative_changes, summarize
from tests.ui.browser import PATIENCE, settled
from tests.ui.running import first_session, running_app, shared_store
from tests.ui.studio_page import arrive, choose_behavior, figures, place, rest, said, set_slider

Handlers = dict[str, Callable[..., Any]]
Action = tuple[str, str, float]
KEEP_BACK = """
    const send = window.fetch;
    window.hold = false;
    window.held = [];
    window.release = () => { window.hold = false; for (const go of window.held.splice(0)) go(); };
    window.delay = 0;
    window.fetch = async (...request) => {
        if (window.delay) await new Promise(next => setTimeout(next, window.delay));
        const answer = await send(...request);
        if (window.hold && String(request[0]).split('?')[0].endsWith('/queue/join'))
            await new Promise(next => window.held.push(next));
        return answer;
    };
"""
"""While `hold` is set, the page does not learn that its events have begun until the test says so; with a `delay` every
question is so many milliseconds on its way."""
PLAY = """
    async actions => {
        const find = selector => document.querySelector(selector);
        const tell = (node, event) => node.dispatchEvent(new Event(event, {bubbles: true}));
        const play = {
            slide: (id, value) => {
                const dial = find(`#${id} input[type=range]`);
                dial.value = +dial.min + value * (dial.max - dial.min);
                tell(dial, 'input');
            },
            press: id => find(`#${id}`).click(),
            choose: (id, value) => {
                const box = find(`#${id} select`);
                box.selectedIndex = Math.floor(value * box.options.length);
                tell(box, 'change');
            },
            tick: (_, value) => find(`#table tbody tr:nth-child(${1 + Math.floor(value * 20)}) input`).click(),
            look: (_, value) => find(`#table tbody tr:nth-child(${1 + Math.floor(value * 20)})`).click(),
            layers: (_, value) => {
                for (const [id, layer] of [['first-layer', value * 4], ['last-layer', 2 + value * 3]]) {
                    find(`#${id} input`).value = Math.floor(layer);
                    tell(find(`#${id} input`), 'change');
                }
            },
            wait: (_, value) => new Promise(next => setTimeout(next, 400 * value * value)),
        };
        for (const [action, on, value] of actions) await play[action](on, value);
    }
"""
"""Does what a list of actions says without waiting for anything but its own pauses."""
CHOICES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("slide", ("strength", "heads-count", "neurons-count", "rho-attn", "rho-mlp", "alpha", "own-strength")),
    ("press", ("above", "none", "heads-only", "neurons-only", "undo", "redo", "switch", "keep-only")),
    ("press", ("run", "stop-run")),
    ("choose", ("preset",)),
    ("tick", ("",)),
    ("look", ("",)),
    ("layers", ("",)),
    ("wait", ("",)),
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


@pytest.fixture
def visitor(page: Page, address: str) -> Page:
    page.add_init_script(KEEP_BACK)
    arrive(page, address)
    return page


def some_actions(dice: random.Random, count: int) -> list[Action]:
    kinds = dice.choices(CHOICES, weights=(8, 4, 1, 1, 2, 1, 1, 5), k=count)
    return [(kind, dice.choice(on), dice.random()) for kind, on in kinds]


def press(page: Page, *buttons: str) -> None:
    """All at once, as quick as a script."""
    page.evaluate("names => { for (const name of names) document.getElementById(name).click(); }", buttons)


def shows_what_python_computes(page: Page) -> Session:
    """Compare a page at rest with the core, and with what the page was told of its edit; return the tab's session."""
    settled(page)
    found = place(page)
    session = session_of(shared_store(), found)
    edit, scores = session.edit, session.scored.scores
    summary = summarize(scores, edit)
    assert figures(page) == (summary.n_heads, summary.n_neurons), found
    size = float(page.locator("#summary .figure b").nth(2).inner_text().rstrip("%"))
    assert size == pytest.approx(100 * summary.relative_size, abs=0.06), found
    lam, change = torch.cat(edit.strength), torch.cat(relative_changes(scores, edit))
    rows = page.evaluate(
        """() => [...document.querySelectorAll('#table tbody tr')].map(row => [row.dataset.number,
            row.children[6].innerText, row.children[7].innerText].map(text => +text.replace('−', '-')))"""
    )
    for number, its_lambda, its_change in rows:
        assert its_lambda == pytest.approx(float(lam[int(number)]), abs=0.0006), (number, found)
        assert its_change == pytest.approx(float(change[int(number)]), abs=0.0006), (number, found)
    # What the server and the address were told last is the edit on the page.
    assert page.inner_text("#recipe") == resting_view(shared_store(), session, "stored")["recipe"]["value"]
    named = page.evaluate(
        """async () => {
            const url = await import(new URL('gradio_api/s2e/studio/url.js', document.baseURI).href);
            return url.fromFragment(window.location.hash);
        }"""
    )
    assert {name: named[name] for name in named if name in found} == {
        name: found[name] for name in named if name in found
    }
    expect(page.locator("#stop-run")).to_be_disabled()
    expect(page.locator("#stop-extract")).to_be_disabled()
    return session


@pytest.mark.parametrize(("seed", "delay"), [(0, 0), (1, 0), (2, 100), (3, 300)])
def test_quick_use_ends_in_a_page_that_shows_what_python_computes(visitor: Page, seed: int, delay: int) -> None:
    dice = random.Random(seed)
    visitor.evaluate("delay => { window.delay = delay; }", delay)
    for _ in range(3):
        actions = some_actions(dice, 40)
        print(actions)
        visitor.evaluate(PLAY, actions)
        shows_what_python_computes(visitor)
    visitor.click("#run")
    rest(visitor)
    heads, neurons = figures(visitor)
    title = visitor.locator("#texts h3").nth(1).inner_text()
    assert [int(word) for word in title.replace(",", "").split() if word.isdigit()] == [
        n for n in (heads, neurons) if n
    ]


@pytest.mark.parametrize(("seed", "delay"), [(0, 0), (1, 100)])
def test_quick_use_of_gates_ends_in_the_edit_that_the_server_solves(visitor: Page, seed: int, delay: int) -> None:
    dice = random.Random(100 + seed)
    visitor.evaluate("delay => { window.delay = delay; }", delay)
    gates = ("strength", "gate-gamma", "gate-size", "protect", "heads-count")
    for _ in range(2):
        actions = some_actions(dice, 12)
        actions += [("slide", dice.choice(gates), dice.random()) for _ in range(12)]
        actions += [("choose", "family", dice.random()), ("choose", "gate-mu", dice.random())]
        dice.shuffle(actions)
        print(actions)
        visitor.evaluate(PLAY, actions)
        shows_what_python_computes(visitor)


@pytest.mark.parametrize("seed", range(2))
def test_quick_choices_of_behaviours_and_sides_end_in_a_page_that_agrees_with_its_boxes(
    visitor: Page, seed: int
) -> None:
    dice = random.Random(200 + seed)
    titles = [behavior.title for behavior in shared_store().behavior_list]
    for _ in range(4):
        visitor.evaluate(PLAY, some_actions(dice, 6))
        choose_behavior(visitor, dice.randrange(len(titles)))
        if dice.random() < 0.5:
            visitor.locator("#swap input").click()
    session = shows_what_python_computes(visitor)
    behavior = shared_store().behavior(session.behavior)
    assert visitor.input_value("#behavior input") == behavior.title
    assert visitor.locator("#swap input").is_checked() == session.swapped
    wanted = behavior.negative if session.swapped else behavior.positive
    expect(visitor.locator("#status")).to_contain_text(f"Wanted: {wanted}")


def test_a_run_and_another_behaviour_at_once_end_at_the_texts_of_the_last_edit(visitor: Page) -> None:
    press(visitor, "run")
    choose_behavior(visitor, 2)
    press(visitor, "run", "heads-only", "run")
    rest(visitor)
    session = shows_what_python_computes(visitor)
    assert session.behavior == shared_store().behavior_list[2].name
    assert visitor.get_attribute("#texts .texts", "data-edit") == visitor.get_attribute("#summary", "data-edit")


def test_files_that_are_asked_for_at_once_all_come(visitor: Page) -> None:
    with visitor.expect_download(lambda file: file.suggested_filename.endswith(".safetensors"), timeout=PATIENCE):
        with visitor.expect_download(lambda file: file.suggested_filename.endswith(".gguf"), timeout=PATIENCE):
            press(visitor, "recipe", "control-vector")
    settled(visitor)


def test_every_press_of_undo_goes_back_one_step(visitor: Page) -> None:
    first = visitor.inner_text("#summary")
    press(visitor, "heads-only", "neurons-only", "none")
    settled(visitor)
    assert visitor.inner_text("#summary") != first
    press(visitor, "undo", "undo", "undo")
    settled(visitor)
    assert visitor.inner_text("#summary") == first and visitor.locator("#undo").is_disabled()
    press(visitor, "redo", "redo")
    settled(visitor)
    assert figures(visitor)[0] == 0 < figures(visitor)[1]


def test_a_drag_of_a_dial_is_one_step_of_undo(visitor: Page) -> None:
    first = visitor.inner_text("#summary")
    visitor.evaluate(PLAY, [("slide", "neurons-count", n / 100) for n in range(1, 30)])
    settled(visitor)
    visitor.click("#undo")
    settled(visitor)
    assert visitor.inner_text("#summary") == first and visitor.locator("#undo").is_disabled()


def test_a_stop_that_is_quicker_than_the_server_ends_the_run(visitor: Page) -> None:
    stop, before = visitor.locator("#stop-run"), said(visitor)
    visitor.fill("#length input", "256")
    visitor.fill("#temperature input", "5")  # so hot that no answer ends by itself
    visitor.press("#temperature input", "Tab")
    visitor.evaluate("window.hold = true")
    visitor.click("#run")
    expect(stop).to_be_enabled()
    press(visitor, "stop-run", "stop-run")
    expect(stop).to_be_disabled()
    visitor.evaluate("window.release()")
    settled(visitor)
    assert visitor.get_attribute("#texts .texts", "aria-busy") == "false"
    ended_early = visitor.locator("#texts .note").first.inner_text() == "stopped"
    assert ended_early or said(visitor) == before, "as far as the answer had come"
    expect(stop).to_be_disabled()


def test_a_run_that_replaces_another_can_be_stopped_and_none_follows(
    visitor: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []

    def without_end(store: Any, session: Session, request: Any) -> Iterator[Any]:
        begun.append(request.seed)
        for value in compared(store, session, request):
            while True:
                yield value
                threading.Event().wait(0.02)

    stop, texts = visitor.locator("#stop-run"), visitor.locator("#texts .texts")
    with monkeypatch.context() as patch:
        patch.setattr(app, "compared", without_end)
        press(visitor, "run")
        expect(texts).to_have_attribute("aria-busy", "true")
        visitor.fill("#seed input", "7")
        visitor.press("#seed input", "Tab")
        press(visitor, "run", "run")
        visitor.wait_for_timeout(300)
        expect(texts).to_have_attribute("aria-busy", "true")
        press(visitor, "stop-run")
        expect(stop).to_be_disabled()
        settled(visitor)
    assert begun[0] == 0 and set(begun[1:]) <= {7}
    assert visitor.locator("#texts .note").first.inner_text() == "stopped"
    count = len(begun)
    visitor.click("#run")
    rest(visitor)
    assert len(begun) == count
    expect(stop).to_be_disabled()
    expect(visitor.locator("#texts .note").first).to_contain_text("word")


def test_a_change_of_behaviour_can_be_stopped_and_leaves_the_page_as_it_was(
    visitor: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_slider(visitor, "strength", 1.1)
    rest(visitor)
    before, status = place(visitor), visitor.inner_text("#status")

    def without_end(*_: Any) -> Iterator[str]:
        while True:
            yield "Reading examples and prompts: 1 of 100"
            threading.Event().wait(0.02)

    with monkeypatch.context() as patch:
        patch.setattr("components.choose.wiring.extract", without_end)
        choose_behavior(visitor, 2)
        expect(visitor.locator("#status")).to_contain_text("1 of 100")
        visitor.click("#stop-extract")
        expect(visitor.locator("#status")).not_to_contain_text("1 of 100")
        settled(visitor)
    assert place(visitor) == before and visitor.inner_text("#status") == status
    assert visitor.input_value("#behavior input") == shared_store().behavior_list[0].title
    shows_what_python_computes(visitor)


@pytest.fixture(scope="module")
def handlers() -> Handlers:
    """Those of the page, by name."""
    demo = app.build(shared_store())
    return {event.fn.__name__: event.fn for event in demo.fns.values() if event.fn is not None}


@pytest.mark.parametrize("name", ["use", "_extract"])
def test_a_run_that_begins_leaves_the_place_until_the_page_turns_to_it(
    handlers: Handlers, name: str, tmp_path: Path
) -> None:
    session = first_session()
    file = save_edit(session.edit, tmp_path / "recipe.safetensors")
    choice = (session.model, session.behavior, False, "", "", None, None, *(None for _ in CORRECTIONS), Answers())
    place_at = 1 if name == "use" else 0
    steps = handlers[name](place_of(session), *((str(file), None, False) if name == "use" else choice))
    *progress, last = [step[place_at] for step in steps]
    assert progress and all(one == gr.skip() for one in progress)
    assert last["key"] == session.scored.key and session_of(shared_store(), last).made_here(session.edit)


def test_a_check_that_is_closed_while_it_measures_stays_closed_and_keeps_what_was_measured(
    handlers: Handlers,
) -> None:
    session, trust = first_session(), Trust((), 6, 0.9, 0.9, "", (), 8)
    told, page = place_of(session), (None, session.model, session.behavior, Look())
    checks, *_ = handlers["toggle"](told, Checks(), *page)
    checks, *_ = handlers["start"](told, checks)
    assert checks.open and checks.running
    checks, *_ = handlers["toggle"](told, checks, *page)
    checks, *_ = handlers["finish"](told, (session, trust), checks, *page)
    assert (checks.open, checks.running, checks.trusts[trust_key(session)]) == (False, False, trust)
