"""The heatmap: what is packed, what is accepted back, and how it behaves under a real mouse, keyboard and finger."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from components.select.heatmap import heatmap_routes
from components.shared.grid_packing import (  # fmt: skip
    EDITED,
    EXACT_CELLS,
    EXCLUDED,
    EXISTS,
    INCLUDED,
    InvalidPick,
    heatmap_value,
    read_pick,
    shown_columns,
    view_token,
)
from playwright.sync_api import Browser, Page

from s2e_core import Component, Selection
from s2e_core.model import component_name
from s2e_core.spec import grid_component
from tests.ui.browser import PHONE, served, settled, watched_page
from tests.ui.heatmap_demo import demo_page, edit_of, made_up
from tests.ui.page.test_look import contrast

SMALL = made_up(6, 8, 448, without_heads=(2,))
TAU = 0.08


# ---- packing ---------------------------------------------------------------------------------------------------------


def unpacked(figures: dict[str, Any]) -> np.ndarray:
    raw = np.frombuffer(base64.b64decode(figures["data"]), {"f4": "<f4", "i2": "<i2"}[figures["type"]])
    return raw if figures["type"] == "f4" else np.where(raw == -32768, np.nan, raw * figures["unit"])


def states(value: dict[str, Any]) -> np.ndarray:
    flat = np.frombuffer(base64.b64decode(value["states"]), np.uint8)
    return flat.reshape(value["layers"], value["shown"])


def test_small_grids_carry_g_exactly_and_nan_where_a_layer_has_no_head() -> None:
    value = heatmap_value("heads", SMALL)
    expected = SMALL.grid("heads").numpy()
    np.testing.assert_array_equal(unpacked(value["g"]).reshape(6, 8), expected)
    assert np.isnan(expected[2]).all() and not np.isnan(expected[3]).any()
    np.testing.assert_array_equal(states(value) & EXISTS, ~np.isnan(expected))
    assert value["scale"] == pytest.approx(np.nanmax(np.abs(expected)))


def test_strength_and_change_are_those_of_the_edited_cells_in_order() -> None:
    edit = edit_of(SMALL, TAU)
    value = heatmap_value("heads", SMALL, edit)
    strength = edit.grid("heads").numpy()
    edited = ~np.isnan(strength) & (strength != 0)
    assert 0 < edited.sum() < edited.size
    np.testing.assert_array_equal((states(value) & EDITED) > 0, edited)
    np.testing.assert_array_equal(unpacked(value["strength"]), strength[edited])
    # The weight blocks of these scores have norm 1, so the relative change is |lambda|.
    np.testing.assert_allclose(unpacked(value["change"]), np.abs(strength[edited]), rtol=1e-5)


def test_choices_by_hand_are_marked_where_their_component_stands() -> None:
    sites = [i for i in SMALL.spec.of_kind("heads") if SMALL.spec.sites[i].layer in (3, 4)]
    selection = Selection(included=frozenset({Component(sites[0], 1)}), excluded=frozenset({Component(sites[1], 7)}))
    marks = states(heatmap_value("heads", SMALL, edit_of(SMALL, TAU, selection)))
    assert np.argwhere(marks & INCLUDED).tolist() == [[3, 1]]
    assert np.argwhere(marks & EXCLUDED).tolist() == [[4, 7]]


def test_wide_layers_show_their_strongest_neurons_under_real_indices() -> None:
    g = SMALL.grid("neurons").numpy()
    for order in ("index", "strength"):
        columns = shown_columns(SMALL, "neurons", limit=50, order=order)  # type: ignore[arg-type]
        assert columns.shape == (6, 50)
        for layer in range(6):
            assert set(columns[layer]) == set(np.argsort(-np.abs(g[layer]))[:50])
        value = heatmap_value("neurons", SMALL, columns=columns)
        packed = np.frombuffer(base64.b64decode(value["columns"]), "<i4").reshape(6, 50)
        np.testing.assert_array_equal(packed, columns)
        np.testing.assert_array_equal(unpacked(value["g"]).reshape(6, 50), np.take_along_axis(g, columns, 1))
    assert (np.diff(shown_columns(SMALL, "neurons", limit=50), axis=1) > 0).all()


def test_large_grids_are_rounded_to_a_32767th_of_their_scale() -> None:
    scores = made_up(4, 2, EXACT_CELLS // 4 + 1)
    value = heatmap_value("neurons", scores, columns=shown_columns(scores, "neurons", limit=None))
    assert value["g"]["type"] == "i2"
    error = np.abs(unpacked(value["g"]) - scores.grid("neurons").numpy().ravel())
    assert error.max() <= value["scale"] / 32767


# ---- what comes back -------------------------------------------------------------------------------------------------

COLUMNS = shown_columns(SMALL, "neurons", limit=50)
VIEW = view_token("neurons", COLUMNS)
GOOD = {"seq": 7, "view": VIEW, "action": "toggle", "cells": [[1, int(COLUMNS[1, 3])]]}


def test_a_pick_names_the_component_that_was_clicked() -> None:
    pick = read_pick(GOOD, "neurons", COLUMNS)
    assert (pick.seq, pick.action, pick.cells) == (7, "toggle", ((1, int(COLUMNS[1, 3])),))
    (component,) = pick.components(SMALL.spec, "neurons")
    assert SMALL.spec.sites[component.site].layer == 1
    assert SMALL.spec.sites[component.site].kind == "neurons"
    assert component.index == COLUMNS[1, 3]


def test_a_box_picks_the_real_components_between_its_corners_in_any_order() -> None:
    box = {"seq": 8, "view": VIEW, "action": "include", "box": [[4, 9], [2, 5]]}
    expected = tuple((layer, int(column)) for layer in (2, 3, 4) for column in COLUMNS[layer, 5:10])
    assert read_pick(box, "neurons", COLUMNS).cells == expected


def test_a_box_leaves_out_what_does_not_exist() -> None:
    columns = shown_columns(SMALL, "heads")
    box = {"seq": 1, "view": view_token("heads", columns), "action": "exclude", "box": [[1, 0], [3, 7]]}
    assert {layer for layer, _ in read_pick(box, "heads", columns).cells} == {1, 3}
    with pytest.raises(InvalidPick):
        read_pick({**box, "box": [[2, 0], [2, 7]]}, "heads", columns)


MISSING = int(np.setdiff1d(np.arange(448), COLUMNS[1])[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "delete"}, {"action": None}, {"action": ["toggle"]},
        {"seq": -1}, {"seq": 1.5}, {"seq": True}, {"seq": "7"}, {"seq": 2**53}, {"seq": None},
        {"view": "neurons-6x50-00000000"}, {"view": None}, {"view": {}},
        {"cells": []}, {"cells": None}, {"cells": "[[1,2]]"}, {"cells": [[1]]}, {"cells": [[1, 2, 3]]},
        {"cells": [None]}, {"cells": [[-1, 0]]}, {"cells": [[6, 0]]}, {"cells": [[1, -1]]}, {"cells": [[1, 448]]},
        {"cells": [[1, MISSING]]},
        {"cells": [["1", 0]]}, {"cells": [[True, 0]]}, {"cells": [[1.0, 0]]}, {"cells": [[10**30, 0]]},
        {"cells": [[0, 0]] * 5000}, {"box": None}, {"box": [[0, 0]]}, {"box": [[0, 0], [6, 0]]},
        {"box": [[0, 0], [0, 50]]}, {"box": [[0, 0], [0, float("nan")]]}, {"box": {"0": [0, 0]}},
    ],
)  # fmt: skip
def test_a_forged_pick_is_refused(wrong: dict[str, Any]) -> None:
    read_pick(GOOD, "neurons", COLUMNS)
    with pytest.raises(InvalidPick):
        read_pick({**GOOD, **wrong}, "neurons", COLUMNS)


@pytest.mark.parametrize("data", [None, [], "pick", 3, {}])
def test_something_else_than_a_pick_is_refused(data: object) -> None:
    with pytest.raises(InvalidPick):
        read_pick(data, "neurons", COLUMNS)


# ---- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def heads_url() -> Iterator[str]:
    with served(demo_page(SMALL, "heads", tau=TAU), app_kwargs={"routes": heatmap_routes()}) as url:
        yield url


@pytest.fixture(scope="module")
def neurons_url() -> Iterator[str]:
    demo = demo_page(SMALL, "neurons", tau=0.2, limit=50)
    with served(demo, app_kwargs={"routes": heatmap_routes()}) as url:
        yield url


ROOT = "#grid .s2e-map"


def opened(page: Page, url: str, theme: str = "light") -> None:
    page.goto(f"{url}/?__theme={theme}")
    page.wait_for_selector(f"{ROOT}[data-draws]")
    settled(page)


def at(page: Page, layer: int, column: int, *, rows: int = 6, columns: int = 8) -> tuple[float, float]:
    """The middle of a cell of the whole grid, in pixels of the page."""
    box = page.locator("#grid .nsewdrag").bounding_box()
    assert box is not None
    return box["x"] + (column + 0.5) / columns * box["width"], box["y"] + (layer + 0.5) / rows * box["height"]


def logged(page: Page) -> list[str]:
    """The picks that have reached Python, which the page now shows."""
    settled(page)
    page.evaluate("document.querySelector('#again').click()")  # the pointer and the focus stay where they are
    settled(page)
    return page.locator("#log textarea").input_value().splitlines()


def until(condition: Callable[[], object], page: Page, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the page did not get there in time"
        page.wait_for_timeout(50)


def draws(page: Page) -> int:
    return int(page.locator(ROOT).get_attribute("data-draws") or 0)


def test_hovering_shows_the_exact_figures(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    edit = edit_of(SMALL, TAU)
    layer, head = (int(n) for n in np.argwhere(np.nan_to_num(edit.grid("heads").numpy()) != 0)[0])
    page.mouse.move(*at(page, layer, head))
    tip = page.locator("#grid .s2e-map-tip")
    tip.wait_for(state="visible")
    text = tip.inner_text().replace("\N{MINUS SIGN}", "-")
    assert f"layer {layer}, head {head}" in text
    for figure in (float(SMALL.grid("heads")[layer, head]), float(edit.grid("heads")[layer, head])):
        assert f"{figure:+.3g}" in text
    assert "edited" in text
    page.mouse.move(*at(page, 2, 4))
    until(lambda: "has no head" in tip.inner_text(), page)


def test_hovering_names_the_expert_or_the_mlp_beside_the_experts(page: Page) -> None:
    scores = made_up(3, 2, 12, experts=3)
    with served(demo_page(scores, "neurons"), app_kwargs={"routes": heatmap_routes()}) as url:
        opened(page, url)
        tip = page.locator("#grid .s2e-map-tip")
        for column in (2, 4, 9, 15):
            page.mouse.move(*at(page, 1, column, rows=3, columns=16))
            component = grid_component(scores.spec, "neurons", 1, column)
            assert component is not None
            name = f"layer 1, {component_name(scores.spec, component)}"
            until(lambda name=name: name in tip.inner_text(), page)


def test_every_one_of_many_quick_clicks_reaches_python(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    cells = [(layer, head) for layer in (0, 1, 3, 5) for head in (0, 3, 6)]
    for cell in cells:
        page.mouse.click(*at(page, *cell))
    until(lambda: len(logged(page)) >= len(cells), page)
    assert sorted(logged(page)) == sorted(f"toggle [{cell}] of 1" for cell in cells)
    until(lambda: page.locator("#grid .s2e-map-wait").count() == 0, page)


def test_a_second_click_takes_the_first_back(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    page.mouse.dblclick(*at(page, 0, 2))
    until(lambda: len(logged(page)) == 2, page)
    page.mouse.move(*at(page, 0, 2))
    tip = page.locator("#grid .s2e-map-tip")
    until(lambda: "left as it is, left out by hand" in tip.inner_text(), page)


def test_dragging_a_box_adds_the_range_and_with_alt_leaves_it_out(page: Page, neurons_url: str) -> None:
    opened(page, neurons_url)
    for key, word in ((None, "include"), ("Alt", "exclude")):
        if key:
            page.keyboard.down(key)
        page.mouse.move(*at(page, 1, 5, columns=50))
        page.mouse.down()
        page.mouse.move(*at(page, 2, 7, columns=50), steps=4)
        page.mouse.move(*at(page, 3, 9, columns=50), steps=4)
        page.mouse.up()
        if key:
            page.keyboard.up(key)
        first = [(1, int(COLUMNS[1, 5])), (1, int(COLUMNS[1, 6]))]
        until(lambda line=f"{word} {first} of 15": line in logged(page), page)  # type: ignore[misc]


def test_shift_click_adds_the_range_from_the_last_click(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    page.mouse.click(*at(page, 3, 1))
    page.keyboard.down("Shift")
    page.mouse.click(*at(page, 4, 3))
    page.keyboard.up("Shift")
    until(lambda: sorted(logged(page)) == ["include [(3, 1), (3, 2)] of 6", "toggle [(3, 1)] of 1"], page)


def test_the_keyboard_moves_reads_toggles_and_marks_ranges(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    page.locator("#grid .s2e-map-stage").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert page.locator("#grid .s2e-map-live").inner_text().startswith("layer 3, head 2: alignment g")
    page.keyboard.press("Space")
    until(lambda: logged(page) == ["toggle [(3, 2)] of 1"], page)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    until(lambda: logged(page)[1:] == ["include [(3, 2), (3, 3)] of 4"], page)
    page.keyboard.press("Delete")
    until(lambda: logged(page)[2:] == ["exclude [(4, 3)] of 1"], page)


def test_the_tools_change_what_a_click_does(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    page.get_by_role("button", name="Leave out").click()
    page.mouse.click(*at(page, 4, 4))
    until(lambda: logged(page) == ["exclude [(4, 4)] of 1"], page)
    page.get_by_role("button", name="Add", exact=True).click()
    page.mouse.click(*at(page, 4, 4))
    until(lambda: logged(page)[1:] == ["include [(4, 4)] of 1"], page)


RANGES = """n => {
    const layout = n.querySelector('.js-plotly-plot')._fullLayout;
    return [...layout.xaxis.range, ...layout.yaxis.range];
}"""


def test_new_data_keeps_the_zoom_and_the_element(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    whole = page.locator(ROOT).evaluate(RANGES)
    page.get_by_role("button", name="Zoom", exact=True).click()
    page.mouse.move(*at(page, 1, 1))
    page.mouse.down()
    page.mouse.move(*at(page, 4, 5), steps=6)
    page.mouse.up()
    until(lambda: page.locator(ROOT).evaluate(RANGES) != whole, page)
    page.wait_for_timeout(300)
    zoomed, before = page.locator(ROOT).evaluate(RANGES), draws(page)
    page.locator(ROOT).evaluate("n => { n.marked = n.querySelector('.main-svg').marked = true; }")
    page.locator("#tau input[type=number]").fill("0.05")
    page.keyboard.press("Enter")
    until(lambda: draws(page) > before, page)
    assert page.locator(ROOT).evaluate(RANGES) == pytest.approx(zoomed)
    assert page.locator(ROOT).evaluate("n => n.marked && n.querySelector('.main-svg').marked")
    page.get_by_role("button", name="Show the whole grid").click()
    until(lambda: page.locator(ROOT).evaluate(RANGES) == whole, page)


def test_colours_follow_the_theme_without_a_reload(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    ramp = page.locator("#grid .s2e-map-ramp")
    light = ramp.evaluate("n => getComputedStyle(n).backgroundImage")
    page.evaluate("document.body.classList.add('dark')")
    until(lambda: ramp.evaluate("n => getComputedStyle(n).backgroundImage") != light, page)


def test_the_number_in_every_cell_is_rounded_and_can_be_read_on_its_colour(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    g = SMALL.grid("heads").numpy()
    for theme in ("light", "dark"):
        page.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")
        until(lambda theme=theme: CELLS_SCALE[theme] in page.evaluate(f"({CELLS})()")["scale"][-1][1], page)
        shown = page.evaluate(f"({CELLS})()")
        assert len(shown["text"]) == np.isfinite(g).sum()
        for row, column, text, ink in zip(shown["y"], shown["x"], shown["text"], shown["ink"], strict=True):
            assert text.replace("\N{MINUS SIGN}", "-") == f"{g[row, column]:+.2f}".replace("+0.00", "0.00").replace(
                "-0.00", "0.00"
            )
            assert contrast(hex_of(on_scale(shown["scale"], (shown["z"][row][column] + 1) / 5)), ink) >= 4.5


CELLS = """() => {
  const [map, , , numbers] = document.querySelector('#grid .s2e-map-plot').data;
  return {scale: map.colorscale, z: map.z.map(row => [...row]), x: numbers.x, y: numbers.y, text: numbers.text,
    ink: numbers.textfont.color};
}"""
CELLS_SCALE = {"light": "68,20,140", "dark": "205,185,255"}  # the strongest colour for the behaviour


def on_scale(scale: list[tuple[float, str]], at: float) -> list[float]:
    """The colour of plotly's scale at a place from 0 to 1, between the two stops around it."""
    stops = [(place, [float(part) for part in re.findall(r"[\d.]+", colour)]) for place, colour in scale]
    (low, one), (high, other) = next(pair for pair in pairwise(stops) if pair[0][0] <= at <= pair[1][0])
    part = (at - low) / (high - low) if high > low else 0.0
    return [a + (b - a) * part for a, b in zip(one, other, strict=True)]


