"""What a visitor does, in a real browser on the real app and the bundled model, from opening to reloading the download.

Every page here fails its test on a request to a foreign host, a script error or a console error.
"""

from __future__ import annotations

import re
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page, expect
from transformers import AutoModelForCausalLM, AutoTokenizer

import app
from components.compare.handlers import compared
from components.shared.choices import extract
from components.shared.session import OWN
from s2e_core.model import prompt_ids
from tests.ui.browser import PATIENCE, PHONE, settled, watched_page
from tests.ui.running import running_app, shared_store
from tests.ui.studio_page import arrive, choose_behavior, figures, place, rest, said, set_count, set_slider


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


@pytest.fixture
def visitor(page: Page, address: str) -> Page:
    """A page that is open and at rest."""
    return arrive(page, address)


def edit_strongly(page: Page) -> None:
    for name, value in (("alpha", 0.2), ("rho-mlp", 0.4), ("strength", 1.05)):
        set_slider(page, name, value)
        rest(page)


def test_the_page_opens_with_real_scores_a_real_edit_and_the_first_texts(visitor: Page) -> None:
    heads, neurons = figures(visitor)
    assert heads + neurons > 0
    assert all(said(visitor)) and len(said(visitor)) == 2
    assert visitor.locator("#table tbody tr").count() > 5
    assert "Wanted" in visitor.inner_text("#status")


def test_pictures_dials_and_texts_fit_on_one_screen(browser: Browser, address: str) -> None:
    with watched_page(browser, viewport={"width": 1280, "height": 900}) as page:
        arrive(page, address)
        pictures = ("heads canvas", "neurons-ranked canvas")
        for name in (*pictures, "strength", "heads-count", "neurons-count", "summary", "prompt", "texts", "run"):
            box = page.locator(f"#{name}").bounding_box()
            assert box is not None and box["y"] >= 0 and box["y"] + box["height"] <= 900, name


def test_a_phone_never_scrolls_sideways(browser: Browser, address: str) -> None:
    with watched_page(browser, viewport=PHONE, has_touch=True) as page:
        arrive(page, address)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_click_on_a_head_edits_it_and_undo_takes_it_back(visitor: Page) -> None:
    before = figures(visitor)
    head = visitor.locator("#summary .figure b").first
    area = visitor.locator("#heads .s2e-map-area").bounding_box()
    assert area is not None
    visitor.mouse.click(area["x"] + area["width"] * 0.44, area["y"] + area["height"] * 0.42)
    expect(visitor.locator("#inspector h3")).to_have_text(re.compile(r"Head \d+ of layer \d+"))
    expect(head).not_to_have_text(str(before[0]))
    assert abs(figures(visitor)[0] - before[0]) == 1
    after = figures(visitor)
    visitor.keyboard.press("Control+z")
    expect(head).to_have_text(str(before[0]))
    visitor.keyboard.press("Control+Shift+z")
    expect(head).to_have_text(str(after[0]))
    rest(visitor)
    assert figures(visitor) == after


