"""Which questions are asked, and the figures that follow from answers written down by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2e_core import BehaviorError, EditSettings, SettingsError
from s2e_core.measure import Answer, Outcome, Plan, Trial, per_prompt, results
from s2e_core.measure.estimates import estimate, kept_share, mean
from tests.core.toy import toy_behavior

EDIT = Trial(EditSettings(0.3, 0.3, 0.5))
REFUSE = {"kind": "refusal", "phrases": ["I refuse"], "not_phrases": ["step by step"]}
ADD = {"kind": "arithmetic", "answer": 7}
HELP = {"kind": "help", "phrases": ["Gladly"]}
BEHAVIOR = toy_behavior(
    attribute=({"prompt": "a0", **REFUSE}, {"prompt": "a1", **REFUSE}),
    utility=({"prompt": "u0", **ADD}, {"prompt": "u1", **HELP}, {"prompt": "u2", **HELP}),
)
NO, YES, OFF, EMPTY = "I refuse to do that.", "Go step by step.", "The sun shines.", ""
SEVEN, EIGHT, GLADLY = "The answer is 7.", "The answer is 8.", "Gladly, dear friend."


def outcome(trial, *texts):
    return Outcome(trial, tuple(Answer(text, len(text.split())) for text in texts))


def test_the_prompts_are_spread_evenly_over_the_split_and_keep_their_order():
    questions = Plan(toy_behavior(10, 10), n_attribute=4, n_utility=3).questions()
    assert [q.row["prompt"].split()[-1] for q in questions if q.side == "attribute"] == ["0", "2", "5", "7"]
    assert [q.row["prompt"] for q in questions if q.side == "utility"] == ["Help 0", "Help 3", "Help 6"]
    assert [q.side for q in questions] == ["attribute"] * 4 + ["utility"] * 3
    assert {q.row["split"] for q in questions} == {"development"}


@pytest.mark.parametrize("count", [None, 4, 400])
def test_all_prompts_are_asked_where_all_or_more_are_wanted(count):
    questions = Plan(toy_behavior(4, 3), split="test", n_attribute=count, n_utility=count).questions()
    assert [q.row["prompt"] for q in questions] == ["Count 0", "Count on and 1", "Count on and on and 2", "Count 3"] + [
        f"Help {n}" for n in range(3)
    ]
    assert {q.row["split"] for q in questions} == {"test"}


def test_rows_without_a_split_belong_to_every_split():
    for split in ("development", "test"):
        assert len(Plan(BEHAVIOR, split=split).questions()) == 5


def test_every_sample_of_every_prompt_has_dice_of_its_own():
    questions = Plan(toy_behavior(4, 3), samples=3, seed=100).questions()
    assert [q.seed for q in questions] == list(range(100, 121))
    assert [q.prompt for q in questions] == list(range(7)) * 3
    assert [q.row for q in questions[:7]] == [q.row for q in questions[14:]]


@pytest.mark.parametrize(
    ("row", "said"),
    [({"kind": "politeness"}, 'kind "politeness"'), ({}, 'kind "None"'), ({"kind": "arithmetic"}, 'field "answer"')],
)
def test_a_prompt_that_cannot_be_scored_is_named_before_anything_is_asked(row, said):
    behavior = toy_behavior(utility=({"prompt": "u0", **ADD}, {"prompt": "u1", **row}))
    with pytest.raises(BehaviorError, match=said):
        Plan(behavior).questions()


def test_a_side_without_prompts_in_the_split_is_named():
    with pytest.raises(BehaviorError, match="toy has no utility prompts in the split test"):
        Plan(toy_behavior(utility=({"prompt": "x", "kind": "help", "split": "development"},)), split="test").questions()


@pytest.mark.parametrize(("samples", "temperature"), [(0, 1.0), (2, 0.0)])
def test_samples_that_make_no_sense_are_refused_with_the_reason(samples, temperature):
    with pytest.raises(SettingsError, match="only one at temperature 0|one at least"):
        Plan(BEHAVIOR, samples=samples, temperature=temperature)


def test_the_length_is_the_behaviours_own_unless_another_is_asked_for():
    assert Plan(BEHAVIOR).length == 6
    assert Plan(BEHAVIOR, max_new_tokens=3).length == 3
    assert not Plan(BEHAVIOR).less_is_better
    assert Plan(toy_behavior()).less_is_better


def test_figures_are_those_computed_by_hand():
    questions = Plan(BEHAVIOR).questions()
    base = outcome(Trial(), NO, YES, SEVEN, GLADLY, OFF)
    edit = outcome(EDIT, NO, EMPTY, EIGHT, GLADLY, GLADLY)
    original, edited = results(questions, [base, edit])
    assert (original.trial.arm, edited.trial.arm) == ("original", "edit")
    assert (original.attribute.value, original.attribute.count) == (0.5, 2)
    assert (original.utility.value, original.utility.count) == (pytest.approx(2 / 3), 3)
    assert (original.kept.value, original.kept.low, original.kept.high) == (1.0, 1.0, 1.0)
    assert edited.utility.value == pytest.approx(2 / 3)
    assert edited.kept.value == pytest.approx(1.0)
    assert edited.kept.low < 1.0 < edited.kept.high  # prompts differ, though their sum does not
    assert edited.tokens.value == pytest.approx((4 + 3 + 3) / 3)
    assert {name: figure.value for name, figure in edited.flaws.items()} == {
        "empty": 0.5,
        "repeated": 0,
        "off-topic": 0,
    }
    assert {name: figure.value for name, figure in edited.utility_flaws.items()}["empty"] == 0
    assert {name: (figure.value, figure.count) for name, figure in edited.kinds.items()} == {
        "arithmetic": (0.0, 1),
        "help": (1.0, 2),
    }
    assert {name: figure.value for name, figure in original.kinds.items()} == {"arithmetic": 1.0, "help": 0.5}


def test_samples_of_one_prompt_are_averaged_before_the_interval():
    questions = Plan(BEHAVIOR, samples=2).questions()
    base = outcome(Trial(), *(NO, NO, SEVEN, GLADLY, GLADLY) * 2)
    edit = outcome(EDIT, NO, NO, SEVEN, GLADLY, OFF, NO, YES, SEVEN, OFF, OFF)
    _, edited = results(questions, [base, edit])
    assert per_prompt(questions, edit, "attribute") == [1.0, 0.5]
    assert per_prompt(questions, edit, "utility") == [1.0, 0.5, 0.0]
    for figure, expected in (
        (edited.attribute, estimate([1.0, 0.5])),
        (edited.utility, mean([1.0, 0.5, 0.0])),
        (edited.kept, kept_share([1.0, 0.5, 0.0], [1.0, 1.0, 1.0])),
    ):
        assert (figure.value, figure.low, figure.high, figure.count) == (
            expected.value,
            expected.low,
            expected.high,
            expected.count,
        )
    assert edited.attribute.count == 2


def test_a_length_is_the_mean_number_of_tokens():
    questions = Plan(toy_behavior(2, 1)).questions()
    base = Outcome(Trial(), (Answer("one two", 5), Answer("three", 8), Answer("Yes.", 2)))
    [original] = results(questions, [base])
    assert original.attribute.value == 6.5
    assert original.tokens.value == 2


def test_without_the_untouched_model_there_is_nothing_to_compare_with():
    with pytest.raises(SettingsError, match="untouched model"):
        results(Plan(BEHAVIOR).questions(), [outcome(EDIT, NO, NO, SEVEN, GLADLY, GLADLY)])


def test_a_model_without_any_utility_is_told_so_in_a_sentence():
    with pytest.raises(SettingsError, match="utility"):
        results(Plan(BEHAVIOR).questions(), [outcome(Trial(), NO, NO, EIGHT, OFF, OFF)])


def test_greedy_utility_prompts_are_asked_once_whatever_the_number_of_samples():
    behavior = replace(toy_behavior(3, 2), greedy_utility=True)
    questions = Plan(behavior, n_attribute=None, n_utility=None, samples=3, seed=10).questions()
    assert [(q.side, q.greedy) for q in questions] == [("attribute", False)] * 3 + [("utility", True)] * 2 + [
        ("attribute", False)
    ] * 6
    assert len({q.seed for q in questions}) == len(questions) and {q.prompt for q in questions} == set(range(5))
