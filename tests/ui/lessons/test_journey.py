"""The five lessons as students go through them, on the bundled model: every figure is the page's own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui.browser import PHONE, settled, watched_page
from tests.ui.lessons.student import Student
from tests.ui.page.test_accessibility import problems
from tests.ui.running import running_app, shared_store
from tests.ui.studio_page import arrive, figures, set_slider


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """One tab for all five lessons, as a student has it."""
    with watched_page(browser) as page:
        yield page


def told(page: Page) -> list[str]:
    """The counts that stand above the judged answers."""
    return page.locator("#rolls .told").all_inner_texts()


def first(_text: str, _options: list[str]) -> int:
    return 0


@pytest.mark.parametrize("lesson", [2, 3, 4, 5])
def test_a_lesson_is_finished_by_the_persons_own_actions(tab: Page, address: str, lesson: int) -> None:
    student = Student(tab)
    student.open(address, lesson)
    seen = student.walk(first)
    kinds = [kind for kind, _ in seen]
    assert kinds[0] == "claim" and kinds[-1] == "play" and {"predict", "act", "conclude", "question"} <= set(kinds)
    assert kinds.count("conclude") == kinds.count("predict"), "every prediction is answered"
    assert not any(word in text for _, text in seen for word in ("undefined", "NaN", "null", "{", "*"))
    settled(tab)


def test_a_right_and_a_wrong_prediction_are_told_apart_by_what_the_page_counted(tab: Page, address: str) -> None:
    student = Student(tab)
    student.open(address, 1)
    facts = tab.evaluate("() => { const {facts} = window.steer2edit.state(); return [facts.d_model, facts.n_layers]; }")
    assert [int(found) for found in re.findall(r"\d+", student.text)] == facts
    student.next()
    student.choose(1)  # just as many
    assert student.kind == "act" and student.target == "strength"
    tab.wait_for_timeout(700)
    assert student.kind == "act" and tab.locator("#lesson .primary").count() == 0, "reading on is not enough"
    student.walk(first, until="conclude")
    original, edited = told(tab)
    assert original == edited and "Your prediction was right" in student.text
    assert student.text.count(original.removeprefix("refuses: ")) == 2
    before = student.step
    student.next()
    student.goes_on(before)
    assert student.options() == [str(n) for n in range(9)]
    student.choose(0)
    student.walk(first, until="conclude")
    edited = told(tab)[1].removeprefix("refuses: ")
    assert int(edited.split()[0]) > 1, "the edit must move the count for this test to mean anything"
    assert f"You predicted 0. It came out as {edited.split()[0]}." in student.text and edited in student.text
    student.next()
    student.choose(0)
    assert "Not quite" in tab.inner_text("#lesson .feedback") and tab.locator("#lesson .primary").count() == 0
    student.choose(1)
    assert "Yes." in tab.inner_text("#lesson .feedback")
    student.next()
    assert student.kind == "play"
    tab.click("#lesson .quiet")
    expect(tab.locator("#lesson")).to_be_hidden()
    assert tab.locator(".lesson-entry").first.get_attribute("data-done") == "true"


def test_no_answer_is_shown_before_it_is_predicted_and_asked_for(page: Page, address: str) -> None:
    student = Student(page)
    student.open(address, 1)
    expect(page.locator("#texts")).to_have_attribute("data-veil", re.compile("Ask 8 times"))
    expect(page.locator("#texts .texts")).to_be_hidden()
    expect(page.locator("#rolls")).to_be_hidden()
    assert page.is_checked("#follow input")
    student.next()
    student.choose(1)
    assert not page.is_checked("#follow input")
    before = student.step
    student.do()
    student.goes_on(before)
    settled(page)
    expect(page.locator("#rolls")).to_be_hidden()
    student.walk(first, until="conclude")
    expect(page.locator("#rolls .told").first).to_be_visible()
    expect(page.locator("#texts .texts:not(.outdated)")).to_be_visible()
    shown = told(page)
    student.next()
    student.choose(0)
    before = student.step
    student.do()
    student.goes_on(before)
    settled(page)
    assert told(page) == shown, "a moved dial brings no answers by itself"
    page.keyboard.press("Escape")
    assert page.is_checked("#follow input")
    settled(page)


def test_where_a_push_does_nothing_another_question_is_tried(page: Page, address: str) -> None:
    student = Student(page)
    student.open(address, 1)
    while student.target != "ask-eight" or "again" not in student.text:
        before = student.step
        if student.kind in ("claim", "conclude"):
            student.next()
        elif student.kind == "predict":
            student.choose(0)
        else:
            student.do()
        student.goes_on(before)
    set_slider(page, "strength", 0)  # whoever turns it back again
    prompt, before = page.input_value("#prompt textarea"), student.step
    student.do()
    student.goes_on(before)
    assert "no clear change" in student.text and "You predicted" in student.text
    before = student.step
    page.get_by_role("button", name="Try another question").click()
    student.goes_on(before)
    assert page.input_value("#prompt textarea") != prompt and student.target == "ask-eight"
    set_slider(page, "strength", 1.5)
    before = student.step
    student.do()
    student.goes_on(before)
    assert student.kind == "conclude" and "You predicted" not in student.text
    original, edited = (one.removeprefix("refuses: ") for one in told(page))
    assert f"Original: {original}. Edited: {edited}." in student.text
    settled(page)


def test_more_neurons_than_the_slider_has_can_be_typed(page: Page, address: str) -> None:
    arrive(page, address)
    neurons = page.evaluate("() => window.steer2edit.state().facts.kinds.neurons.count")
    slider = page.locator("#neurons-count input[type=range]")
    assert int(slider.get_attribute("max") or 0) < neurons
    page.fill("#neurons-count input[type=number]", str(neurons - 100))
    page.press("#neurons-count input[type=number]", "Tab")
    settled(page)
    assert figures(page)[1] == neurons - 100 == int(slider.input_value())


def test_where_length_is_the_behaviour_the_lesson_speaks_of_length(page: Page, address: str) -> None:
    student = Student(page)
    student.open(address, 1)
    page.click("#behavior input")
    page.locator("[role=option]", has_text="reasoning").click()
    settled(page)
    expect(page.locator("#lesson .lesson-body")).to_contain_text("another behaviour")
    student.next()
    page.wait_for_function("() => /short/.test(document.querySelector('#lesson .lesson-body').innerText)")
    seen = student.walk(first, until="act")
    assert [text for kind, text in seen if kind == "predict"][0].count("long") >= 2 and "Longer" in seen[1][1]


def test_the_keyboard_alone_is_enough(page: Page, address: str) -> None:
    student = Student(page)
    student.open(address, 1)

    def press_in_card(name: str) -> None:
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText") == name:
                page.keyboard.press("Enter")
                return
        raise AssertionError(f"no key reaches {name}")

    assert page.evaluate("document.activeElement.id") == "lesson-title"
    press_in_card("Begin")
    expect(page.locator("#lesson[data-kind=predict]")).to_be_visible()
    press_in_card("Just as many")
    expect(page.locator("#strength input[type=range]")).to_be_focused()
    assert "Move Strength" in page.inner_text("#lesson [role=status]"), "the step is read out"
    page.keyboard.press("Home")
    expect(page.locator("#ask-eight")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#lesson-title")).to_be_focused()
    assert student.kind == "conclude" and "Your prediction was right" in page.inner_text("#lesson [role=status]")
    press_in_card("Continue")
    press_in_card("8")
    expect(page.locator("#strength input[type=range]")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Escape")
    expect(page.locator("#lesson")).to_be_hidden()
    assert "lesson" not in page.evaluate("location.search") and page.locator("[data-lesson-target]").count() == 0
    settled(page)


def test_a_reload_goes_on_where_it_was_and_the_language_can_change(page: Page, address: str) -> None:
    student = Student(page)
    student.open(address, 1)
    student.next()
    student.choose(0)
    assert student.step == "Step 3 of 11"
    settled(page)
    page.reload()
    page.wait_for_selector("[data-lesson-target]")
    assert student.step == "Step 3 of 11" and student.target == "strength"
    page.select_option(".lesson-language select", "de")
    expect(page.locator("#lesson .eyebrow")).to_have_text("Schritt 3 von 11")
    assert page.get_attribute("#lesson", "lang") == "de"
    set_to_zero = page.locator("#strength input[type=number]")
    set_to_zero.fill("0")
    set_to_zero.press("Tab")
    expect(page.locator("#lesson .eyebrow")).to_have_text("Schritt 4 von 11")
    settled(page)


def test_a_class_predicts_together_and_the_teacher_reveals(browser: Browser, address: str) -> None:
    with watched_page(browser) as teacher:
        host = Student(teacher)
        arrive(teacher, f"{address}/?lang=en")
        teacher.locator(".lesson-room summary").click()
        teacher.get_by_role("button", name="Open a room").click()
        teacher.wait_for_selector("#lesson .primary")
        code = teacher.inner_text(".room-code")
        link = teacher.inner_text(".room-link")
        pupil = teacher.context.new_page()
        guest = Student(pupil)
        arrive(pupil, f"{address}/?lang=en")
        pupil.locator(".lesson-room summary").click()
        pupil.fill(".lesson-room input", "WRONGCODE")
        pupil.get_by_role("button", name="Join", exact=True).click()
        expect(pupil.locator(".lesson-room [role=status]")).to_contain_text("no room with this code")
        pupil.fill(".lesson-room input", code.lower())
        pupil.get_by_role("button", name="Join", exact=True).click()
        pupil.wait_for_selector("#lesson .primary")
        assert f"room={code.replace(' ', '')}" in link and f"room={code.replace(' ', '')}" in pupil.url
        for student, option in ((host, 0), (guest, 1)):
            student.next()
            student.choose(option)
        expect(pupil.locator("#lesson .waiting")).to_have_text(
            "Sent. Predictions so far: 2. Your teacher will reveal them."
        )
        assert pupil.locator(".histogram").count() == 0 and not pupil.get_by_role("button", name="Reveal").is_visible()
        teacher.get_by_role("button", name="Reveal together").click()
        for page, mine in ((teacher, 0), (pupil, 1)):
            expect(page.locator(".histogram b")).to_have_text(["1", "1", "0"])
            expect(page.locator(".histogram li").nth(mine)).to_have_class("mine")
        assert problems(pupil) == []
        guest.next()
        assert guest.target == "strength"


@pytest.mark.parametrize(("size", "theme"), [(None, "dark"), (PHONE, "light")])
def test_a_lesson_shuts_nobody_out(browser: Browser, address: str, size: dict[str, int] | None, theme: str) -> None:
    with watched_page(browser, **({"viewport": size} if size else {})) as page:
        student = Student(page)
        student.open(address, 1, f"&__theme={theme}")
        page.locator(".lesson-room").evaluate("fold => { fold.open = true; }")
        settled(page)
        assert problems(page) == []
        student.next()
        student.choose(1)
        page.wait_for_timeout(400)
        assert student.target == "strength" and problems(page) == []
        box, card = page.locator("#strength").bounding_box(), page.locator("#lesson").bounding_box()
        assert box and card and (box["x"] + box["width"] <= card["x"] or box["y"] + box["height"] <= card["y"])
