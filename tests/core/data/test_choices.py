"""Choices with labels, as TruthfulQA's multiple-choice files hold them."""

import json

import pytest

from s2e_core import ContrastDataError
from s2e_core.data.choices import read_choices

EXPECTED = (("Yes.", True), ("No.", False), ("It's 5.", False))
LISTS = {"choices": ["Yes.", "No.", "It's 5."], "labels": [1, 0, 0]}
BY_TEXT = {"Yes.": 1, "No.": 0, "It's 5.": 0}


@pytest.mark.parametrize(
    "cell",
    [LISTS, BY_TEXT, json.dumps(LISTS), str(LISTS), str(BY_TEXT), {**LISTS, "labels": [True, False, False]},
     {**LISTS, "labels": ["true", "False", 0.0]}],
)  # fmt: skip
def test_every_spelling_gives_the_same_choices(cell):
    assert read_choices(cell, "Row 1") == EXPECTED


@pytest.mark.parametrize(
    "cell",
    [None, 3, [], "", "Yes.", "{", {"choices": ["a"], "labels": [1, 0]}, {"choices": "a", "labels": [1]},
     {"choices": ["a"], "labels": ["A"]}, {"a": 2}, {"a": None}, {"choices": [3], "labels": [1]},
     {"text": ["a"], "label": ["A"]}],
)  # fmt: skip
def test_anything_else_gets_a_sentence_that_names_the_place(cell):
    with pytest.raises(ContrastDataError, match="^Row 7, column targets: expected choices with a label each"):
        read_choices(cell, "Row 7, column targets")
