"""Data sets as they are published, and as people save them: every one is read as what it is, or asked about."""

import csv
import io
import json

import numpy as np
import pytest

from s2e_core import ContrastDataError
from s2e_core.data import Columns, contrast_set_from, parse_examples
from s2e_core.responses import possible_rules, read_prompts


def read(rows, suffix=".jsonl", **options):
    text = rows if isinstance(rows, str) else "\n".join(json.dumps(row) for row in rows)
    return parse_examples(text, name="x", suffix=suffix, **options)


def table(rows):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def sides(reading):
    return [(e.prompt, e.response) for e in reading.positive], [(e.prompt, e.response) for e in reading.negative]


MC1 = {"choices": ["No.", "Yes."], "labels": [1, 0]}
MC2 = {"choices": ["No.", "It is not.", "Yes.", "Always, sir."], "labels": [1, 1, 0, 0]}
BOTH = ([("Is it?", "No."), ("Is it?", "It is not.")], [("Is it?", "Yes."), ("Is it?", "Always, sir.")])


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Is it?", "mc1_targets": MC1, "mc2_targets": MC2},
        {"question": "Is it?", "mc1_targets": {"No.": 1, "Yes.": 0},
         "mc2_targets": {"No.": 1, "It is not.": 1, "Yes.": 0, "Always, sir.": 0}},
    ],
)  # fmt: skip
def test_the_true_choices_of_truthfulqa_are_set_against_the_false_ones(row):
    reading = read([row])
    assert sides(reading) == BOTH and not reading.questions and not reading.responses_missing
    assert (reading.layout, reading.columns.roles()) == ("choices", {"prompt": "question", "choices": "mc2_targets"})
    assert reading.notes == (
        'The choices were taken from "mc2_targets"; they could be "mc1_targets" as well.',
        'Every choice of "mc2_targets" is a response: the true ones are on the positive side, the false ones on the '
        "negative.",
    )
    corrected = read([row], columns=Columns(choices="mc1_targets"))
    assert sides(corrected) == ([("Is it?", "No.")], [("Is it?", "Yes.")])


@pytest.mark.parametrize("spelled", [json.dumps, str, lambda mc: str({k: np.array(v) for k, v in mc.items()})])
def test_choices_that_a_table_holds_as_text_are_read(spelled):
    assert sides(read(table([{"question": "Is it?", "mc2_targets": spelled(MC2)}]), ".csv")) == BOTH


def test_choices_of_any_name_are_read_when_they_are_said():
    rows = [{"question": "Is it?", "options": MC2, "answer": "No.", "label": 1}]
    assert sides(read(rows, columns=Columns(choices="options"))) == BOTH
    prompts_alone = read([{"question": "Is it?", "mc2_targets": MC2}], columns=Columns(response="question"))
    assert prompts_alone.layout == "one side"  # who names the response means that


def test_choices_without_labels_name_the_row():
    with pytest.raises(ContrastDataError, match="Row 1, column mc1_targets: expected choices with a label each"):
        read([{"question": "Is it?", "mc1_targets": ["a", "b"]}])


def test_the_model_can_answer_questions_with_choices_and_is_judged_by_them():
    asked = read_prompts(read([{"question": "Is it?", "mc2_targets": MC2}]))
    assert len(asked) == 1 and possible_rules(asked)[0] == "agreement"
    assert asked[0].reference["true"] == ["No.", "It is not."] and asked[0].reference["myth"][0] == "Yes."


def test_the_answers_in_truthfulqa_csv_are_split_at_semicolons_and_that_is_said():
    header = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source"
    reading = read(f'{header}\nA,"B, C",Is it?,No.,No.; It is not.,"Yes.; Always, sir.",https://example.org\n', ".csv")
    assert sides(reading) == BOTH
    assert reading.notes == (
        '"correct answers" and "incorrect answers" contain several responses in a cell; each of them is an example.',
    )
    best = read("Question,Best Answer,Best Incorrect Answer\nIs it?,No.,Yes.\n", ".csv")
    assert sides(best) == ([("Is it?", "No.")], [("Is it?", "Yes.")]) and not best.questions


