"""Which prompts a file has for a model to answer, what it knows of them, and where the answers go."""

import json

import pytest

from s2e_core import ContrastDataError, Example
from s2e_core.data import parse_examples
from s2e_core.responses import OwnResponse, answer_sides, find_marks, possible_rules, read_prompts


def read(rows, suffix=".jsonl"):
    text = rows if isinstance(rows, str) else "\n".join(json.dumps(row) for row in rows)
    return parse_examples(text, name="x", suffix=suffix)


def answered(asked, *texts, n_tokens=None):
    lengths = n_tokens or [5] * len(texts)
    return [
        OwnResponse(Example(one.example.prompt, text), n, 0, False, True)
        for one, text, n in zip(asked, texts, lengths, strict=True)
    ]


def sides(contrast):
    return [e.response for e in contrast.positive], [e.response for e in contrast.negative]


def test_prompts_alone_are_asked_as_often_as_they_stand_there_and_have_no_reference():
    asked = read_prompts(read("One\nTwo\nOne\n", ".txt"), samples=2)
    assert [one.example.prompt for one in asked] == ["One", "One", "Two", "Two", "One", "One"]
    assert all(one.reference is None and one.side == "none" for one in asked)
    assert possible_rules(asked) == ("length", "hand")


def test_labelled_prompts_bring_the_rule_by_prompt():
    asked = read_prompts(read([{"prompt": "a", "label": 1}, {"prompt": "b", "label": 0}]))
    assert [one.side for one in asked] == ["positive", "negative"]
    assert possible_rules(asked)[0] == "prompt"
    assert sides(answer_sides("prompt", asked, answered(asked, "Yes.", "No."))) == (["Yes."], ["No."])


def test_answers_of_a_file_without_sides_are_the_right_ones():
    asked = read_prompts(read("question,answer\nWhat is 2 + 2?,4\nAnd 3 + 3?,6\n", ".csv"))
    assert possible_rules(asked) == ("agreement", "length", "hand")
    made = answered(asked, "It is 4.", "It is 7.")
    assert sides(answer_sides("agreement", asked, made)) == (["It is 4."], ["It is 7."])


def test_responses_that_a_rule_leaves_out_are_counted_in_the_notes():
    asked = read_prompts(read("question,answer\nWhat is 2 + 2?,4\nWhy?,\nAnd 3 + 3?,6\n", ".csv"))
    made = answer_sides("agreement", asked, answered(asked, "It is 4.", "Because.", "It is 7."))
    assert sides(made) == (["It is 4."], ["It is 7."])
    assert "Responses that answer prompts for which the file has no right answer, and were left out: 1." in made.notes


def test_true_and_false_answers_of_one_prompt_become_its_lists():
    rows = [
        {"question": "Capital?", "answer": "Paris", "label": "true"},
        {"question": "Capital?", "answer": "Lyon", "label": "false"},
        {"question": "Capital?", "answer": "Nice", "label": "false"},
    ]
    [one] = read_prompts(read(rows))
    assert one.side == "none" and one.reference == {"kind": "truth", "true": ["Paris"], "myth": ["Lyon", "Nice"]}
    asked = read_prompts(read(rows), samples=3)
    made = answered(asked, "It is Paris.", "I say Nice.", "Who knows?")
    assert sides(answer_sides("agreement", asked, made)) == (["It is Paris."], ["I say Nice."])


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_lists_of_correct_and_incorrect_answers_are_several_examples_each(suffix):
    if suffix == ".csv":
        text = "Question,Best Answer,Correct Answers,Incorrect Answers\nCapital?,Paris,Paris; It is Paris,Lyon; Nice\n"
    else:
        row = {
            "question": "Capital?",
            "correct_answers": ["Paris", "It is Paris"],
            "incorrect_answers": ["Lyon", "Nice"],
        }
        text = json.dumps([row])
    reading = read(text, suffix)
    assert [e.response for e in reading.positive] == ["Paris", "It is Paris"]
    assert [e.response for e in reading.negative] == ["Lyon", "Nice"]
    [one] = read_prompts(reading)
    assert one.reference == {"kind": "truth", "true": ["Paris", "It is Paris"], "myth": ["Lyon", "Nice"]}


def test_by_length_only_right_answers_count_where_every_prompt_has_a_reference():
    asked = read_prompts(read("question,answer\nWhat is 2 + 2?,4\n", ".csv"), samples=4)
    made = answered(asked, "So it is 4.", "4 it is, 4.", "Yes, 5.", "4, is it?", n_tokens=[9, 3, 1, 6])
    assert sides(answer_sides("length", asked, made, share=0.3)) == (["4 it is, 4."], ["So it is 4."])


def test_marks_tell_where_a_rule_put_each_answer_and_by_hand_puts_them_there():
    asked = read_prompts(read("question,answer\nWhat is 2 + 2?,4\n", ".csv"), samples=3)
    made = answered(asked, "It is 4.", "Hm.", "It is 5.")
    marks = find_marks(answer_sides("agreement", asked, made), made)
    assert marks == (True, None, False)
    turned = answer_sides("hand", asked, made, marks=[not mark if mark is not None else None for mark in marks])
    assert sides(turned) == (["It is 5."], ["It is 4."])


def test_what_cannot_be_done_is_a_sentence():
    with pytest.raises(ContrastDataError, match="no prompts to answer"):
        read_prompts(read([{"positive": "a", "negative": "b"}]))
    asked = read_prompts(read("One\nTwo\n", ".txt"))
    for rule in ("prompt", "agreement"):
        with pytest.raises(ContrastDataError, match="Choose another rule"):
            answer_sides(rule, asked, answered(asked, "a b", "c d"))
