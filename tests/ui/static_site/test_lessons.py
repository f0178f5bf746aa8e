"""The lessons on the static site: finished by a student's own actions, with no server to ask."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui.browser import watched_page
from tests.ui.lessons.student import Student


def told(page: Page) -> list[str]:
    return page.locator("#rolls .told").all_inner_texts()


@pytest.mark.parametrize("lesson", [2, 3, 4, 5])
def test_a_lesson_is_finished_without_a_server(page: Page, site: str, lesson: int) -> None:
    student = Student(page)
    student.open(site.rstrip("/"), lesson)
    seen = student.walk(lambda text, options: 0)
    kinds = [kind for kind, _ in seen]
    assert kinds[0] == "claim" and kinds[-1] == "play" and {"predict", "act", "conclude", "question"} <= set(kinds)
    assert kinds.count("conclude") == kinds.count("predict"), "every prediction is answered"
    assert not any(word in text for _, text in seen for word in ("undefined", "NaN", "null", "{", "*"))
    assert not any(word in seen[-1][1] for word in ("Measure", "Which components", "Extract")), "what only the app has"


def test_the_first_lesson_tells_what_this_page_counted(page: Page, site: str) -> None:
    student = Student(page)
    page.goto(site)
    expect(page.locator(".lesson-entry")).to_have_count(5)
    assert page.locator(".lesson-room").count() == 0, "a class needs a server to meet at"
    page.click("a.learn")
    page.wait_for_selector("#lesson .primary")
    assert "lesson=1" in page.url
    expect(page.locator("#texts")).to_have_attribute("data-veil", re.compile("Ask 8 times"))
    student.walk(lambda text, options: 1, until="conclude")
    assert told(page)[0] == told(page)[1] and "Your prediction was right" in student.text
    page.wait_for_timeout(700)
    expect(page.locator(".rolls:not(.outdated)")).to_be_visible()  # also when the texts were written anew
    before = student.step
    student.next()
    student.goes_on(before)
    student.choose(0)
    student.walk(lambda text, options: 0, until="conclude")
    original, edited = (one.split(": ")[1] for one in told(page))
    assert int(edited.split()[0]) > int(original.split()[0]), "or the lesson shows nothing"
    assert f"Original: {original}. Edited: {edited}." in student.text
    expect(page.locator("#texts .texts:not(.outdated)")).to_be_visible()
    shown = told(page)
    student.next()
    page.keyboard.press("Escape")
    expect(page.locator("#lesson")).to_be_hidden()
    assert page.is_checked("#follow input") and told(page) == shown


def test_without_run_on_every_change_a_dial_brings_no_answers(page: Page, site: str) -> None:
    page.goto(site)
    page.wait_for_selector("#rolls .told")
    page.uncheck("#follow input")
    dial = page.locator("#strength input[type=range]")
    dial.press("Home")
    expect(page.locator(".texts.outdated")).to_be_visible()
    expect(page.locator(".rolls.outdated")).to_be_visible()
    page.wait_for_timeout(900)
    expect(page.locator(".rolls.outdated")).to_be_visible()
    page.click("#run")
    expect(page.locator(".texts:not(.outdated)")).to_be_visible()
    expect(page.locator(".rolls.outdated")).to_be_visible()
    page.click("#ask-eight")
    expect(page.locator(".rolls:not(.outdated)[aria-busy=false]")).to_be_visible()
    assert told(page)[0] == told(page)[1], "no strength, no change"
    dial.press("End")
    page.check("#follow input")
    expect(page.locator(".rolls:not(.outdated)[aria-busy=false]")).to_be_visible()
    assert told(page)[0] != told(page)[1]


def test_a_lesson_speaks_german_and_goes_on_after_a_reload(browser: Browser, site: str) -> None:
    with watched_page(browser, locale="de-DE") as page:
        page.goto(f"{site}?lesson=1")
        page.wait_for_selector("#lesson .primary")
        assert page.get_attribute("#lesson", "lang") == "de"
        page.click("#lesson .primary")
        expect(page.locator("#lesson .eyebrow")).to_have_text("Schritt 2 von 11")
        page.locator("#lesson .choices button").first.click()
        page.reload()
        expect(page.locator("#lesson .eyebrow")).to_have_text("Schritt 3 von 11")


def test_answers_that_were_still_on_their_way_end_no_step(page: Page, site: str) -> None:
    student = Student(page)
    student.open(site.rstrip("/"), 1)
    student.walk(lambda text, options: 1, target="ask-eight")
    page.reload()
    page.wait_for_selector("[data-lesson-target]")
    step = student.step
    page.wait_for_timeout(3000)  # the eight answers of the arrival come in this time
    assert student.step == step and student.kind == "act"
    student.do()
    student.goes_on(step)
    assert student.kind == "conclude"


def test_whoever_turns_the_sides_back_goes_on_in_the_lesson(page: Page, site: str) -> None:
    student = Student(page)
    student.open(site.rstrip("/"), 1)
    student.next()
    step = student.step
    page.check("#swap input")
    expect(page.locator("#lesson .lesson-body")).to_contain_text("another behaviour")
    page.uncheck("#swap input")
    expect(page.locator("#lesson .choices button")).to_have_count(3)
    assert student.step == step and student.kind == "predict"


def test_a_count_without_its_third_column_ends_no_step(page: Page, site: str) -> None:
    student = Student(page)
    student.open(site.rstrip("/"), 4)
    student.walk(lambda text, options: 1, target="ask-eight")
    step = student.step
    page.uncheck("#steered input")
    page.click("#ask-eight")
    expect(page.locator(".rolls:not(.outdated)[aria-busy=false]")).to_be_visible()
    page.wait_for_timeout(1000)
    assert student.step == step
    page.check("#steered input")
    page.click("#ask-eight")
    student.goes_on(step)
    assert student.kind == "conclude" and "undefined" not in student.text