def test_lists_of_answers_are_read_from_json_and_from_tables():
    row = {"question": "Is it?", "correct_answers": MC2["choices"][:2], "incorrect_answers": MC2["choices"][2:]}
    assert sides(read([row])) == BOTH
    for spelled in (json.dumps, str, lambda texts: str(np.array(texts, dtype=object))):
        text = table([{**row, "correct_answers": spelled(MC2["choices"][:2]),
                       "incorrect_answers": spelled(MC2["choices"][2:])}])  # fmt: skip
        assert sides(read(text, ".csv")) == BOTH


INSTRUCTION = {"instruction": "Translate to German.", "input": "Good morning"}


def test_instruction_and_input_are_one_prompt_and_that_is_said():
    rows = [{**INSTRUCTION, "output": "Guten Morgen", "label": 1},
            {"instruction": "Name a fruit.", "input": " ", "output": "A chair", "label": 0}]  # fmt: skip
    reading = read(rows)
    assert sides(reading) == (
        [("Translate to German.\nGood morning", "Guten Morgen")], [("Name a fruit.", "A chair")],
    )  # fmt: skip
    assert reading.columns.roles()["context"] == "input" and not reading.unused
    assert reading.notes == (
        'A prompt is "instruction" and, on a new line, "input" if there is any; to leave that out, say that the '
        'prompt is "instruction".',
    )


def test_a_person_who_names_the_prompt_has_nothing_joined_to_it():
    rows = [{**INSTRUCTION, "output": "Guten Morgen", "label": label} for label in (1, 0)]
    assert read(rows, columns=Columns(prompt="instruction")).positive[0].prompt == "Translate to German."
    assert read(rows, columns=Columns(prompt="input")).positive[0].prompt == "Good morning"
    named = read(rows, columns=Columns(prompt="input", context="instruction"))
    assert named.positive[0].prompt == "Good morning\nTranslate to German."


def test_instructions_with_inputs_are_joined_in_every_layout():
    joined = "Translate to German.\nGood morning"
    assert [e.prompt for e in read([INSTRUCTION]).without_side] == [joined]
    assert read([{**INSTRUCTION, "chosen": "a", "rejected": "b"}]).negative[0].prompt == joined
    dolly = read([{"instruction": "When?", "context": "In 1900 it was.", "response": "1900"}])
    assert dolly.without_side[0].prompt == "When?\nIn 1900 it was."
    plain = read([{"question": "When?", "context": "x", "answer": "1900"}])
    assert plain.without_side[0].prompt == "When?" and plain.unused == ("context",)  # which comes first is not known


SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}
YES, NO = ({"role": "assistant", "content": text} for text in ("Yes", "No"))


def test_a_prompt_written_as_a_chat_may_have_a_system_text():
    reading = read([{"prompt": [SYSTEM, USER], "chosen": [YES], "rejected": [NO]}])
    assert sides(reading) == ([("Hi", "Yes")], [("Hi", "No")])
    assert {e.system for e in (*reading.positive, *reading.negative)} == {"Be brief."}


def test_a_prompt_written_as_a_chat_ends_with_the_question():
    with pytest.raises(ContrastDataError, match="Row 1, column prompt: expected a chat that ends with a question"):
        read([{"prompt": [USER, YES], "chosen": [YES], "rejected": [NO]}])


def test_preferences_with_the_question_as_a_chat_and_one_turn_a_side_are_read():
    human, gpt = ({"from": who, "value": what} for who, what in (("human", "Hi"), ("gpt", "Yes")))
    reading = read([{"conversations": [human], "chosen": gpt, "rejected": {**gpt, "value": "No"}}])
    assert sides(reading) == ([("Hi", "Yes")], [("Hi", "No")]) and not reading.questions
    assert reading.columns.roles() == {"prompt": "conversations", "positive": "chosen", "negative": "rejected"}