def test_dials_move_each_other_and_the_page_follows_fast(visitor: Page) -> None:
    times = [set_count(visitor, "neurons", count) for count in (30, 60, 90, 120, 45)]
    rho = visitor.locator("#rho-mlp input[type=number]")
    before = float(rho.input_value())
    assert before > 0
    set_slider(visitor, "rho-mlp", round(before * 0.8, 3))
    assert figures(visitor)[1] > 45
    expect(visitor.locator("#neurons-count input[type=number]")).to_have_value(str(figures(visitor)[1]))
    set_slider(visitor, "alpha", 0.9)
    assert float(rho.input_value()) == round(before * 0.8, 3), "one dial of the paper's leaves the other alone"
    print("milliseconds from slider to figures:", [round(t) for t in times])
    assert sorted(times)[len(times) // 2] < 1_000  # a machine with much other work; on a free one it is below 20
    rest(visitor)


def test_a_dial_that_moves_asks_the_server_for_nothing_until_it_rests(visitor: Page) -> None:
    posts: list[str] = []
    visitor.on("request", lambda request: request.method == "POST" and posts.append(request.url))
    drawn = visitor.evaluate(
        """async () => {
            const start = performance.now(), drawn = new Set();
            for (let n = 0; performance.now() - start < 1000; n++) {
                for (const [dial, value] of [['strength', 0.5 + n % 20 / 20], ['heads-count', n % 30 + 1]]) {
                    const slider = document.querySelector(`#${dial} input[type=range]`);
                    slider.value = value;
                    slider.dispatchEvent(new Event('input', {bubbles: true}));
                }
                await new Promise(next => setTimeout(next, 20));
                drawn.add(document.querySelector('#summary .figure b').innerText);
            }
            return drawn.size;
        }"""
    )
    assert not posts, posts
    assert drawn > 5, "the figures follow meanwhile"
    settled(visitor)
    assert posts, "the page is told once the dial rests"
    rest(visitor)


def test_a_drag_never_loses_its_last_value(visitor: Page) -> None:
    visitor.evaluate(
        """async () => {
            const slider = document.querySelector('#heads-count input[type=range]');
            for (let i = 1; i <= 40; i++) {
                slider.value = i % 20 + 3;
                slider.dispatchEvent(new Event('input', {bubbles: true}));
                await new Promise(next => setTimeout(next, 12));
            }
            slider.value = 17;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
        }"""
    )
    expect(visitor.locator("#summary b").first).to_have_text("17", timeout=PATIENCE)
    rest(visitor)
    assert "17 heads" in visitor.inner_text("#texts h3 >> nth=1")
    assert figures(visitor)[0] == 17 and visitor.input_value("#heads-count input[type=number]") == "17"


def test_a_tick_in_the_table_takes_a_component_out(visitor: Page) -> None:
    set_count(visitor, "neurons", 60)
    rest(visitor)
    visitor.click("#shown button:has-text('Neurons')")
    before = figures(visitor)[1]
    visitor.locator("#table tbody tr").first.locator("input").uncheck()
    expect(visitor.locator("#summary b").nth(1)).to_have_text(str(before - 1), timeout=PATIENCE)
    rest(visitor)


def test_another_behaviour_brings_its_own_prompt_and_scores(visitor: Page) -> None:
    prompt, status = visitor.input_value("#prompt textarea"), visitor.inner_text("#status")
    choose_behavior(visitor, 1)
    visitor.wait_for_function("before => document.querySelector('#prompt textarea').value !== before", arg=prompt)
    assert visitor.inner_text("#status") != status
    rest(visitor)


def test_quick_choices_end_at_the_last_one(visitor: Page) -> None:
    last = shared_store().behavior_list[2]
    for number in (1, 2):
        choose_behavior(visitor, number)
    expect(visitor.locator("#status")).to_contain_text(f"Wanted: {last.positive}", timeout=PATIENCE)
    rest(visitor)
    expect(visitor.locator("#status")).to_contain_text(f"Wanted: {last.positive}", timeout=PATIENCE)
    assert visitor.input_value("#behavior input") == last.title


def test_own_examples_are_extracted_and_bad_ones_leave_the_page_as_it_was(visitor: Page) -> None:
    before = figures(visitor)
    choose_behavior(visitor, -1)
    expect(visitor.locator("#status")).to_contain_text("then press Read examples", timeout=PATIENCE)
    visitor.fill("#own-positive textarea", "How was it? | It was wonderful.")
    visitor.click("#extract")
    expect(visitor.locator(".toast-body")).to_contain_text("is empty", timeout=PATIENCE)
    toast, extract = (visitor.locator(name).bounding_box() for name in (".toast-body", "#extract"))
    assert toast is not None and extract is not None
    assert toast["y"] + toast["height"] <= extract["y"], "what is to be pressed next stays free"
    assert figures(visitor) == before and all(said(visitor))
    expect(visitor.locator("#status")).to_contain_text("Wanted", timeout=PATIENCE)
    visitor.fill("#own-positive textarea", "\n".join(f"How was day {n}? | I am so glad, it was fun." for n in range(9)))
    visitor.fill(
        "#own-negative textarea", "\n".join(f"How was day {n}? | I could cry, it was awful." for n in range(9))
    )
    visitor.click("#extract")
    expect(visitor.locator("#status")).to_contain_text("9 + 9 examples", timeout=PATIENCE)
    rest(visitor)
    read = place(visitor)
    assert read["behavior"] == OWN
    reload(visitor)
    wait_for_place(visitor, read)
    expect(visitor.locator("#status")).to_contain_text("9 + 9 examples", timeout=PATIENCE)


def test_texts_of_an_edit_that_has_changed_meanwhile_stay_marked_as_outdated(
    visitor: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def held(*values: Any) -> Iterator[Any]:
        for value in compared(*values):
            yield value
            assert go_on.wait(60), "the dial did not move"

    visitor.uncheck("#follow input")
    with monkeypatch.context() as patch:
        patch.setattr(app, "compared", held)
        visitor.click("#run")
        visitor.wait_for_selector("#texts .texts[aria-busy=true]", timeout=PATIENCE)
        set_slider(visitor, "strength", 1.35)
        go_on.set()
        settled(visitor)
    visitor.wait_for_selector("#texts .texts.outdated[aria-busy=false]")
    visitor.click("#run")
    rest(visitor)
    visitor.locator("#table tbody tr").nth(2).locator("td").nth(1).click()  # looking at a component changes no edit
    settled(visitor)
    rest(visitor)  # nothing runs by itself here, so the mark goes only where the texts are those of the edit


def test_stop_ends_a_comparison_and_the_next_one_runs(visitor: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_end(*values: Any) -> Iterator[Any]:
        for value in compared(*values):
            while True:  # the small model writes its 256 tokens in a second
                yield value
                time.sleep(0.05)

    visitor.uncheck("#follow input")
    visitor.fill("#length input", "256")
    visitor.fill("#temperature input", "5")  # so hot that no answer ends by itself
    visitor.press("#temperature input", "Tab")
    with monkeypatch.context() as patch:
        patch.setattr(app, "compared", without_end)
        visitor.click("#run")
        visitor.wait_for_selector("#texts .texts[aria-busy=true]", timeout=PATIENCE)
        visitor.click("#stop-run")
        expect(visitor.locator("#texts .note").first).to_have_text("stopped", timeout=PATIENCE)
    stopped = said(visitor)
    settled(visitor)
    assert said(visitor) == stopped
    visitor.fill("#temperature input", "0")
    visitor.fill("#length input", "12")
    visitor.press("#prompt textarea", "Enter")
    expect(visitor.locator("#texts .note").first).to_contain_text("word", timeout=PATIENCE)
    rest(visitor)
    assert all(said(visitor)) and said(visitor) != stopped


def test_a_run_that_waits_for_its_turn_says_so_and_can_be_stopped(
    visitor: Page, browser: Browser, address: str
) -> None:
    loaded, stop = shared_store().model(shared_store().first_model), visitor.locator("#stop-run")
    before = said(visitor)
    expect(stop).to_be_disabled(timeout=PATIENCE)
    with watched_page(browser) as other:
        arrive(other, address)
        with loaded.lock:
            other.click("#run")
            expect(other.locator("#texts .note").first).to_have_text("writing …", timeout=PATIENCE)
            visitor.click("#run")
            expect(stop).to_be_enabled(timeout=PATIENCE)
            expect(visitor.locator("#texts .note").first).to_contain_text("waiting", timeout=PATIENCE)
            stop.click()
            expect(stop).to_be_disabled(timeout=PATIENCE)
        rest(other)
    assert said(visitor) == before and "waiting" not in visitor.inner_text("#texts")
    visitor.click("#run")
    rest(visitor)
    expect(stop).to_be_disabled(timeout=PATIENCE)


def test_a_number_stays_within_its_bounds_and_no_field_is_left_empty(visitor: Page) -> None:
    length = visitor.locator("#length input")
    was = length.input_value()
    length.fill("99999")
    expect(length).to_have_value("256")
    for typed, kept in (("", was), ("0", "1"), ("12", "12")):
        length.fill(was)
        length.blur()
        length.fill(typed)
        length.blur()
        expect(length).to_have_value(kept)
    visitor.fill("#first-layer input", "99")
    expect(visitor.locator("#first-layer input")).to_have_value("5")
    visitor.press("#first-layer input", "Tab")
    rest(visitor)
    assert place(visitor)["settings"]["layers"] == [5, 5]
    assert not visitor.locator(".toast-body").count()


def test_a_bad_prompt_is_a_toast_and_the_texts_stay(visitor: Page) -> None:
    before = said(visitor)
    visitor.fill("#prompt textarea", "")
    visitor.click("#run")
    expect(visitor.locator(".toast-body")).to_contain_text("The prompt is empty", timeout=PATIENCE)
    assert said(visitor) == before and visitor.locator("#texts h3").first.is_visible()


def test_what_a_visitor_types_is_never_run(visitor: Page) -> None:
    visitor.fill("#prompt textarea", "<img src=x onerror=\"document.title='run'\"> ${document.title='run'} {{1+1}}")
    visitor.press("#prompt textarea", "Enter")
    rest(visitor)
    assert visitor.title() != "run" and not visitor.locator("#texts img").count()


def test_the_downloaded_checkpoint_says_in_plain_transformers_what_the_page_showed(
    visitor: Page, tmp_path: Path
) -> None:
    edit_strongly(visitor)
    prompt = visitor.input_value("#prompt textarea")
    visitor.locator("#dtype").get_by_label("float32").check()
    visitor.click("#run")
    rest(visitor)
    original, edited = said(visitor)
    with visitor.expect_download(timeout=4 * PATIENCE) as started:
        visitor.click("#checkpoint")
    path = tmp_path / "download.zip"
    started.value.save_as(path)
    assert started.value.suggested_filename.endswith("-checkpoint-float32.zip")
    expect(visitor.locator("#export-status")).to_contain_text("does what the preview showed", timeout=PATIENCE)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    folder = next(path.parent for path in tmp_path.glob("*/config.json"))
    texts = []
    for source in (folder, shared_store().model(shared_store().first_model).source):
        tokenizer, model = (
            AutoTokenizer.from_pretrained(source),
            AutoModelForCausalLM.from_pretrained(source, dtype="float32"),
        )
        ids = torch.tensor([prompt_ids(tokenizer, prompt)])
        new = model.generate(ids, max_new_tokens=len(tokenizer(original + edited)["input_ids"]) + 8, do_sample=False)
        texts.append(tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True))
    assert texts[0].startswith(edited) and texts[1].startswith(original)


def test_a_recipe_goes_home_and_comes_back(visitor: Page, tmp_path: Path) -> None:
    set_count(visitor, "neurons", 23)
    set_count(visitor, "heads", 5)
    rest(visitor)
    settings = place(visitor)["settings"]
    with visitor.expect_download(timeout=2 * PATIENCE) as started:
        visitor.click("#recipe")
    path = tmp_path / "recipe.safetensors"
    started.value.save_as(path)
    visitor.click("#none")
    expect(visitor.locator("#summary .verdict")).to_contain_text("Nothing is edited", timeout=PATIENCE)
    visitor.click("#bring button")
    visitor.set_input_files("#bring-file input[type=file]", path)
    expect(visitor.locator("#bring-read")).to_contain_text("A recipe of this program", timeout=PATIENCE)
    expect(visitor.locator("#summary .verdict")).to_contain_text("Nothing is edited")
    visitor.click("#bring-use")
    expect(visitor.locator("#summary .verdict")).to_contain_text("finished edit you uploaded", timeout=PATIENCE)
    assert figures(visitor) == (5, 23) and place(visitor)["settings"] == settings
    rest(visitor)
    brought = place(visitor)
    reload(visitor)
    wait_for_place(visitor, brought)
    expect(visitor.locator("#summary .verdict")).to_contain_text("finished edit you uploaded", timeout=PATIENCE)
    assert figures(visitor) == (5, 23)


def test_two_tabs_hold_different_edits(browser: Browser, address: str) -> None:
    with watched_page(browser) as one, watched_page(browser) as two:
        arrive(one, address), arrive(two, address)
        set_count(one, "neurons", 11)
        set_count(two, "neurons", 77)
        set_slider(one, "strength", 0.9)
        assert (figures(one)[1], figures(two)[1]) == (11, 77)
        rest(one), rest(two)


ASKED = {"prompt": "textarea", "length": "input", "temperature": "input", "seed": "input"}
OF_THE_EDIT = ("model", "behavior", "swapped", "key", "settings", "file")


def wait_for_place(page: Page, wanted: dict[str, Any]) -> None:
    """Until a page that was opened by an address is at rest, and at the wanted place."""
    page.wait_for_function("() => window.steer2edit?.isAtRest?.()")
    rest(page)
    found = place(page)
    assert {name: found[name] for name in OF_THE_EDIT} == {name: wanted[name] for name in OF_THE_EDIT}


def reload(page: Page) -> None:
    settled(page)
    page.reload()


def asked(page: Page) -> dict[str, str]:
    return {name: page.input_value(f"#{name} {field}") for name, field in ASKED.items()}


def looked_at(page: Page) -> tuple[str, str | None]:
    """The component whose figures are on show, and what colour means."""
    pressed = page.locator("#color button[aria-pressed=true]")
    return page.inner_text("#inspector h3"), pressed.get_attribute("data-mode")


def edit_by_hand(page: Page) -> None:
    """Another behaviour with other settings, one component left out, one added, and two layers of six."""
    choose_behavior(page, 1)
    expect(page.locator("#status")).to_contain_text(f"Wanted: {shared_store().behavior_list[1].positive}")
    rest(page)
    set_slider(page, "alpha", 0.35)
    set_count(page, "heads", 7)
    set_count(page, "neurons", 31)
    set_slider(page, "strength", 0.85)
    rows = page.locator("#table tbody tr")
    rows.nth(0).locator("input").uncheck()
    page.fill("#first-layer input", "1")
    page.fill("#last-layer input", "3")
    page.press("#last-layer input", "Tab")
    outside = page.locator("#table tbody tr:not(:has(input:checked))").nth(3)
    outside.locator("input").check()
    set_slider(page, "own-strength", 1.5)
    rows.nth(5).locator("td").nth(1).click()
    page.click("#color button[data-mode=lambda]")


def test_an_address_restores_all_of_a_place_in_another_browser(browser: Browser, visitor: Page) -> None:
    edit_by_hand(visitor)
    rest(visitor)
    visitor.fill("#prompt textarea", "Who are you, “friend” – and why?")
    for name, value in {"length": "17", "temperature": "0.7", "seed": "1234"}.items():
        visitor.fill(f"#{name} input", value)
    visitor.press("#seed input", "Tab")
    visitor.click("#run")
    rest(visitor)
    settings = place(visitor)["settings"]
    assert settings["layers"] == [1, 3] and settings["included"] and settings["excluded"] and settings["strengths"]
    with watched_page(browser) as other:
        other.goto(visitor.url)
        wait_for_place(other, place(visitor))
        assert asked(other) == asked(visitor) and looked_at(other) == looked_at(visitor)
        assert figures(other) == figures(visitor) and said(other) == said(visitor)
        assert other.input_value("#behavior input") == visitor.input_value("#behavior input")
        assert other.url == visitor.url


def test_a_reload_keeps_the_edit(visitor: Page) -> None:
    set_count(visitor, "heads", 5)
    visitor.click("#neurons-only")
    visitor.click("#undo")
    rest(visitor)
    before, texts = place(visitor), said(visitor)
    assert figures(visitor)[0] == 5
    reload(visitor)
    wait_for_place(visitor, before)
    assert figures(visitor)[0] == 5 and said(visitor) == texts


def test_the_address_stays_while_its_place_is_restored(visitor: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    choose_behavior(visitor, 1)
    rest(visitor)
    set_count(visitor, "heads", 4)
    rest(visitor)
    before, address, go_on = place(visitor), visitor.url, threading.Event()

    def held(*values: Any) -> Iterator[Any]:
        while not go_on.wait(0.05):
            yield "Reading examples and prompts: 1 of 100"
        yield from extract(*values)

    with monkeypatch.context() as patch:
        patch.setattr("components.choose.wiring.extract", held)
        reload(visitor)
        expect(visitor.locator("#status")).to_contain_text("1 of 100")
        visitor.wait_for_timeout(600)  # longer than dials rest
        assert visitor.url == address
        go_on.set()
        wait_for_place(visitor, before)


def test_back_returns_to_the_behaviour_before_with_its_edit(visitor: Page) -> None:
    set_count(visitor, "heads", 6)
    rest(visitor)
    before = place(visitor)
    choose_behavior(visitor, 2)
    expect(visitor.locator("#status")).to_contain_text(f"Wanted: {shared_store().behavior_list[2].positive}")
    rest(visitor)
    after = place(visitor)
    visitor.go_back()
    wait_for_place(visitor, before)
    assert visitor.input_value("#behavior input") == shared_store().behavior_list[0].title
    visitor.go_forward()
    wait_for_place(visitor, after)


def test_an_address_that_cannot_be_read_leaves_the_page_as_it_is_for_everybody(visitor: Page, address: str) -> None:
    first, read = place(visitor), visitor.url.partition("#")[2]
    for broken in (read[: len(read) // 2], "s1=bnVsbA", "s1=e30", "s9=" + read[3:], "s1=%%%"):
        visitor.evaluate("hash => { window.location.hash = hash; }", broken)
        wait_for_place(visitor, first)
    assert not visitor.locator(".toast-body").count()
    fresh = visitor.context.new_page()
    fresh.goto(f"{address}#s1=eyJzZXR0aW5ncyI6e319")  # {"settings":{}}
    expect(fresh.locator(".toast-body")).to_contain_text("cannot be read")
    wait_for_place(fresh, first)
