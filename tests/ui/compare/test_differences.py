"""Marked words are those that the other text does not have, and the text itself is never changed."""

from __future__ import annotations

import pytest

from components.compare.differences import MAX_WORDS, changed_share, differences


@pytest.mark.parametrize(
    ("reference", "text", "new", "gone"),
    [
        ("The day was good.", "The day was bad.", ["bad"], []),
        ("The day was good.", "The day was good.", [], []),
        ("A b c", "A x y c", ["x y"], []),
        ("", "new words", ["new words"], []),
        ("old words", "", [], ["old words"]),
        ("I saw my new shoes today", "I saw today", [], ["my new shoes"]),
        ("It is over. Really", "It is over.", [], ["Really"]),
        ("I don't know", "I don’t know", ["don’t"], []),
        ("one two", "one  two", [], []),
        ("<b>x</b>", "<b>${y}</b>", ["${y}"], []),
    ],
)
def test_the_words_that_differ_are_marked(reference: str, text: str, new: list[str], gone: list[str]) -> None:
    segments = differences(reference, text)
    assert "".join(part for part, mark in segments if mark != "gone") == text
    assert [part for part, mark in segments if mark == "new"] == new
    assert [part for part, mark in segments if mark == "gone"] == gone


def test_texts_with_other_words_always_have_a_mark_and_a_share() -> None:
    texts = ["a b c", "a c", "c b a", "a b c d", "", "x"]
    for reference in texts:
        for text in texts:
            marked = any(mark for _, mark in differences(reference, text))
            assert marked == (reference != text) == (changed_share(reference, text) > 0)


def test_the_share_counts_words_of_the_longer_text() -> None:
    assert changed_share("a b c d", "a b x d") == pytest.approx(1 / 4)
    assert changed_share("a b c d", "a") == pytest.approx(3 / 4)
    assert changed_share("", "") == 0


def test_a_text_too_long_to_compare_is_marked_as_a_whole() -> None:
    long = "word " * (4 * MAX_WORDS)
    assert differences("short", long) == [(long, "new")]
