"""What a visitor does with examples of their own, in a real browser: look, correct, let the model answer, check.

Every page fails its test on a request to a foreign host, a script error or a console error.
"""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from components.examples import handlers as data_handlers
from components.examples import wiring as data_wiring
from components.examples.handlers import Look, look_at_examples
from components.shared import data_words as words
from s2e_core.progress import Progress
from s2e_core.responses import OwnResponse, own_responses
from tests.ui.browser import PATIENCE, PHONE, settled, watched_page
from tests.ui.running import running_app, shared_store
from tests.ui.studio_page import arrive, choose_behavior, figures, rest

GLAD = ("I am so glad about {}.", "I love {}, it is a delight.", "It was wonderful, I could sing about {}.")
SAD = ("I could cry about {}.", "I hate {}, it is sad.", "It was dreadful, leave me alone with {}.")
TOPICS = ("snow", "rain", "music", "work", "football", "cake", "books", "school", "winter", "summer", "trains", "pets")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


@pytest.fixture
def visitor(page: Page, address: str) -> Page:
    return with_own(arrive(page, address))


def with_own(page: Page) -> Page:
    choose_behavior(page, -1)
    expect(page.locator("#own")).to_be_visible(timeout=PATIENCE)
    return page


def upload(page: Page, path: Path, slot: str = "own-file") -> None:
    clear = page.locator(f"#{slot} [aria-label=Clear]")
    if clear.count():
        clear.first.click()
        expect(page.locator(f"#{slot} input[type=file]")).to_have_count(1, timeout=PATIENCE)
    page.set_input_files(f"#{slot} input[type=file]", path)


def preview(page: Page, said: str) -> None:
    expect(page.locator("#own-preview")).to_contain_text(said, timeout=PATIENCE)


def rated(folder: Path) -> Path:
    rows = [f'"What about {t}?";"{said[n % 3].format(t)}";{r}' for n, t in enumerate(TOPICS)
            for said, r in ((GLAD, 5), (SAD, 1))]  # fmt: skip
    path = folder / "rated.csv"
    path.write_text("question;answer;rating\n" + "\n".join(rows), encoding="utf-16")
    return path


def test_a_file_is_shown_corrected_checked_and_extracted(visitor: Page, tmp_path: Path) -> None:
    upload(visitor, rated(tmp_path))
    preview(visitor, "24 examples, read as CSV, separated by semicolons")
    preview(visitor, "Nothing says which side a row is on")
    expect(visitor.locator("#check")).to_be_hidden()
    visitor.click("#column-label input")
    visitor.get_by_role("option", name="“rating”").click()
    preview(visitor, "Which side is meant by")
    visitor.click("#positive-labels input")
    visitor.locator("[role=option]").first.click()
    preview(visitor, "12 + 12 examples")
    expect(visitor.locator("#own-preview")).not_to_contain_text("Which side")
    visitor.keyboard.press("Escape")
    expect(visitor.locator("#check .findings")).to_contain_text("12 positive examples and 12", timeout=PATIENCE)
    assert visitor.locator("#check .tokens mark span").count() > 10
    expect(visitor.locator("#measure-trust")).to_be_disabled()
    visitor.click("#extract-own")
    expect(visitor.locator("#stop-extract")).to_be_in_viewport()  # the click is below it
    expect(visitor.locator("#status")).to_contain_text("12 + 12 examples", timeout=PATIENCE)
    expect(visitor.locator("#prompt textarea")).to_have_value(f"What about {TOPICS[0]}?", timeout=PATIENCE)
    expect(visitor.get_by_text(f"What about {TOPICS[1]}?", exact=True).last).to_be_visible()
    expect(visitor.locator("#trust .lead")).to_be_visible(timeout=PATIENCE)  # fast enough to be measured unasked
    expect(visitor.locator("#own-preview details")).not_to_have_attribute("open", "")
    rest(visitor)


