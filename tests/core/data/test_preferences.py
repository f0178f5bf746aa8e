"""Preference data in the documented formats of other programs: each is read at the first try, or asked about."""

import csv
import io
import json

import pytest

from s2e_core.data import Columns, contrast_set_from, parse_examples


def read(rows, suffix=".jsonl", **options):
    text = rows if isinstance(rows, str) else "\n".join(json.dumps(row) for row in rows)
    return parse_examples(text, name="x", suffix=suffix, **options)


def say(text, role="assistant"):
    return {"role": role, "content": text}


def part(text, role="model"):
    return {"role": role, "parts": [{"text": text}]}


ASK = say("Is it late?", "user")
SYSTEM = say("Be kind.", "system")
FORMATS = {
    "openai": {"input": {"messages": [SYSTEM, ASK], "tools": [], "parallel_tool_calls": True},
               "preferred_output": [say("Soon, friend.")], "non_preferred_output": [say("Yes. Go.")]},
    "ms-swift": {"messages": [SYSTEM, ASK, say("Soon, friend.")], "rejected_response": "Yes. Go."},
    "ms-swift, two chats": {"messages": [SYSTEM, ASK, say("Soon, friend.")],
                            "rejected_messages": [SYSTEM, ASK, say("Yes. Go.")]},
    "torchtune": {"chosen_conversations": [SYSTEM, ASK, say("Soon, friend.")],
                  "rejected_conversations": [SYSTEM, ASK, say("Yes. Go.")]},
    "argilla": {"system": "Be kind.", "prompt": "Is it late?", "chosen": [ASK, say("Soon, friend.")],
                "rejected": [ASK, say("Yes. Go.")], "chosen-rating": 5.0, "rejected-rating": 2.0},
    "argilla, rated": {"system_prompt": "Be kind.", "instruction": "Is it late?", "ratings": [2, 5, 3, None],
                       "generations": ["Yes. Go.", "Soon, friend.", "Hm.", "?"]},
    "gemini": {"system_instruction": {"parts": [{"text": "Be kind."}]}, "contents": [part("Is it late?", "user")],
               "completions": [{"score": 0, "completion": part("Yes. Go.")},
                               {"score": 1.0, "completion": part("Soon, friend.")}]},
    "llama-factory": {"instruction": "Is it late?", "input": "", "output": ["Soon, friend.", "Yes. Go."],
                      "system": "Be kind."},
    "safe": {"prompt": "Is it late?", "response_0": "Yes. Go.", "response_1": "Soon, friend.", "system": "Be kind.",
             "is_response_0_safe": False, "is_response_1_safe": True, "better_response_id": 0, "safer_response_id": 1},
    "arena": {"conversation_a": [SYSTEM, ASK, say("Soon, friend.")], "conversation_b": [SYSTEM, ASK, say("Yes. Go.")],
              "winner": "model_a", "turn": 1},
    "shp": {"prompt": "Is it late?", "human_ref_A": "Soon, friend.", "human_ref_B": "Yes. Go.", "labels": 1,
            "system": "Be kind."},
    "pairs": {"question": "Is it late?", "response_j": "Soon, friend.", "response_k": "Yes. Go.", "system": "Be kind."},
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_every_documented_format_is_read_at_the_first_try(name, suffix):
    row = FORMATS[name]
    reading = read([row, row] if suffix == ".jsonl" else table([row, row]), suffix)
    assert not reading.questions and len(reading.positive) == len(reading.negative) == 2
    for side, response in ((reading.positive, "Soon, friend."), (reading.negative, "Yes. Go.")):
        assert [(e.prompt, e.response, e.system, e.earlier) for e in side] == [
            ("Is it late?", response, "Be kind.", ())
        ] * 2
    assert contrast_set_from(reading).positive[0].row == (1 if suffix == ".jsonl" else 2)


def table(rows):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def test_what_decides_is_said_and_can_be_another_column():
    safe = read([FORMATS["safe"]])
    assert safe.notes[:2] == (
        'The rows were read as two responses, of which "safer_response_id" says the better one.',
        '"better_response_id" could decide as well: to use it, say that it is the label.',
    )
    helpful = read([FORMATS["safe"]], columns=Columns(label="better_response_id"))
    assert helpful.positive[0].response == "Yes. Go." and 'of which "better_response_id"' in helpful.notes[0]


def test_ties_and_equal_ratings_are_skipped_and_counted():
    arena = read([{**FORMATS["arena"], "winner": w} for w in ("tie", "model_b", "both bad")])
    assert (len(arena.positive), arena.n_skipped, arena.positive[0].response) == (1, 2, "Yes. Go.")
    assert any(note.startswith("2 rows were skipped, because neither") for note in arena.notes)
    rated = read([FORMATS["argilla, rated"], {**FORMATS["argilla, rated"], "ratings": [4, 4, 4, 4]}])
    assert (len(rated.positive), rated.n_skipped) == (1, 1)


def test_a_person_who_names_the_columns_of_a_format_means_those():
    rows = [{"instruction": "Is it?", "output": ["Soon.", "Go."], "text": "Well.", "label": 1}]
    assert read(rows, columns=Columns(response="text")).positive[0].response == "Well."
    swift = read([{**FORMATS["ms-swift"], "label": 0}], columns=Columns(messages="messages"))
    assert [e.response for e in swift.negative] == ["Soon, friend."]


def test_outputs_that_are_not_two_are_not_taken_for_preferences():
    rows = [{"instruction": "Is it?", "output": "Soon.", "label": label} for label in (1, 0)]
    assert read(rows).layout == "labelled"


def test_earlier_turns_and_tool_calls_of_preferences_are_treated_like_those_of_chats():
    longer = [say("Hi", "user"), say("Yes?"), ASK]
    one = {**FORMATS["openai"], "input": {"messages": longer}}
    call = {**FORMATS["openai"], "preferred_output": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}
    reading = read([one, call])
    assert reading.positive[0].earlier == (("user", "Hi"), ("assistant", "Yes?"))
    assert len(reading.positive) == 1 and any("call a tool" in note for note in reading.notes)
