"""The rules that put responses on sides, on responses written by hand."""

import pytest

from s2e_core import ContrastDataError, Example, SettingsError
from s2e_core.responses import (
    OwnResponse,
    reference_row,
    sides_by_agreement,
    sides_by_hand,
    sides_by_length,
    sides_by_prompt,
)


def response(text, n_tokens=5, *, n_thought=0, in_thought=False, finished=True):
    return OwnResponse(Example("Q?", text), n_tokens, n_thought, in_thought, finished)


def texts(contrast):
    return tuple([example.response for example in side] for side in (contrast.positive, contrast.negative))


def test_by_prompt_every_sound_response_keeps_its_side():
    positive = [response("I cannot."), response(" ... "), response("Sorry, no", finished=False)]
    contrast = sides_by_prompt(positive, [response("Sure!"), response("la " * 60)], name="mine")
    assert texts(contrast) == (["I cannot.", "Sorry, no"], ["Sure!"]) and contrast.name == "mine"
    notes = " ".join(contrast.notes)
    assert "2 responses are on the positive side and 1 on the negative." in notes
    assert "have no word, and were left out: 1." in notes and "over and over, and were left out: 1." in notes
    assert "cut off at the maximum length, and may still count: 1." in notes


def test_by_agreement_the_true_and_false_lists_decide():
    row = reference_row(true=["in Paris"], false=["in Rome"])
    said = ["It is in Paris.", "It is in Rome.", "In Paris or in Rome.", "Who knows?", ""]
    contrast = sides_by_agreement([response(text) for text in said], [row] * 5)
    assert texts(contrast) == ([said[0]], [said[1]])
    notes = " ".join(contrast.notes)
    assert "something false, and were left out: 1." in notes
    assert "match no reference, and were left out: 1." in notes and "have no word" in notes


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        (42, "So it is 42.", "So it is 43."),
        ("1,000", "The answer is 1000.", "The answer is 100."),
        ("3 + 4 = 7\n#### 7", "The answer is 7.", "The answer is 3."),
        ("Paris", "It is Paris, of course.", "It is Rome."),
    ],
)
def test_by_agreement_a_reference_answer_decides(reference, right, wrong):
    contrast = sides_by_agreement([response(wrong), response(right)], [reference_row(reference)] * 2)
    assert texts(contrast) == ([right], [wrong])


def test_what_is_thought_is_not_what_is_answered():
    thought = [response(f"maybe 42</think>It is {n}.", in_thought=True) for n in (42, 43)]
    assert texts(sides_by_agreement(thought, [reference_row(42)] * 2))[1] == ["maybe 42</think>It is 43."]
    cut = response("it may be 42", in_thought=True)
    with pytest.raises(ContrastDataError, match="0 responses are on the positive side"):
        sides_by_agreement([cut, thought[1]], [reference_row(42)] * 2)


def test_by_length_the_shortest_and_longest_right_ones_are_taken():
    pool = [response(f"It is 42, the number {n}: 42", n_tokens=n) for n in range(40, 0, -1)]
    wrong = [response("It is 1.", n_tokens=0), response("It is 1.", n_tokens=100)]
    cut = [response("It is 42", n_tokens=200, finished=False)]
    rows = [reference_row(42)] * 43
    contrast = sides_by_length([*pool, *wrong, *cut], rows)
    assert texts(contrast) == (
        ["It is 42, the number 1: 42", "It is 42, the number 2: 42"],
        ["It is 42, the number 39: 42", "It is 42, the number 40: 42"],
    )
    notes = " ".join(contrast.notes)
    shortest = sides_by_length(pool, share=0.01).notes
    assert "Of 40 responses the shortest has 1 token, the longest 40." in shortest
    assert shortest[0] == "1 response is on the positive side and 1 on the negative."
    assert "not right, and were left out: 2." in notes and "their length is unknown: 1." in notes
    assert "Of 40 responses the 2 shortest have 1 to 2 tokens, the 2 longest 39 to 40." in notes


def test_by_length_counts_the_thought_where_there_is_one():
    pool = [response(f"answer {n}", n_tokens=100 - n, n_thought=n) for n in (3, 1, 2)] + [response("none", 1)]
    contrast = sides_by_length(pool, share=0.34)
    assert texts(contrast) == (["answer 1"], ["answer 3"])
    assert "contain no thought, as most others do, and were left out: 1." in " ".join(contrast.notes)


def test_by_length_sides_never_overlap_and_equal_lengths_are_told():
    pool = [response(f"answer {n}") for n in range(5)]
    contrast = sides_by_length(pool, share=0.5)
    assert not set(texts(contrast)[0]) & set(texts(contrast)[1])
    assert "differ only by chance" in " ".join(contrast.notes)
    assert "Of 5 responses the 2 shortest have 5 tokens, the 2 longest 5." in contrast.notes
    for share in (0, 0.51, -1):
        with pytest.raises(SettingsError, match="share"):
            sides_by_length(pool, share=share)
    with pytest.raises(ContrastDataError, match="1 response is left"):
        sides_by_length(pool[:1])


def test_by_hand_the_marks_decide():
    contrast = sides_by_hand([response("a"), response("b"), response("c"), response("?")], [False, True, None, True])
    assert texts(contrast) == (["b"], ["a"])
    assert "left out by hand: 1." in " ".join(contrast.notes)


def test_what_makes_no_contrast_set_is_an_error():
    with pytest.raises(ContrastDataError, match="0 on the negative"):
        sides_by_hand([response("a")], [True])
    with pytest.raises(SettingsError, match="1 responses and 2 marks"):
        sides_by_hand([response("a")], [True, False])
    with pytest.raises(SettingsError, match="empty"):
        reference_row("  ")