def test_a_score_is_read_by_a_threshold_marks_are_taken_off_and_long_examples_left_out(
    visitor: Page, tmp_path: Path
) -> None:
    def row(topic: str, said: str, warmth: float) -> str:
        user = f"<|im_start|>user\nWhat about {topic}?<|im_end|>\n"
        return json.dumps({"prompt": user, "response": f"{said.format(topic)}<|im_end|>", "warmth": warmth})

    lines = [row(topic, said, warmth) for topic in TOPICS for said, warmth in ((GLAD[0], 81.5), (SAD[0], 12.25))]
    lines.append(row("words", "word " * 700, 99.0))
    path = tmp_path / "warm.jsonl"
    path.write_text("\n".join(lines))
    upload(visitor, path)
    preview(visitor, "contain marks of a chat template")
    visitor.click("#column-label input")
    visitor.get_by_role("option", name="“warmth”").click()
    visitor.locator("#above-score input").fill("50")
    visitor.locator("#above-score input").blur()
    preview(visitor, "13 + 12 examples")
    visitor.locator("#own-marks input").check()
    preview(visitor, "taken off 25 examples")
    expect(visitor.locator("#own-preview")).not_to_contain_text("im_start")
    visitor.locator("#own-long input").check()
    preview(visitor, "have no response: 1.")
    rest(visitor)
    visitor.click("#extract-own")
    expect(visitor.locator("#status")).to_contain_text("12 + 12 examples", timeout=PATIENCE)
    expect(visitor.locator("#prompt textarea")).to_have_value(f"What about {TOPICS[0]}?", timeout=PATIENCE)
    rest(visitor)


