"""Chats of several turns: what becomes the prompt, which chats are skipped and counted, and what the model reads."""

import json

import pytest

from s2e_core import ContrastDataError, Example, load_contrast_set
from s2e_core.cli import main
from s2e_core.data import content_hash, contrast_set_from, parse_examples
from s2e_core.model import example_ids, prompt_ids
from s2e_core.responses import read_prompts


def read(rows, **options):
    return parse_examples("\n".join(json.dumps(row) for row in rows), name="x", suffix=".jsonl", **options)


def chat(*texts, roles=("user", "assistant"), spelled=("role", "content")):
    return [{spelled[0]: roles[n % len(roles)], spelled[1]: text} for n, text in enumerate(texts)]


EARLIER = (("user", "Hello"), ("assistant", "Hi there"))
FOUR = ("Hello", "Hi there", "And now?", "Nothing.")


def test_all_turns_before_the_last_answer_are_the_prompt():
    reading = read([{"messages": chat(*FOUR), "label": 1}, {"messages": chat("So?", "No."), "label": 0}])
    (one,), (other,) = reading.positive, reading.negative
    assert (one.earlier, one.prompt, one.response) == (EARLIER, "And now?", "Nothing.")
    assert other.earlier == () and (one.row, other.row) == (1, 2)
    assert reading.n_skipped == 0 and reading.notes[0].startswith("1 example has several turns")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": chat(*FOUR[:3]), "chosen": chat("Yes.", roles=["assistant"]), "rejected": "No."},
        {"chosen": chat(*FOUR[:3], "Yes."), "rejected": chat(*FOUR[:3], "No.")},
        {"chosen": "\n\nHuman: Hello\n\nAssistant: Hi there\n\nHuman: And now?\n\nAssistant: Yes.",
         "rejected": "\n\nHuman: Hello\n\nAssistant: Hi there\n\nHuman: And now?\n\nAssistant: No."},
        {"prompt": "\n\nHuman: Hello\n\nAssistant: Hi there\n\nHuman: And now?\n\nAssistant:",
         "chosen": "Yes.", "rejected": "No."},
    ],
    ids=["prompt as a chat", "whole chats", "transcripts", "prompt as a transcript"],
)  # fmt: skip
def test_preferences_over_several_turns_are_read_in_every_form(row):
    reading = read([row])
    sides = [(e.earlier, e.prompt, e.response) for e in (*reading.positive, *reading.negative)]
    assert sides == [(EARLIER, "And now?", "Yes."), (EARLIER, "And now?", "No.")]


@pytest.mark.parametrize("role", ["chatgpt", "bing", "model", "gpt", "Assistant", "bard"])
def test_the_usual_names_of_speakers_are_roles(role):
    reading = read([{"conversations": chat("Q", "A", roles=("human", role), spelled=("from", "value")), "label": 1}])
    assert (reading.positive[0].prompt, reading.positive[0].response) == ("Q", "A")


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([*chat("Q"), {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}], "call a tool"),
        ([*chat("Q"), {"role": "assistant", "content": None, "function_call": {}}], "call a tool"),
        ([*chat("Q", "A"), {"role": "tool", "content": "42"}], "call a tool"),
        ([{"role": "user", "parts": [{"text": "Q"}]}, {"role": "model", "parts": [{"functionCall": {}}]}], "tool"),
        (chat("Q", "A", roles=("user", "critic")), "unknown role"),
        (chat("A", "Q", "B", roles=("assistant", "user")), "no question before the answer"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, *chat("A", roles=["gpt"])], "text"),
    ],
)
def test_a_chat_that_cannot_be_averaged_over_is_skipped_and_counted(turns, why):
    good = [{"messages": chat("Q", text), "label": label} for text, label in (("Yes", 1), ("No", 0))]
    reading = read([{"messages": turns, "label": 1}, *good])
    assert [e.response for e in reading.positive] == ["Yes"] and reading.n_skipped == 1
    (note,) = reading.notes
    assert note.startswith("1 row was skipped: 1 with chats that ") and why in note
    alone = read([{"messages": turns, "label": 1}])
    assert alone.questions[0].kind == "rows" and why in alone.questions[0].sentence


def test_consecutive_turns_of_one_speaker_are_one_turn_for_templates_that_alternate():
    turns = [*chat("One", roles=["user"]), *chat("Two", roles=["human"]), *chat("A", roles=["assistant"])]
    assert read([{"messages": turns, "label": 1}]).positive[0].prompt == "One\n\nTwo"


def test_the_model_reads_all_turns_in_its_template_and_averages_over_the_last_answer(llama):
    tokenizer = llama.tokenizer
    example = Example("And now?", "Nothing.", "Be brief.", EARLIER)
    ids, start = example_ids(tokenizer, example)
    turns = [("system", "Be brief."), *EARLIER, ("user", "And now?")]
    expected = tokenizer.apply_chat_template(
        [{"role": role, "content": text} for role, text in turns], tokenize=False, add_generation_prompt=True
    )
    assert tokenizer.decode(ids[:start]) == expected and tokenizer.decode(ids[start:]) == "Nothing."


def test_without_a_template_the_turns_are_separated_by_empty_lines(gpt2):
    text = gpt2.tokenizer.decode(prompt_ids(gpt2.tokenizer, "And now?", "Be brief.", EARLIER))
    assert text.endswith("Be brief.\n\nHello\n\nHi there\n\nAnd now?")


def test_a_template_that_knows_one_question_alone_is_said(llama, monkeypatch):
    template = "{% if messages|length > 1 %}{{ raise_exception('one turn') }}{% endif %}{{ messages[0]['content'] }}"
    monkeypatch.setattr(llama.tokenizer, "chat_template", template)
    with pytest.raises(ContrastDataError, match="cannot write a chat of several turns.*one turn"):
        prompt_ids(llama.tokenizer, "And now?", None, EARLIER)
    assert prompt_ids(llama.tokenizer, "And now?")


def test_earlier_turns_belong_to_the_content_of_an_example_and_the_row_does_not():
    plain, longer = Example("q", "a"), Example("q", "a", None, EARLIER)
    assert content_hash([plain]) != content_hash([longer])
    assert content_hash([plain]) == content_hash([Example("q", "a", row=7)])


def test_earlier_turns_survive_writing_and_asking(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"messages": chat(*FOUR[:3], text), "label": label} for text, label in (("Yes.", 1), ("No.", 0))]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert main(["data", str(path), "-o", str(tmp_path / "b.jsonl")]) == 0
    written = load_contrast_set(tmp_path / "b.jsonl")
    assert written.content_hash == contrast_set_from(read(rows)).content_hash
    assert read_prompts(read(rows))[0].example.earlier == EARLIER