def hex_of(colour: list[float]) -> str:
    return "#" + "".join(f"{round(part):02x}" for part in colour)


def test_the_colour_can_show_the_strength(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    legend = page.locator("#grid .s2e-map-legend")
    assert "against" in legend.inner_text() and "for the behaviour" in legend.inner_text()
    page.get_by_label("lambda").check()
    until(lambda: "weakened" in legend.inner_text() and "amplified" in legend.inner_text(), page)


def test_it_comes_back_after_another_tab_was_open(page: Page, heads_url: str) -> None:
    opened(page, heads_url)
    page.get_by_role("tab", name="Other").click()
    before = draws(page)
    page.locator("#tau input[type=number]").fill("0.3")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    page.get_by_role("tab", name="Map").click()
    until(lambda: draws(page) > before, page)
    page.mouse.click(*at(page, 5, 5))
    until(lambda: logged(page) == ["toggle [(5, 5)] of 1"], page)


def test_a_phone_shows_it_without_sideways_scrolling_and_a_tap_toggles(browser: Browser, heads_url: str) -> None:
    with watched_page(browser, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        opened(page, heads_url)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.touchscreen.tap(*at(page, 4, 2))
        until(lambda: logged(page) == ["toggle [(4, 2)] of 1"], page)


def test_only_plotly_itself_is_served_beside_the_page(page: Page, heads_url: str) -> None:
    assert page.request.get(f"{heads_url}/gradio_api/s2e/plotly.min.js").ok
    assert not page.request.get(f"{heads_url}/gradio_api/s2e/widgetbundle.js").ok
    assert not page.request.get(f"{heads_url}/gradio_api/s2e/..%2f__init__.py").ok


@pytest.mark.parametrize("format", ["PNG", "SVG"])
def test_the_picture_can_be_saved(page: Page, heads_url: str, format: str) -> None:
    opened(page, heads_url)
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save as {format}").click()
    data = download.value.path().read_bytes()
    assert data.startswith(b"\x89PNG") if format == "PNG" else (b"<svg" in data and b"for the behaviour" in data)
