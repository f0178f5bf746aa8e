"""A student in front of a lesson: reads the card, predicts, and does on the page what the card points at.

Knows the card of a lesson and the ids of the page; the figures a test compares come from the page itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page

from tests.ui.browser import PATIENCE
from tests.ui.studio_page import set_slider

Choose = Callable[[str, list[str]], int]
"""(the text of the card, the options) to the option that the student takes."""
MOST_STEPS = 30


class Student:
    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, address: str, lesson: int, more: str = "") -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.goto(f"{address}/?lesson={lesson}&lang=en{more}")
        self.page.wait_for_selector("#lesson .primary")

    @property
    def kind(self) -> str:
        return self.page.get_attribute("#lesson", "data-kind") or ""

    @property
    def step(self) -> str:
        return self.page.inner_text("#lesson .eyebrow")

    @property
    def text(self) -> str:
        return self.page.inner_text("#lesson .lesson-body")

    @property
    def target(self) -> str:
        return str(self.page.evaluate("document.querySelector('[data-lesson-target]')?.id ?? ''"))

    def choose(self, option: int) -> None:
        self.page.locator("#lesson .choices button").nth(option).click()

    def options(self) -> list[str]:
        return self.page.locator("#lesson .choices button").all_inner_texts()

    def next(self) -> None:
        self.page.click("#lesson .primary")

    def goes_on(self, before: str) -> None:
        """Until the card shows another step than `before`."""
        self.page.wait_for_function(
            "before => document.querySelector('#lesson .eyebrow').innerText !== before", arg=before, timeout=PATIENCE
        )

    def do(self) -> None:
        """What the card asks for, at the control that it points at."""
        page, target, text = self.page, self.target, self.text
        if target == "strength":
            set_slider(page, "strength", 0 if "zero" in text else 1.5)
        elif target in ("neurons-count", "gamma"):
            found = re.search(r"[\d,]+(?:\.\d+)?", text)
            assert found, text
            page.fill(f"#{target} input[type=number]", found[0].replace(",", ""))
            page.press(f"#{target} input[type=number]", "Tab")
        elif target == "seed":
            page.fill("#seed input", "7")
            page.press("#seed input", "Tab")
        elif target in ("steered", "placebo"):
            page.click(f"#{target} input")
        elif target == "family":
            page.select_option("#family select", "baked")
        elif target == "neurons-ranked":
            page.focus("#neurons-ranked [role=application]")
            page.keyboard.press("Home")
            page.keyboard.press("Enter")
        elif target == "rolls":
            page.locator("#rolls .roll-column").nth(1).locator(".roll").nth(3).click()
        else:
            page.click(f"#{target}")

    def walk(self, choose: Choose, until: str = "play", target: str = "") -> list[tuple[str, str]]:
        """(kind, text) of every step to the one of kind `until`, or that points at `target`, which is left as it is."""
        seen = []
        for _ in range(MOST_STEPS):
            before, kind = self.step, self.kind
            seen.append((kind, self.text))
            if kind == until or (target and self.target == target):
                return seen
            if kind in ("claim", "conclude"):
                self.next()
            elif kind == "predict":
                self.choose(choose(self.text, self.options()))
            elif kind == "question":
                for option in range(len(self.options())):
                    self.choose(option)
                    seen.append(("answer", self.page.inner_text("#lesson .feedback")))
                    if self.page.locator("#lesson .primary").count():
                        break
                self.next()
            else:
                self.do()
            self.goes_on(before)
        raise AssertionError(f"the lesson has no end: {seen}")