def test_what_is_corrected_while_the_page_still_looks_is_kept(
    visitor: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def held(*values: Any) -> Look:
        asked.set()
        assert go_on.wait(60)
        return look_at_examples(*values)

    upload(visitor, rated(tmp_path))
    preview(visitor, "Nothing says which side a row is on")
    rest(visitor)
    monkeypatch.setattr(data_wiring, "look_at_examples", held)
    visitor.fill("#own-positive textarea", "A look that is asked before the column is chosen")
    assert asked.wait(60)
    visitor.click("#column-label input")
    visitor.get_by_role("option", name="“rating”").click()
    go_on.set()
    preview(visitor, "Which side is meant by")
    expect(visitor.locator("#column-label input")).to_have_value("“rating”")
    rest(visitor)


def test_bad_files_are_a_sentence_and_the_session_stays(visitor: Page, tmp_path: Path) -> None:
    before = figures(visitor)
    files = {
        "a.jsonl": (pickle.dumps({"x": 1}), "UTF-8"),
        "b.csv": (b"", "There is no example"),
        "c.zip": (b"PK\x03\x04" + bytes(1000), "a format that this program cannot read"),
        "d.csv": (b"one,two\n1,2\n", "none was understood as the prompt"),
        "e.json": (b"[" * 50_000, "not valid JSON"),
    }
    for name, (content, sentence) in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        upload(visitor, path)
        preview(visitor, sentence)
    visitor.click("#extract")
    expect(visitor.locator(".toast-body")).to_contain_text("not valid JSON", timeout=PATIENCE)
    assert figures(visitor) == before
    expect(visitor.locator("#status")).to_contain_text("Wanted: refuses", timeout=PATIENCE)
    upload(visitor, rated(tmp_path))
    preview(visitor, "24 examples")  # the next file finds the page as it was
    rest(visitor)


def test_what_a_file_says_is_never_run(visitor: Page, tmp_path: Path) -> None:
    evil = "<img src=x onerror=\"document.title='run'\"> ${document.title='run'} {{1+1}}"
    rows = [{"prompt": evil, "response": f"{evil} {n}", "label": n % 2, evil: evil} for n in range(4)]
    path = tmp_path / "evil.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    upload(visitor, path)
    preview(visitor, "2 + 2 examples")
    expect(visitor.locator("#check .tokens").first).to_contain_text("onerror", timeout=PATIENCE)
    visitor.fill("#own-positive textarea", evil)
    visitor.wait_for_timeout(800)
    assert visitor.title() != "run" and not visitor.locator("#own img, #check img").count()


def held_after_the_first(ended: threading.Event) -> Callable[..., tuple[OwnResponse, ...]]:
    """The model's own answers that hold still after the first of them until they are stopped, and say that they end."""

    def answer(*values: Any, progress: Progress, stop: threading.Event, **options: Any) -> tuple[OwnResponse, ...]:
        def hold(done: int, total: int) -> None:
            progress(done, total)
            assert not done or stop.wait(60), "no Stop came"

        try:
            return own_responses(*values, progress=hold, stop=stop, **options)
        finally:
            ended.set()

    return answer


def test_the_model_answers_stops_goes_on_and_its_answers_are_put_on_sides(
    visitor: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behavior, ended = shared_store().behavior("safety"), threading.Event()
    for side, examples in (("file", behavior.contrast.positive), ("second", behavior.contrast.negative)):
        path = tmp_path / f"{side}.txt"
        path.write_text("\n".join(example.prompt for example in examples[:40]))
        upload(visitor, path, f"own-{side}")
    preview(visitor, words.PROMPTS_ONLY)
    visitor.fill("#answer-length input", "40")
    visitor.fill("#answer-samples input", "4")
    visitor.press("#answer-samples input", "Tab")
    with monkeypatch.context() as held:
        held.setattr(data_handlers, "own_responses", held_after_the_first(ended))
        visitor.click("#generate")
        visitor.wait_for_function("() => document.querySelector('.answer-table')?.dataset.rows > 0", timeout=PATIENCE)
        visitor.click("#stop-generate")
        assert ended.wait(60), "the model goes on behind the visitor's back"
    expect(visitor.locator("#generate")).to_have_text(words.GO_ON, timeout=PATIENCE)
    expect(visitor.locator("#generate")).to_be_enabled(timeout=PATIENCE)
    expect(visitor.locator("#answers-status")).to_contain_text("they stay", timeout=PATIENCE)
    expect(visitor.locator("#answers-status")).to_contain_text("of 320", timeout=PATIENCE)
    visitor.click("#generate")
    expect(visitor.locator("#answers-status")).to_contain_text("All 320 answers", timeout=PATIENCE)
    preview(visitor, words.USES_ANSWERS)
    preview(visitor, f"{words.WANTED_SIDE} 160")
    assert visitor.locator(".answer-table td:nth-child(1) input:checked").count() == 150, "evenly picked"
    visitor.get_by_label(words.RULES["length"]).check()
    settled(visitor)
    preview(visitor, f"{words.WANTED_SIDE} ")
    expect(visitor.locator("#answer-share")).to_be_visible(timeout=PATIENCE)
    visitor.get_by_label(words.RULES["prompt"]).check()
    settled(visitor)
    preview(visitor, f"{words.WANTED_SIDE} 160")
    visitor.get_by_label("answer 1: opposite").check()
    preview(visitor, f"{words.WANTED_SIDE} 159")
    expect(visitor.get_by_label("answer 1: wanted")).not_to_be_checked(timeout=PATIENCE)
    expect(visitor.get_by_label(words.RULES["hand"])).to_be_checked(timeout=PATIENCE)
    visitor.click("#extract-answers")
    expect(visitor.locator("#status")).to_contain_text("159 + 161 examples", timeout=PATIENCE)
    rest(visitor)


def test_bundled_examples_are_checked_on_demand(page: Page, address: str) -> None:
    arrive(page, address)
    expect(page.locator("#check")).to_be_hidden()
    page.click("#check-examples")
    expect(page.locator("#check .findings")).to_contain_text("120 positive examples", timeout=PATIENCE)
    page.click("#measure-trust")
    expect(page.locator("#trust .lead")).to_contain_text("These examples hold", timeout=PATIENCE)
    assert page.locator("#trust figure svg").count() == 2
    page.click("#check-examples")
    expect(page.locator("#check")).to_be_hidden(timeout=PATIENCE)


def test_two_visitors_see_their_own_examples_alone(browser: Browser, address: str) -> None:
    with watched_page(browser) as one, watched_page(browser) as two:
        for page, word in ((one, "plums"), (two, "pears")):
            with_own(arrive(page, address))
            page.fill("#own-positive textarea", f"Hi | I like {word}.")
            page.fill("#own-negative textarea", f"Hi | I hate {word}.")
        preview(one, "plums"), preview(two, "pears")
        assert "pears" not in one.inner_text("#own") and "plums" not in two.inner_text("#own")


def test_a_phone_shows_it_all_without_scrolling_sideways(browser: Browser, address: str, tmp_path: Path) -> None:
    with watched_page(browser, viewport=PHONE, has_touch=True) as page:
        with_own(arrive(page, address))
        upload(page, rated(tmp_path))
        preview(page, "24 examples")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        rest(page)