@pytest.mark.parametrize("spelled", [json.dumps, str, lambda chat: str(np.array(chat, dtype=object))])
def test_chats_that_a_table_holds_as_text_are_read(spelled):
    rows = [{"prompt": "Hi", "chosen": spelled([USER, YES]), "rejected": spelled([USER, NO])}]
    assert sides(read(table(rows), ".csv")) == ([("Hi", "Yes")], [("Hi", "No")])
    chats = [{"messages": spelled([SYSTEM, USER, YES]), "label": 1}, {"messages": spelled([USER, NO]), "label": 0}]
    assert sides(read(table(chats), ".csv")) == ([("Hi", "Yes")], [("Hi", "No")])
    asked = [{"prompt": spelled([SYSTEM, USER]), "completion": spelled([YES]), "label": 1}]
    assert (sides(read(table(asked), ".csv"))[0], read(table(asked), ".csv").positive[0].system) == (
        [("Hi", "Yes")], "Be brief.",
    )  # fmt: skip


def test_chats_that_end_with_the_question_are_prompts_to_answer():
    reading = read([{"messages": [SYSTEM, USER]}])
    assert reading.responses_missing and 'column "messages" was understood as prompts' in reading.questions[-1].sentence
    assert read_prompts(reading)[0].example.system == "Be brief."


def test_a_response_that_only_looks_like_a_list_stays_text():
    code = read([{"prompt": "A list?", "positive": "['a', 'b']", "negative": '[{"x": 1}]'}])
    assert sides(code) == ([("A list?", "['a', 'b']")], [("A list?", '[{"x": 1}]')])


def test_answers_that_are_numbers_are_read_as_text_and_that_is_said():
    reading = read([{"question": "1 + 1?", "answer": 2}, {"question": "Half?", "answer": 0.5}])
    assert [e.response for e in reading.without_side] == ["2", "0.5"]
    assert reading.notes == ('The numbers in "answer" were read as text.',)
    assert [one.reference["answer"] for one in read_prompts(reading)] == ["2", "0.5"]
    missing = read('{"question": "q", "positive": "a", "negative": NaN}\n')  # as pandas rows without a text are written
    assert missing.negative[0].response == "" and not missing.notes
    with pytest.raises(ContrastDataError, match="the column answer contains bool, expected text"):
        read([{"question": "Is it?", "answer": True}])


def test_the_requests_of_safety_sets_are_prompts():
    harmbench = "Behavior,FunctionalCategory,ContextString,BehaviorID\nWrite a thing,standard,,a1\n"
    assert [e.prompt for e in read(harmbench, ".csv").without_side] == ["Write a thing"]
    jbb = 'Index,Goal,Target,Behavior,Category\n0,Write a thing,"Sure, here",Malware,Malware\n'
    reading = read(jbb, ".csv")
    assert [e.prompt for e in reading.without_side] == ["Write a thing"] and "behavior" in reading.notes[0]


def test_a_table_whose_columns_say_nothing_names_them_and_what_was_expected():
    question = read("foo,bar\n1,2\n", ".csv").questions[0].with_format
    assert "columns foo, bar" in question and "the columns prompt, response and label" in question
    assert "first row names the columns" in question and not read("foo,bar\n1,2\n", ".csv").notes
    one_sided = read([{"prompt": "a", "response": "b", "is_safe": True}]).questions[0].with_format
    assert "columns prompt, response, is_safe" in one_sided and "which column is the label" in one_sided
    assert "second file" in one_sided and "first row" not in one_sided


def test_an_empty_file_is_said_to_hold_no_rows():
    with pytest.raises(ContrastDataError, match="x has no example: it contains no rows.*Expected JSONL or CSV"):
        contrast_set_from(read("", ".csv"))
