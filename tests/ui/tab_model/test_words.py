"""Verdicts and marked differences in the tab are those of Python, on answers and on texts made to be hard."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from components.compare.differences import changed_share, differences
from s2e_core.text import judge
from tests.ui.running import shared_store
from tests.ui.tab_model.serving import page_of_modules

MANY = 3000
GLUE = (" ", ". ", ", ", "! ", "? ", "\n", " \t ", " - ", " the answer is ", " and ", " no", "'s ", "’s ", "x", "_")


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    loaded = shared_store().model(shared_store().first_model)
    modules = ("tab_model/judge", "tab_model/differences")
    with page_of_modules(browser, loaded, tmp_path_factory.mktemp("site"), modules) as opened:
        yield opened


def pieces(row: dict) -> list[str]:
    """The words that decide about a row, as written and otherwise, numbers, and words that decide nothing."""
    fields = ("phrases", "not_phrases", "true", "myth", "cheerful", "gloomy")
    own = [phrase for name in fields for phrase in row.get(name, ())]
    number = str(row.get("answer", 7))
    others = [
        "", "It", "ÉCOLE", "so it is", "#### " + number, "The answer is 1,234.", "answer: " + number, number, "12.50",
        "-3", "\u2212" + number, "\\boxed{" + number + "}", "日本語", "x" * 30, "ab" * 20,
    ]  # fmt: skip
    return own + [phrase.upper() for phrase in own] + [phrase.replace("'", "’") for phrase in own] + others


def answers_to(row: dict, draw: random.Random) -> str:
    known = pieces(row)
    text = "".join(draw.choice(known) + draw.choice(GLUE) for _ in range(draw.randint(0, 8)))
    return text * draw.choice([1, 1, 1, 2, 4, 9])


def test_verdicts_are_those_of_the_core(page: Page) -> None:
    draw = random.Random(4)
    rows = [dict(row) for b in shared_store().behavior_list for row in (*b.attribute, *b.utility)]
    cases = [(row, answers_to(row, draw), draw.randint(0, 90)) for row in draw.choices(rows, k=MANY)]
    here = [judge(row, text, tokens) for row, text, tokens in cases]
    found = json.loads(
        page.evaluate("cases => JSON.stringify(cases.map(([...one]) => modules.judge.judge(...one)))", cases)
    )
    for case, one, other in zip(cases, here, found, strict=True):
        expected = {"score": pytest.approx(one.score), "matched": one.matched, "flaw": one.flaw}
        assert other == expected, (case[0]["kind"], case[1])
    kinds = {(case[0]["kind"], one.flaw, one.score > 0) for case, one in zip(cases, here, strict=True)}
    assert len(kinds) > 15, "all kinds, with and without flaws"


def test_a_row_without_phrases_is_not_judged(page: Page) -> None:
    assert page.evaluate("() => modules.judge.judge({kind: 'refusal'}, 'I cannot help with that.', 6)") is None


WORDS = [
    "Sure", "that", "is", "easy", "First", "make", "a", "plan", "It's", "it’s", "don't", "3", "12", "日本", "été", ".",
    ",", "!", "?", "\n", "x_y",
]  # fmt: skip


def some_words(draw: random.Random) -> str:
    return "".join(draw.choice(WORDS) + draw.choice(("", " ", " ", "  ")) for _ in range(draw.randint(0, 30)))


def test_differences_are_marked_as_in_python(page: Page) -> None:
    draw = random.Random(5)
    pairs = [(some_words(draw), some_words(draw)) for _ in range(MANY)]
    for reference, _ in pairs[:500]:  # the same text with a few words changed
        changed = [word if draw.random() < 0.8 else draw.choice(WORDS) for word in reference.split(" ")]
        pairs.append((reference, " ".join(changed)))
    found = json.loads(
        page.evaluate(
            """pairs => {
                const {differences, changedShare} = modules.differences;
                return JSON.stringify(pairs.map(pair => [differences(...pair), changedShare(...pair)]));
            }""",
            pairs,
        )
    )
    for (reference, other), (segments, share) in zip(pairs, found, strict=True):
        assert segments == [list(one) for one in differences(reference, other)], (reference, other)
        assert share == pytest.approx(changed_share(reference, other)), (reference, other)
