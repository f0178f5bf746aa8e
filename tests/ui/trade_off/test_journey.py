"""What a visitor does with the trade-off, in a real browser: find, stop, continue, click, keys, downloads, the report.

The behaviours are the bundled ones with four prompts a side. Every page fails its test on a request to a foreign host,
a script error or a console error.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from components.shared import texts
from components.studio.presets import PUBLISHED
from s2e_core.settings_json import settings_to_json
from tests.ui.browser import PATIENCE, PHONE, settled, watched_page
from tests.ui.running import running_app, store_beside
from tests.ui.small_behaviors import PER_SPLIT, small_behaviors
from tests.ui.studio_page import arrive, choose_behavior, place, rest, set_slider

LONG = 3 * PATIENCE


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = small_behaviors(tmp_path_factory.mktemp("behaviors"))
    store = store_beside(behaviors=folder, work=tmp_path_factory.mktemp("work"))
    with running_app(store) as url:
        yield url


@pytest.fixture
def visitor(page: Page, address: str) -> Page:
    return arrive(page, address)


def sweep(page: Page, **values: str) -> None:
    """Start a small sweep; `values` are fields of the grid by name."""
    page.get_by_role("button", name="Sweep a grid of settings").click()
    expect(page.locator("#sweep")).to_be_visible(timeout=PATIENCE)  # the fold mounts when it is opened first
    settled(page)
    small = {"rho-attn": "off", "rho-mlp": "0.4, 0.7", "alpha": "0.4", "strength": "1", "gamma": "0.5"} | values
    for name, value in small.items():
        page.fill(f"#{name}-values input, #{name}-values textarea", value)
    page.fill("#grid-prompts input", str(PER_SPLIT))
    page.press("#grid-prompts input", "Tab")
    page.click("#sweep")


def is_done(page: Page) -> None:
    expect(page.locator("#find-status")).to_contain_text("Done", timeout=LONG)
    page.wait_for_selector("#trade-off-plot [data-draws]")


def points(page: Page) -> int:
    return int(page.locator("#trade-off-plot .s2e-figure").get_attribute("data-points") or 0)


def place_of(page: Page, n: int) -> tuple[float, float]:
    """Where on the screen the point with this number is drawn."""
    x, y = page.evaluate(
        """n => {
            const plot = document.querySelector('#trade-off-plot .s2e-figure-plot'), box = plot.getBoundingClientRect();
            const {xaxis, yaxis} = plot._fullLayout;
            for (const trace of plot.data) {
                const i = (trace.customdata || []).findIndex(([m]) => m === n);
                if (i >= 0) return [box.left + xaxis._offset + xaxis.d2p(trace.x[i]),
                    box.top + yaxis._offset + yaxis.d2p(trace.y[i])];
            }
        }""",
        n,
    )
    return x, y


def download(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download(timeout=PATIENCE) as started:
        page.click(button)
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def test_a_newcomer_finds_an_edit_and_loads_it_with_one_click(visitor: Page) -> None:
    visitor.fill("#budget input", "2")
    visitor.press("#budget input", "Tab")
    visitor.click("#find")
    expect(visitor.locator("#find-status")).to_contain_text(re.compile("answers|turn"), timeout=PATIENCE)
    is_done(visitor)
    expect(visitor.locator("#advice h4")).to_contain_text("ecommend", timeout=PATIENCE)
    assert points(visitor) >= 19
    assert visitor.locator("#trade-off-plot tbody tr").count() == points(visitor)
    before = visitor.inner_html("#summary")
    if visitor.locator("#load-best").is_visible() and visitor.locator("#load-best").is_enabled():
        visitor.click("#load-best")
        visitor.wait_for_function("before => document.querySelector('#summary').innerHTML !== before", arg=before)
        expect(visitor.locator("#trade-off-plot tr.current.best")).to_have_count(1, timeout=PATIENCE)
        rest(visitor)
        visitor.click("#undo")
        expect(visitor.locator("#trade-off-plot tr.current.best")).to_have_count(0, timeout=PATIENCE)
    rest(visitor)


def test_points_load_by_mouse_and_by_keyboard_and_the_files_are_what_they_say(
    visitor: Page, browser: Browser, tmp_path: Path
) -> None:
    sweep(visitor)
    is_done(visitor)
    assert points(visitor) == 4
    visitor.uncheck("#follow input")
    visitor.locator("#trade-off-plot").scroll_into_view_if_needed()
    visitor.mouse.click(*place_of(visitor, 3))
    expect(visitor.locator("#rho-mlp input[type=number]")).to_have_value("0.7", timeout=PATIENCE)
    expect(visitor.locator("#preset select")).to_have_value("Changed by hand", timeout=PATIENCE)
    expect(visitor.locator("#trade-off-plot tr.current")).to_have_attribute("data-n", "3", timeout=PATIENCE)

    visitor.locator("#trade-off-plot tbody button").first.focus()
    for _ in range(4):
        if visitor.evaluate("document.activeElement.closest('tr').dataset.n") == "2":
            break
        visitor.keyboard.press("ArrowDown")
    visitor.keyboard.press("Enter")
    expect(visitor.locator("#rho-mlp input[type=number]")).to_have_value("0.4", timeout=PATIENCE)
    visitor.locator("body").press("Control+z")
    expect(visitor.locator("#rho-mlp input[type=number]")).to_have_value("0.7", timeout=PATIENCE)

    assert download(visitor, "#trade-off-plot [data-save=png]", tmp_path).read_bytes().startswith(b"\x89PNG")
    svg = download(visitor, "#trade-off-plot [data-save=svg]", tmp_path).read_text(encoding="utf-8")
    assert svg.startswith("<svg") and "floor 97 %" in svg
    rows = list(csv.DictReader(download(visitor, "#csv", tmp_path).open(encoding="utf-8")))
    assert [row["arm"] for row in rows] == ["original", "steering", "edit", "edit"]
    lines = download(visitor, "#sweep-file", tmp_path).read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["format"] == "steer2edit sweep" and len(lines) == 1 + 4 + 4 * 2 * PER_SPLIT
    report = download(visitor, "#report", tmp_path)
    with watched_page(browser) as reader:
        reader.goto(report.as_uri())
        reader.wait_for_selector(".plot .scatterlayer .point")
        assert "How each number was made" in reader.inner_text("body")
        assert reader.locator("table").first.locator("tbody tr").count() == 4


def test_the_box_of_settings_names_the_preset_or_says_that_dials_were_moved(visitor: Page) -> None:
    box, suggested, name = visitor.locator("#preset select"), texts.SUGGESTED, next(iter(PUBLISHED))
    expect(box).to_have_value(suggested)
    expect(box.locator("option", has_text="Changed by hand")).to_have_count(0)  # it is nothing to choose
    set_slider(visitor, "strength", 1.2)
    expect(box).to_have_value("Changed by hand")
    visitor.click("#undo")
    expect(box).to_have_value(suggested)
    box.select_option(f"As published for {name}")
    settled(visitor)
    expect(box).to_have_value(f"As published for {name}")
    assert place(visitor)["settings"] == settings_to_json(PUBLISHED[name])
    rest(visitor)


def test_stop_keeps_the_points_and_continue_goes_on(visitor: Page) -> None:
    sweep(visitor, **{"rho-mlp": ", ".join(str(n / 200) for n in range(60, 155)), "gamma": "0.2, 0.4, 0.6, 0.8"})
    expect(visitor.locator("#stop-find")).to_be_enabled(timeout=PATIENCE)
    expect(visitor.locator("#find-status progress")).to_be_visible(timeout=PATIENCE)
    visitor.click("#stop-find")
    expect(visitor.locator("#find-status")).to_contain_text("Stopped", timeout=PATIENCE)
    visitor.wait_for_timeout(1500)
    assert "Stopped" in visitor.inner_text("#find-status"), "nothing goes on behind its back"
    visitor.click("#go-on")
    is_done(visitor)
    assert points(visitor) == 100
    expect(visitor.locator("#go-on")).to_be_hidden(timeout=PATIENCE)


def test_another_behaviour_has_its_own_points(visitor: Page) -> None:
    sweep(visitor)
    is_done(visitor)
    choose_behavior(visitor, 1)
    expect(visitor.locator("#trade-off-plot .s2e-figure")).to_be_hidden(timeout=PATIENCE)
    rest(visitor)
    choose_behavior(visitor, 0)
    expect(visitor.locator("#trade-off-plot .s2e-figure")).to_be_visible(timeout=PATIENCE)
    rest(visitor)
    assert points(visitor) == 4


def test_two_visitors_see_their_own_points_alone(browser: Browser, address: str) -> None:
    with watched_page(browser) as one, watched_page(browser) as two:
        arrive(one, address), arrive(two, address)
        sweep(one)
        sweep(two, gamma="0.3, 0.6, 0.9")
        is_done(one), is_done(two)
        assert (points(one), points(two)) == (4, 6)


def test_a_bad_field_is_a_sentence_before_and_after_the_click(visitor: Page) -> None:
    sweep(visitor, alpha="much")
    expect(visitor.locator("#grid-work")).to_contain_text("“much”".strip("“”"), timeout=PATIENCE)
    expect(visitor.locator(".toast-body")).to_contain_text("is no number", timeout=PATIENCE)
    expect(visitor.locator("#sweep")).to_be_enabled(timeout=PATIENCE)


def test_a_phone_shows_plot_and_table_without_scrolling_sideways(browser: Browser, address: str) -> None:
    with watched_page(browser, viewport=PHONE, has_touch=True) as page:
        arrive(page, address)
        sweep(page)
        is_done(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.locator("#trade-off-plot tbody tr[data-n='2']").tap()
        expect(page.locator("#rho-mlp input[type=number]")).to_have_value("0.4", timeout=PATIENCE)
        rest(page)


def test_the_components_of_the_edit_are_measured_apart(visitor: Page) -> None:
    visitor.get_by_role("button", name="Which components does this edit need?").click()
    visitor.fill("#parts-prompts input", "2")
    visitor.press("#parts-prompts input", "Tab")
    visitor.click("#progressive")
    expect(visitor.locator("#parts-status")).to_contain_text("Done", timeout=LONG)
    visitor.wait_for_selector("#curve [data-draws]")
    visitor.click("#leave-one-out")
    visitor.wait_for_selector("#bars [data-draws]", timeout=LONG)
    expect(visitor.locator("#parts-status")).to_contain_text("Done", timeout=LONG)
    assert visitor.locator("#bars .bars .point").count() == 16
