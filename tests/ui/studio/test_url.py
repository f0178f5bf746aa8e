"""A place in an address and back, and the history of a tab: two modules that know nothing of what the values mean."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.ui.studio.in_chromium import Modules, modules

PLACE: dict[str, Any] = {
    "model": "Bundled demo model", "behavior": "safety", "swapped": False, "key": "0123-abc", "origin": None,
    "file": None, "focus": 12, "mode": "g",
    "ask": {"prompt": "Zażółć 🦜 “quoted” %20 #s1=", "length": 40, "temperature": 0.7, "seed": 3},
    "settings": {
        "rho_attn": 0.18, "rho_mlp": None, "alpha": 0.8, "strength": 1.05, "strengths": [[3, 7, 0.5]], "only": None,
        "included": [], "excluded": [], "layers": [1, 4],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def js(browser: Browser) -> Iterator[Modules]:
    with modules(browser) as opened:
        yield opened


def fragment(js: Modules, place: dict[str, Any]) -> str:
    return str(js.call("return m.url.fragment(value);", place))


def read(js: Modules, text: str) -> Any:
    return js.call("return m.url.fromFragment(value);", text)


def with_lists(**lists: Any) -> dict[str, Any]:
    return PLACE | {"settings": PLACE["settings"] | lists}


# ---- addresses -------------------------------------------------------------------------------------------------------


def test_any_place_comes_back_as_it_was(js: Modules) -> None:
    draw = random.Random(3)

    def pairs() -> list[list[int]]:
        count = draw.choice([0, 1, 5, 200])
        return sorted(map(list, {(draw.randrange(4), draw.randrange(300)) for _ in range(count)}))

    places = [PLACE]
    for _ in range(100):
        gate = draw.choice([None, {"gamma": draw.uniform(0.1, 4), "mu": 10, "size": draw.choice([None, 100])}])
        places.append(
            with_lists(
                rho_attn=draw.choice([None, draw.random()]), alpha=draw.random(), only=draw.choice([None, [], pairs()]),
                included=pairs(), excluded=pairs(), gate=gate, protect=draw.choice([0, 8]),
            )
        )  # fmt: skip
    again = js.call("return value.map(place => m.url.fromFragment(m.url.fragment(place)));", places)
    assert again == places


def test_an_address_is_plain_letters_that_nothing_on_the_way_changes(js: Modules) -> None:
    text = fragment(js, PLACE)
    assert text.startswith("#s1=") and text.isascii()
    assert set(text[4:]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_a_run_of_neighbours_is_as_short_as_one_component(js: Modules) -> None:
    one = with_lists(only=[[2, 5]])
    thousands = with_lists(only=[[2, i] for i in range(20_000)], excluded=[[0, i] for i in range(8)])
    text = fragment(js, thousands)
    assert len(text) < len(fragment(js, one)) + 40 and read(js, text) == thousands
    runs = js.call("return m.url.runs(value);", [[0, 0], [0, 1], [0, 3], [1, 4], [1, 5], [2, 6]])
    assert runs == [[0, 0, 2], [0, 3, 1], [1, 4, 2], [2, 6, 1]]


def test_a_fragment_that_was_cut_off_names_no_place(js: Modules) -> None:
    whole = fragment(js, with_lists(included=[[0, 1], [2, 9]]))
    cut = js.call("return value.map(m.url.fromFragment);", [whole[:end] for end in range(len(whole))])
    assert cut == [None] * len(whole)


def coded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "foreign",
    [
        "", "#", "#heads", "#s1", "#s1=", "#s1=%%%", "#s1=a b", "#sx=abcd", "?s1=abcd", "#s1=" + coded("text"),
        "#s1=" + coded(None), "#s1=" + coded(7), "#s1=" + coded([]), "#s1=" + coded({}),
        "#s1=" + coded({"settings": None}), "#s1=" + coded({"settings": 3}), "#s1=" + coded({"settings": {"only": 5}}),
        "#s1=" + coded({"settings": {"only": [3], "included": [], "excluded": []}}),
        "#s1=" + base64.urlsafe_b64encode(b"\xff\xfe{").decode().rstrip("="),
    ],
)  # fmt: skip
def test_a_foreign_fragment_names_no_place(js: Modules, foreign: str) -> None:
    assert read(js, foreign) is None


def test_an_address_of_another_version_names_no_place(js: Modules) -> None:
    text = fragment(js, PLACE)
    assert read(js, text) == PLACE
    for other in ("#s0=", "#s2=", "#s11="):
        assert read(js, text.replace("#s1=", other)) is None


@pytest.mark.parametrize("count", [10**7, 1e308, -5, 2.5])
def test_a_forged_run_does_not_fill_the_memory(js: Modules, count: float) -> None:
    forged = {**PLACE, "settings": {**PLACE["settings"], "only": [[0, 0, count]]}}
    assert read(js, "#s1=" + coded(forged)) is None


# ---- history ---------------------------------------------------------------------------------------------------------

STEPS = """
const h = m.history, seen = [];
let it = h.begin(value[0]);
for (const [what, ...rest] of value[1]) {
    it = h[what](it, ...rest);
    seen.push([it.now, it.past.length, it.future.length]);
}
return seen;
"""


def walk(js: Modules, *steps: tuple[Any, ...]) -> list[list[Any]]:
    """(now, steps back, steps forth) after every step from "start"."""
    return list(js.call(STEPS, ["start", steps]))


def test_undo_and_redo_walk_through_the_steps(js: Modules) -> None:
    walked = walk(js, ("go", "a"), ("go", "b"), ("undo",), ("undo",), ("undo",), ("redo",), ("redo",), ("redo",))
    assert [now for now, *_ in walked] == ["a", "b", "a", "start", "start", "a", "b", "b"]
    assert walked[3][1:] == [0, 2] and walked[-1][1:] == [2, 0]


def test_a_new_step_forgets_what_was_undone(js: Modules) -> None:
    walked = walk(js, ("go", "a"), ("go", "b"), ("undo",), ("go", "c"), ("redo",), ("undo",))
    assert walked[3] == ["c", 2, 0] and walked[4] == ["c", 2, 0] and walked[5] == ["a", 1, 1]


def test_one_drag_of_one_dial_is_one_step(js: Modules) -> None:
    drag = [("go", f"1.{n}", "strength", 100 * n) for n in range(5)]
    assert walk(js, *drag)[-1] == ["1.4", 1, 0]
    assert walk(js, *drag, ("undo",))[-1] == ["start", 0, 1]
    assert walk(js, *drag, ("go", "x", "alpha", 500))[-1] == ["x", 2, 0]
    assert walk(js, *drag, ("go", "x"), ("go", "y"))[-1] == ["y", 3, 0], "what is no dial is a step each"


def test_a_dial_that_rested_begins_another_step(js: Modules) -> None:
    assert walk(js, ("go", "a", "strength", 0), ("go", "b", "strength", 900))[-1] == ["b", 1, 0]
    assert walk(js, ("go", "a", "strength", 0), ("go", "b", "strength", 1100))[-1] == ["b", 2, 0]
    assert walk(js, ("go", "a", "strength", 0), ("undo",), ("go", "b", "strength", 10))[-1] == ["b", 1, 0]


def test_the_history_has_an_end(js: Modules) -> None:
    walked = walk(js, *(("go", n) for n in range(150)), *[("undo",)] * 150)
    assert max(past for _, past, _ in walked) == 100 and walked[-1] == [49, 0, 100]


def test_earlier_settings_are_named_from_the_latest(js: Modules) -> None:
    found = js.call(
        "const [first, ...rest] = value.map(settings => ({settings, file: null}));"
        "return m.history.earlier(rest.reduce((it, step) => m.history.go(it, step), m.history.begin(first)));",
        ["a", "b", "c"],
    )
    assert found == ["b", "a"]
