"""The heatmap and the ranked dots of the studio, under a real mouse, keyboard and finger, and their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, expect

from tests.ui.browser import PHONE, watched_page
from tests.ui.studio.map_pages import begin, made_up, served_modules

SMALL = made_up(6, 8, 448, without_heads=(2,))
WIDE = made_up(32, 32, 11_008)
HEADS, NEURONS = SMALL.grids["heads"], SMALL.grids["neurons"]
TAU = 0.05
PALETTES = {
    "light": ("#6b3f00", "#b8761a", "#e8c88f", "#efeeec", "#c4b5e6", "#8257c9", "#44148c"),
    "dark": ("#ffcf8a", "#d3923a", "#7a5420", "#2b2e35", "#5b4391", "#9a78e0", "#cdb9ff"),
}
PAPER = {"light": "#ffffff", "dark": "#12161c"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served_modules() as address:
        yield address


# ---- what the pixels say ---------------------------------------------------------------------------------------------

PIXELS = """points => {
  const canvas = document.querySelector('.s2e-map-canvas'), pen = canvas.getContext('2d');
  const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
  const all = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  return points.map(([x, y]) => {
    const at = 4 * (Math.floor((y - box.top) * ratio) * canvas.width + Math.floor((x - box.left) * ratio));
    return [...all.slice(at, at + 4)];
  });
}"""


def pixels(page: Page, points: list[tuple[float, float]]) -> NDArray[np.int_]:
    """Red, green, blue and opacity at places of the page."""
    return np.array(page.evaluate(PIXELS, points))


def area(page: Page) -> dict[str, float]:
    box = page.locator(".s2e-map-area").bounding_box()
    assert box is not None
    return dict(box)


def at(page: Page, row: int, column: int, *, rows: int = 6, columns: int = 8) -> tuple[float, float]:
    """The middle of a cell of a grid that is shown whole, in pixels of the page."""
    box = area(page)
    return box["x"] + (column + 0.5) / columns * box["width"], box["y"] + (row + 0.5) / rows * box["height"]


def aside(page: Page, row: int, column: int) -> tuple[float, float]:
    """A place in a cell of the small grid of heads where neither its number nor its outline is."""
    x, y = at(page, row, column)
    return x - area(page)["width"] / 8 * 0.4, y + 8


def rgb(color: str) -> NDArray[np.float64]:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], float)


def colour(x: float, theme: str, *, full: bool) -> NDArray[np.float64]:
    """Colour of a value from -1 to 1: interpolated in the palette, half mixed with the paper where not edited."""
    palette = np.array([rgb(tone) for tone in PALETTES[theme]])
    tone = np.array([np.interp((x + 1) / 2 * 6, range(7), palette[:, part]) for part in range(3)])
    return tone if full else (tone + rgb(PAPER[theme])) / 2


def luminance(colors: NDArray[Any]) -> NDArray[np.float64]:
    """Relative luminance; source: WCAG 2.2."""
    parts = np.asarray(colors, float) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_cell_has_the_colour_of_its_figure_and_is_pale_unless_edited(page: Page, url: str, theme: str) -> None:
    begin(page, url, "heatmap", SMALL.sent("heads", tau=TAU), theme=theme)
    figures = np.array([SMALL.g[HEADS[cell]] for cell in PRESENT])
    edited = np.abs(figures) > TAU
    assert 3 < edited.sum() < 30
    shown = pixels(page, [aside(page, *cell) for cell in PRESENT])
    scale = np.abs(figures).max()
    expected = np.array([colour(g / scale, theme, full=full) for g, full in zip(figures, edited, strict=True)])
    assert np.abs(shown[:, :3] - expected).max() <= 3


@pytest.mark.parametrize(("mode", "factor"), [("lambda", 10.0), ("when", 15.0)])
def test_the_colour_can_show_strength_or_firing(page: Page, url: str, mode: str, factor: float) -> None:
    begin(page, url, "heatmap", SMALL.sent("heads", tau=TAU), mode=mode, firing=True)
    g = np.where(HEADS >= 0, SMALL.g[HEADS], 0)
    row, column = (int(n) for n in np.unravel_index(np.abs(g).argmax(), g.shape))
    plain = (0, int(np.abs(g[0]).argmin()))
    strongest, left = pixels(page, [aside(page, row, column), aside(page, *plain)])
    assert np.abs(strongest[:3] - colour(np.sign(g[row, column]), "light", full=True)).max() <= 3
    assert np.abs(left[:3] - colour(0, "light", full=False)).max() <= 3
    legend = page.locator(".s2e-map-legend").inner_text()
    assert f"{factor * np.abs(g).max():.3g}" in legend
    words = {"lambda": ("weakened", "amplified"), "when": ("on harmless texts", "on the behaviour’s texts")}[mode]
    assert all(word in legend for word in words)


def test_a_layer_without_heads_is_hatched(page: Page, url: str) -> None:
    begin(page, url, "heatmap", SMALL.sent("heads", tau=TAU))
    x, y = at(page, 2, 4)
    seen = pixels(page, [(x + dx, y + dy) for dx in range(14) for dy in range(8)])
    drawn = seen[seen[:, 3] > 128]
    assert 0.05 < len(drawn) / len(seen) < 0.5
    assert np.abs(drawn[:, :3] - rgb("#c4c4cc")).max() < 6
    assert "no head" in page.locator(".s2e-map-legend").inner_text()


PRESENT = [(row, column) for row in range(6) for column in range(8) if HEADS[row, column] >= 0]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_number_in_a_cell_can_be_read_on_its_colour(page: Page, url: str, theme: str) -> None:
    begin(page, url, "heatmap", SMALL.sent("heads", tau=TAU), theme=theme)
    steps = [(dx, dy) for dx in range(-18, 19) for dy in range(-6, 7)]
    around = pixels(page, [(x + dx, y + dy) for x, y in (at(page, *cell) for cell in PRESENT) for dx, dy in steps])
    lights = luminance(around[:, :3]).reshape(len(PRESENT), -1)
    back = luminance(pixels(page, [aside(page, *cell) for cell in PRESENT])[:, :3])[:, None]
    assert ((np.maximum(lights, back) + 0.05) / (np.minimum(lights, back) + 0.05)).max(1).min() >= 4


def test_edited_cells_are_outlined_and_the_others_are_not(page: Page, url: str) -> None:
    begin(page, url, "heatmap", SMALL.sent("heads", tau=TAU))
    top = area(page)["height"] / 12
    places = [(x, y - top + step) for x, y in (at(page, *cell) for cell in PRESENT) for step in range(1, 6)]
    seen = pixels(page, places).reshape(len(PRESENT), 5, 4)
    outlined = ((seen[:, :, 3] > 250) & (np.abs(seen[:, :, :3] - rgb("#18181b")).max(2) < 10)).any(1)
    assert outlined.tolist() == [abs(SMALL.g[HEADS[cell]]) > TAU for cell in PRESENT]


# ---- more components than pixels -------------------------------------------------------------------------------------


def begin_wide(page: Page, url: str, **options: Any) -> None:
    begin(page, url, "heatmap", WIDE.sent("neurons", tau=0.09), **options)


FULL_TONES = """() => {   // per row, the pixel columns of the plot and their colours, taken in the middle of the row
  const canvas = document.querySelector('.s2e-map-canvas'), area = document.querySelector('.s2e-map-area');
  const w = area.offsetWidth, h = area.offsetHeight, pen = canvas.getContext('2d');
  return Array.from({length: 32}, (_, row) => {
    const y = area.offsetTop + Math.floor((row + 0.5) * h / 32);
    return [...pen.getImageData(area.offsetLeft, y, w, 1).data];
  });
}"""


def test_no_edited_component_is_lost_where_there_are_more_columns_than_pixels(page: Page, url: str) -> None:
    """Edited are the strong ones and, by hand, weak ones that share their pixels with stronger ones."""
    begin_wide(page, url)
    grid = WIDE.grids["neurons"]
    g, weak = WIDE.g[grid], np.zeros(grid.shape, bool)
    weak[:, 5::97] = np.abs(g[:, 5::97]) < 0.01
    page.evaluate("ids => { for (const i of ids) studio.hand[i] = 1; studio.show(); }", grid[weak].tolist())
    page.evaluate("studio.hand.fill(0); studio.picture.show({...studio.edit, hand: studio.hand})")  # no signs above
    seen = np.array(page.evaluate(FULL_TONES)).reshape(32, -1, 4)[:, :, :3]
    width = seen.shape[1]
    edited, scale = (np.abs(g) > 0.09) | weak, np.abs(g).max()
    pixel = np.floor((np.arange(11_008) + 0.5) * width / 11_008).astype(int)
    assert width < 11_008 / 8 and weak.sum() > 500
    for row in (0, 7, 15, 23, 30, 31):
        for p in range(width):
            here = np.flatnonzero(pixel == p)
            among = here[edited[row, here]] if edited[row, here].any() else here
            best = among[np.abs(g[row, among]).argmax()]
            expected = colour(g[row, best] / scale, "light", full=bool(edited[row, best]))
            assert np.abs(seen[row, p] - expected).max() <= 3, (row, p)


def test_the_legend_says_when_a_pixel_stands_for_several(page: Page, url: str) -> None:
    begin_wide(page, url)
    legend = page.locator(".s2e-map-legend")
    expect(legend).to_contain_text("Each pixel stands for about 9 neurons and shows the strongest edited one")
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom in").click()
    expect(legend).not_to_contain_text("Each pixel")


def test_zooming_reaches_every_component_and_a_click_reports_the_one_under_it(page: Page, url: str) -> None:
    begin_wide(page, url)
    row, column = 31, 10_007
    stage = page.locator(".s2e-map-stage")
    stage.focus()
    page.evaluate("i => { studio.focus = i; studio.show(); }", int(WIDE.grids["neurons"][row, column]))
    for _ in range(12):
        page.keyboard.press("+")
    r0, r1, c0, c1 = window(page)
    assert r0 <= row < r1 and c0 <= column < c1 and c1 - c0 <= 8
    page.mouse.click(*at(page, row - r0, column - c0, rows=r1 - r0, columns=c1 - c0))
    assert picks(page) == [{"action": "toggle", "components": [int(WIDE.grids["neurons"][row, column])]}]


def test_a_click_on_a_crowded_pixel_takes_the_component_whose_colour_is_there(page: Page, url: str) -> None:
    begin_wide(page, url)
    row = 30
    g = WIDE.g[WIDE.grids["neurons"][row]]
    column = int(np.abs(g).argmax())
    width = area(page)["width"]
    pixel = np.floor((column + 0.5) * width / 11_008)
    page.mouse.click(area(page)["x"] + pixel + 0.5, at(page, row, 0, rows=32)[1])
    assert picks(page) == [{"action": "toggle", "components": [int(WIDE.grids["neurons"][row, column])]}]


def test_showing_an_edit_of_352_256_cells_takes_less_time_than_writing_their_figures_as_text(
    page: Page, url: str
) -> None:
    """A ratio of two times on one machine: sending the figures to the page costs at least this much."""
    begin_wide(page, url)
    show, text = page.evaluate(
        """() => {
            const edit = studio.next(), times = {show: [], text: []};
            const timed = (name, run) => {
                const from = performance.now();
                run();
                times[name].push(performance.now() - from);
            };
            for (let n = 0; n < 12; n++) {
                timed('show', () => studio.picture.show(edit));
                timed('text', () => JSON.stringify(Array.from(studio.g)));
            }
            return ['show', 'text'].map(name => times[name].sort((a, b) => a - b)[6]);
        }"""
    )
    assert show < text


# ---- what a person does ----------------------------------------------------------------------------------------------


def picks(page: Page) -> list[dict[str, Any]]:
    return page.evaluate("studio.picks")


def window(page: Page) -> tuple[int, int, int, int]:
    text = page.locator(".s2e-map").get_attribute("data-view") or ""
    r0, r1, c0, c1 = (int(part) for part in text.split(","))
    return r0, r1, c0, c1


def heads(*cells: tuple[int, int]) -> list[int]:
    return [int(HEADS[cell]) for cell in cells]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=3)
    page.mouse.move(*end, steps=3)
    page.mouse.up()


def plain(text: str) -> str:
    return text.replace("\N{MINUS SIGN}", "-")


def begin_heads(page: Page, url: str, **options: Any) -> None:
    begin(page, url, "heatmap", SMALL.sent("heads", tau=TAU), **options)


def test_hovering_shows_the_figures(page: Page, url: str) -> None:
    begin_heads(page, url, firing=True)
    g = np.where(HEADS >= 0, np.abs(SMALL.g[HEADS]), 0)
    cell = tuple(int(n) for n in np.unravel_index(g.argmax(), g.shape))
    page.mouse.move(*at(page, *cell))
    tip = page.locator(".s2e-map-tip")
    text = plain(tip.inner_text())
    value = float(SMALL.g[HEADS[cell]])
    assert f"layer {cell[0]}, head {cell[1]}" in text and "0.030" in text
    assert all(f"{factor * value:+.3g}" in text for factor in (1, 10, 20, 5))
    assert "edited" in text and "by hand" not in text
    page.mouse.move(*at(page, 2, 4))
    expect(tip).to_contain_text("layer 2 has no head here")
    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_every_one_of_many_quick_clicks_is_reported_once(page: Page, url: str) -> None:
    begin_heads(page, url)
    cells = [(layer, head) for layer in (0, 1, 3, 5) for head in (0, 3, 6)]
    for cell in cells:
        page.mouse.click(*at(page, *cell))
    page.mouse.click(*at(page, 2, 2))  # nothing is there
    assert picks(page) == [{"action": "toggle", "components": heads(cell)} for cell in cells]
    assert page.evaluate("studio.focused") == heads(*cells)


def test_a_second_click_takes_the_first_back(page: Page, url: str) -> None:
    begin_heads(page, url)
    page.mouse.dblclick(*at(page, 0, 3))
    expect(page.locator(".s2e-map-tip")).to_contain_text("left as it is, left out by hand")
    expect(page.locator(".s2e-map-legend")).to_contain_text("left out by hand")


def test_what_was_done_by_hand_has_a_sign_beside_the_number_and_the_page_does_not_move(page: Page, url: str) -> None:
    begin_heads(page, url)
    height, before = page.locator(".s2e-map").bounding_box(), pixels(page, corner(page, 0, 3))
    page.mouse.click(*at(page, 0, 3))
    page.mouse.move(5, 5)
    assert page.locator(".s2e-map").bounding_box() == height
    assert (pixels(page, corner(page, 0, 3)) != before).any()
    assert luminance(pixels(page, corner(page, 0, 3))[:, :3]).min() < 0.03


def corner(page: Page, row: int, column: int) -> list[tuple[float, float]]:
    x, y = at(page, row, column)
    box = area(page)
    return [(x + box["width"] / 16 - step, y - box["height"] / 12 + step) for step in range(7, 12)]


def test_dragging_adds_the_range_and_with_alt_leaves_it_out(page: Page, url: str) -> None:
    begin(page, url, "heatmap", SMALL.sent("neurons", tau=TAU))
    expected = [int(i) for row in (1, 2, 3) for i in NEURONS[row, 50:61]]
    for key, action in ((None, "include"), ("Alt", "exclude")):
        if key:
            page.keyboard.down(key)
        drag(page, at(page, 1, 50, columns=448), at(page, 3, 60, columns=448))
        if key:
            page.keyboard.up(key)
        assert picks(page)[-1] == {"action": action, "components": expected}
    expect(page.locator(".s2e-map-live")).to_have_text("Left out: 33 neurons")
    assert page.evaluate("studio.focused") == []


def test_a_range_says_how_many_it_holds_while_it_is_drawn_and_skips_what_does_not_exist(page: Page, url: str) -> None:
    begin_heads(page, url)
    page.mouse.move(*at(page, 3, 2))
    page.mouse.down()
    page.mouse.move(*at(page, 1, 1), steps=5)
    expect(page.locator(".s2e-map-tip")).to_have_text("Add 4 heads")
    page.mouse.up()
    assert picks(page) == [{"action": "include", "components": heads((1, 1), (1, 2), (3, 1), (3, 2))}]


def test_shift_click_adds_the_range_from_the_last_click(page: Page, url: str) -> None:
    begin_heads(page, url)
    page.mouse.click(*at(page, 3, 1))
    page.keyboard.down("Shift")
    page.mouse.click(*at(page, 4, 3))
    page.keyboard.up("Shift")
    expected = heads(*[(row, column) for row in (3, 4) for column in (1, 2, 3)])
    assert picks(page)[1:] == [{"action": "include", "components": expected}]


def test_alt_click_and_the_tools_change_what_a_click_does(page: Page, url: str) -> None:
    begin_heads(page, url)
    page.keyboard.down("Alt")
    page.mouse.click(*at(page, 4, 4))
    page.keyboard.up("Alt")
    page.get_by_role("button", name="Add", exact=True).click()
    page.mouse.click(*at(page, 4, 4))
    page.get_by_role("button", name="Leave out").click()
    page.mouse.click(*at(page, 4, 4))
    drag(page, at(page, 4, 4), at(page, 4, 5))
    assert [pick["action"] for pick in picks(page)] == ["exclude", "include", "exclude", "exclude"]


def test_the_keyboard_alone_moves_reads_toggles_marks_ranges_and_zooms(page: Page, url: str) -> None:
    begin_heads(page, url)
    page.keyboard.press("Tab")
    while not page.evaluate("document.activeElement.matches('.s2e-map-stage')"):
        page.keyboard.press("Tab")
    live = page.locator(".s2e-map-live")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(live).to_contain_text("layer 3, head 2: alignment g")
    page.keyboard.press("Enter")
    assert picks(page) == [{"action": "toggle", "components": heads((3, 2))}]
    assert page.evaluate("studio.focused") == heads((3, 2))
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    assert picks(page)[1:] == [{"action": "include", "components": heads((3, 2), (3, 3), (4, 2), (4, 3))}]
    page.keyboard.press("Delete")
    assert picks(page)[2:] == [{"action": "exclude", "components": heads((4, 3))}]
    expect(live).to_contain_text("left as it is, left out by hand")
    page.keyboard.press("+")
    r0, r1, c0, c1 = window(page)
    assert c1 - c0 == 4 and r0 <= 4 < r1 and c0 <= 3 < c1
    page.keyboard.press("Home")
    expect(live).to_contain_text("layer 4, head 0")
    assert window(page)[2] == 0
    page.keyboard.press("0")
    assert window(page) == (0, 6, 0, 8)


def test_zooming_by_a_drag_and_then_clicking_takes_the_right_component(page: Page, url: str) -> None:
    begin(page, url, "heatmap", SMALL.sent("neurons", tau=TAU))
    page.get_by_role("button", name="Zoom", exact=True).click()
    drag(page, at(page, 1, 100, columns=448), at(page, 4, 119, columns=448))
    assert window(page) == (1, 5, 100, 120) and picks(page) == []
    page.get_by_role("button", name="Toggle").click()
    page.mouse.click(*at(page, 2, 7, rows=4, columns=20))
    assert picks(page) == [{"action": "toggle", "components": [int(NEURONS[3, 107])]}]
    page.evaluate("studio.tau = 0.1; studio.show()")
    assert window(page) == (1, 5, 100, 120)
    page.get_by_role("button", name="Reset").click()
    assert window(page) == (0, 6, 0, 448)


def test_a_zoomed_picture_moves_sideways_with_the_wheel_and_to_the_component_of_the_page(page: Page, url: str) -> None:
    begin(page, url, "heatmap", SMALL.sent("neurons", tau=TAU), focus=int(NEURONS[3, 10]))
    page.get_by_role("button", name="Zoom in").click()
    _, _, c0, c1 = window(page)
    assert c1 - c0 == 112
    page.mouse.move(*at(page, 1, 4))
    page.mouse.wheel(300, 0)
    page.wait_for_function(f"!document.querySelector('.s2e-map').dataset.view.endsWith('{c0},{c1}')")
    assert window(page)[2] > c0
    page.evaluate("i => { studio.focus = i; studio.show(); }", int(NEURONS[5, 440]))
    assert window(page)[3] == 441
    expect(page.locator(".s2e-map-focus")).to_be_visible()


# ---- the page around it ----------------------------------------------------------------------------------------------


def test_colours_follow_the_theme_without_a_word_from_the_page(page: Page, url: str) -> None:
    begin_heads(page, url)
    draws = page.locator(".s2e-map").get_attribute("data-draws")
    page.evaluate("document.body.classList.add('dark')")
    page.wait_for_function("n => document.querySelector('.s2e-map').dataset.draws !== n", arg=draws)
    scale = np.abs(SMALL.g[HEADS[HEADS >= 0]]).max()
    (seen,) = pixels(page, [aside(page, 4, 1)])
    g = float(SMALL.g[HEADS[4, 1]])
    assert np.abs(seen[:3] - colour(g / scale, "dark", full=abs(g) > TAU)).max() <= 3


def test_it_follows_the_width_and_comes_back_after_it_was_hidden(page: Page, url: str) -> None:
    begin_heads(page, url)
    page.evaluate("document.querySelector('#root').hidden = true")
    page.evaluate("studio.tau = 0.3; studio.show()")
    page.set_viewport_size({"width": 700, "height": 800})
    page.evaluate("document.querySelector('#root').hidden = false")
    page.wait_for_function("document.querySelector('.s2e-map-canvas').offsetWidth === 660")
    page.mouse.click(*at(page, 5, 5))
    assert picks(page) == [{"action": "toggle", "components": heads((5, 5))}]


def test_nothing_is_drawn_any_more_once_it_has_left_the_page(page: Page, url: str) -> None:
    begin_heads(page, url)
    page.evaluate("window.kept = document.querySelector('.s2e-map'); document.querySelector('#root').replaceChildren()")
    page.wait_for_timeout(100)
    draws = page.evaluate("kept.dataset.draws")
    page.evaluate("document.body.classList.add('dark')")
    page.wait_for_timeout(100)
    assert page.evaluate("kept.dataset.draws") == draws


def test_new_scores_start_with_the_whole_grid_and_names_are_text(page: Page, url: str) -> None:
    begin_heads(page, url)
    page.get_by_role("button", name="Zoom in").click()
    page.evaluate("studio.load()")
    assert window(page) == (0, 6, 0, 8)
    sent = SMALL.sent("heads", tau=TAU)
    begin(page, url, "heatmap", {**sent, "title": "<b>x</b>", "names": ["<img src=x>"] * len(SMALL.names)})
    page.mouse.move(*at(page, 3, 3))
    expect(page.locator(".s2e-map-tip strong")).to_have_text("layer 3, <img src=x>")
    expect(page.locator(".s2e-map-title")).to_have_text("<b>x</b>")


def test_before_an_edit_is_known_everything_has_full_colour(page: Page, url: str) -> None:
    begin(page, url, "heatmap", SMALL.sent("heads", tau=TAU, bare=True))
    scale = np.abs(SMALL.g[HEADS[HEADS >= 0]]).max()
    cells = [(row, column) for row in (0, 3, 5) for column in range(8)]
    seen = pixels(page, [aside(page, *cell) for cell in cells])
    expected = np.array([colour(float(SMALL.g[HEADS[cell]]) / scale, "light", full=True) for cell in cells])
    assert np.abs(seen[:, :3] - expected).max() <= 3
    assert "left as it is" not in page.locator(".s2e-map-legend").inner_text()


def test_a_phone_shows_it_sharply_without_sideways_scrolling_and_a_tap_toggles(browser: Browser, url: str) -> None:
    with watched_page(browser, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=3) as page:
        begin_heads(page, url)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        width, shown = page.evaluate("(c => [c.width, c.offsetWidth])(document.querySelector('.s2e-map-canvas'))")
        assert width == 3 * shown
        page.touchscreen.tap(*at(page, 4, 2))
        assert picks(page) == [{"action": "toggle", "components": heads((4, 2))}]


def test_the_picture_can_be_saved(page: Page, url: str) -> None:
    begin_heads(page, url, theme="dark")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    assert download.value.suggested_filename == "steer2edit-heads.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


# ---- ranked dots -----------------------------------------------------------------------------------------------------

FEW = made_up(6, 8, 40)
RANKED = sorted((int(i) for i in FEW.grids["heads"].ravel()), key=lambda i: -abs(float(FEW.g[i])))
CHANCE = 0.03


def begin_dots(page: Page, url: str, **options: Any) -> None:
    begin(page, url, "dots", FEW.sent("heads", tau=TAU, chance=CHANCE), **options)


def dot(page: Page, rank: int, *, folded: bool = False) -> tuple[float, float]:
    """The middle of a dot, by the scale that the axis promises: equal steps across, and g upwards."""
    box, g = area(page), float(FEW.g[RANKED[rank]])
    top = 1.1 * max(abs(float(FEW.g[RANKED[0]])), 1.2 * CHANCE)
    up = abs(g) / top if folded else 0.5 + g / top / 2
    return box["x"] + (rank + 0.5) / len(RANKED) * box["width"], box["y"] + (1 - up) * box["height"]


def test_dots_stand_by_size_with_the_strongest_on_the_left(page: Page, url: str) -> None:
    begin_dots(page, url)
    seen = pixels(page, [dot(page, rank) for rank in range(len(RANKED))])[:, :3]
    for rank, (color, i) in enumerate(zip(seen, RANKED, strict=True)):
        x = float(FEW.g[i] / FEW.g[RANKED[0]]) * np.sign(FEW.g[RANKED[0]])
        full = abs(FEW.g[i]) > TAU
        least = 0.62 if full else 0.5
        tone = np.sign(x) * (least + (1 - least) * abs(x))
        assert np.abs(color - colour(tone, "light", full=bool(full))).max() <= 9, rank


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_band_ends_where_chance_ends(page: Page, url: str, theme: str) -> None:
    begin_dots(page, url, theme=theme)
    box = area(page)
    top = 1.1 * max(abs(float(FEW.g[RANKED[0]])), 1.2 * CHANCE)
    x = box["x"] + box["width"] / len(RANKED) * 1.01  # between the two strongest, which stand far outside
    middle, band = box["y"] + box["height"] / 2, CHANCE / top * box["height"] / 2
    inside = pixels(page, [(x, middle - band + 3), (x, middle + band - 3)])
    outside = pixels(page, [(x, middle - band - 3), (x, middle + band + 3)])
    assert (inside[:, 3] > 8).all() and (outside[:, 3] == 0).all()
    assert "random directions stay below |g| = 0.030" in page.locator(".s2e-map-legend").inner_text()


OWN_BANDS = [abs(float(g)) * (0.5 if i % 2 else 1.5) for i, g in enumerate(FEW.g)]
"""Every second component stands out of its own band of chance."""
BY_CHANCE = {"band": OWN_BANDS, "beyond": {"heads": {"found": 24, "count": 48, "expected": 2.4}}}


def test_by_chance_every_dot_has_a_band_of_its_own(page: Page, url: str) -> None:
    begin_dots(page, url, chance=BY_CHANCE)
    box, ranked = area(page), [OWN_BANDS[i] for i in RANKED]
    top = max(1.1 * max(abs(float(FEW.g[RANKED[0]])), *ranked), 1.32 * ranked[-1])
    for rank in (0, 1, 2, 3, 5):
        x = box["x"] + (rank + 0.9) / len(RANKED) * box["width"]  # beside the dot
        middle, band = box["y"] + box["height"] / 2, ranked[rank] / top * box["height"] / 2
        inside = pixels(page, [(x, middle - band + 3), (x, middle + band - 3)])
        outside = pixels(page, [(x, middle - band - 3), (x, middle + band + 3)])
        assert (inside[:, 3] > 8).all() and (outside[:, 3] % 255 == 0).all(), rank  # 255: a line of the axis
    assert "beyond it: 24 of 48, by chance about 2.4" in page.locator(".s2e-map-legend").inner_text()


def test_a_cell_beyond_its_band_has_a_corner_and_says_so(page: Page, url: str) -> None:
    begin(page, url, "heatmap", FEW.sent("heads", tau=TAU), chance=BY_CHANCE)
    cells = [(row, column) for row in range(6) for column in range(8)]
    numbers = [int(FEW.grids["heads"][cell]) for cell in cells]
    width, height = area(page)["width"] / 8, area(page)["height"] / 6
    corners = [(x - width / 2 + 5, y - height / 2 + 5) for x, y in (at(page, *cell) for cell in cells)]
    plain = [(x - width * 0.4, y + 8) for x, y in (at(page, *cell) for cell in cells)]
    differs = np.abs(pixels(page, corners)[:, :3] - pixels(page, plain)[:, :3]).max(axis=1) > 40
    assert differs.tolist() == [bool(number % 2) for number in numbers]
    page.locator(".s2e-map-stage").focus()
    page.keyboard.press("Home")
    first = page.locator(".s2e-map-live").inner_text()
    page.keyboard.press("ArrowRight")
    assert ("within" in first, "beyond" in first) == (True, False)
    assert "beyond its band of chance ±" in page.locator(".s2e-map-live").inner_text()


def test_a_click_on_a_dot_reports_its_component_and_hovering_names_it(page: Page, url: str) -> None:
    begin_dots(page, url)
    for rank in (0, 3, 17, 47):
        page.mouse.click(*dot(page, rank))
        assert picks(page)[-1] == {"action": "toggle", "components": [RANKED[rank]]}
    assert page.evaluate("studio.focused") == [RANKED[rank] for rank in (0, 3, 17, 47)]
    page.mouse.move(*dot(page, 5))
    i = RANKED[5]
    expect(page.locator(".s2e-map-tip strong")).to_have_text(f"layer {FEW.layer_of[i]}, {FEW.names[i]}")


def test_dots_can_be_picked_in_a_range_and_with_the_keyboard(page: Page, url: str) -> None:
    begin_dots(page, url)
    box, step = area(page), area(page)["width"] / len(RANKED)
    drag(page, (box["x"] + 4.5 * step, box["y"] + 20), (box["x"] + 9.5 * step, box["y"] + 200))
    assert picks(page) == [{"action": "include", "components": RANKED[4:10]}]
    page.locator(".s2e-map-stage").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    assert picks(page)[-1] == {"action": "exclude", "components": [RANKED[2]]}


def test_zooming_into_the_dots_and_clicking_takes_the_right_one(page: Page, url: str) -> None:
    begin(page, url, "dots", WIDE.sent("neurons", tau=0.09), focus=-1)
    ids = WIDE.grids["neurons"].ravel()
    order = ids[np.lexsort((ids, -np.abs(WIDE.g[ids])))]
    target = int(order[200_000])
    page.evaluate("i => { studio.focus = i; studio.show(); }", target)
    page.locator(".s2e-map-stage").focus()
    for _ in range(12):
        page.keyboard.press("+")
    _, _, c0, c1 = window(page)
    assert c0 <= 200_000 < c1 and c1 - c0 <= 4
    ring = page.locator(".s2e-map-focus").bounding_box()
    assert ring is not None
    page.mouse.click(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    assert picks(page) == [{"action": "toggle", "components": [target]}]


def test_edited_dots_lie_on_top_of_the_many_others(page: Page, url: str) -> None:
    """One edited neuron among ten thousand of about the same size shows its full colour."""
    begin(page, url, "dots", WIDE.sent("neurons", tau=9))
    ids = WIDE.grids["neurons"].ravel()
    order = ids[np.lexsort((ids, -np.abs(WIDE.g[ids])))]
    target = int(order[20_000])
    page.evaluate("i => { studio.hand[i] = 1; studio.focus = i; studio.show(); }", target)
    ring = page.locator(".s2e-map-focus").bounding_box()
    assert ring is not None
    seen = pixels(page, [(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)])[0, :3]
    x = float(WIDE.g[target] / np.abs(WIDE.g[ids]).max())
    tone = np.sign(x) * (0.62 + 0.38 * abs(x))
    assert np.abs(seen - colour(tone, "light", full=True)).max() <= 9


def test_the_dots_can_show_the_size_without_the_sign(page: Page, url: str) -> None:
    begin_dots(page, url)
    fold = page.get_by_role("button", name="Show the size |g|")
    fold.click()
    expect(fold).to_have_attribute("aria-pressed", "true")
    negative = next(rank for rank, i in enumerate(RANKED) if FEW.g[i] < -CHANCE)
    page.mouse.click(*dot(page, negative, folded=True))
    assert picks(page) == [{"action": "toggle", "components": [RANKED[negative]]}]


def test_what_was_done_by_hand_is_marked_beside_its_dot(page: Page, url: str) -> None:
    begin_dots(page, url)
    rank = next(rank for rank in range(10, 40) if FEW.g[RANKED[rank]] > 0)
    x, y = dot(page, rank)
    above = [(x + dx, y - 13 + dy) for dx in range(-3, 4) for dy in range(-3, 4)]
    for action, legend in (("include", "added by hand"), ("exclude", "left out by hand")):
        before = pixels(page, above)
        page.evaluate("([i, n]) => { studio.hand[i] = n; studio.show(); }", [RANKED[rank], 1 + (action == "exclude")])
        assert (pixels(page, above) != before).any()
        expect(page.locator(".s2e-map-legend")).to_contain_text(legend)


@pytest.mark.parametrize("which", ["heatmap", "dots"])
def test_a_model_without_such_components_shows_an_empty_picture(page: Page, url: str, which: str) -> None:
    none = made_up(3, 0, 10)
    page.goto(url)
    page.wait_for_function("window.loaded")
    page.evaluate("([which, sent]) => window.begin(which, sent)", [which, none.sent("heads", tau=TAU)])
    expect(page.locator(".s2e-map-title")).to_have_text("Attention heads")
    page.get_by_role("button", name="Zoom in").click()
    assert picks(page) == []
