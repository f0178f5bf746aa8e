"""What the page says of a visitor's own examples before anything runs: every format, corrections, bad files, limits."""

from __future__ import annotations

import gzip
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.examples.handlers import Look, look_at_examples, report_on
from components.examples.view import preview_html
from components.examples.wiring import correction_updates
from components.page.view import opening_view
from components.shared import data_words as words
from components.shared.brought import CORRECTIONS, Correction, OwnExamples, column_names, own_prompts, own_reading
from components.shared.choices import Choice, chosen_contrast, extract
from components.shared.limits import Limits
from components.shared.model_names import BUNDLED_LABEL
from components.shared.session import OWN, Session
from components.shared.store import ModelStore
from s2e_core import ContrastDataError, Example
from s2e_core.data import contrast_set, mark_averaged_tokens
from tests.ui.running import shared_store

PAIRS = "\n".join(json.dumps({"prompt": f"Q{n}?", "positive": f"Glad {n}.", "negative": f"Sad {n}."}) for n in range(4))
RATED = "question;answer;rating\nHow?;Great, really;5\nHow?;Awful;1\nHow?;So so;3\n"
TWO_LISTS = json.dumps({"happy": ["Glad.", "Merry."], "sad": ["Gloomy.", "Grim."]})
CHATS = "\n".join(
    json.dumps({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": f"{n}"}], "label": n})
    for n in (0, 1)
)
AB = json.dumps([{"question": "Q?", "answer_matching_behavior": " (A)", "answer_not_matching_behavior": " (B)"}])
CHOICES = json.dumps({"question": "Q?", "mc2_targets": {"choices": ["No.", "Not so.", "Yes."], "labels": [1, 1, 0]}})
INSTRUCTIONS = json.dumps([{"instruction": "Say", "input": "Hi", "output": f"{n}", "label": n} for n in (0, 1)])


def look_at(store: ModelStore | None = None, **own: Any) -> Look:
    return look_at_examples(store or shared_store(), Choice(BUNDLED_LABEL, OWN, own=OwnExamples(**own)))


def file(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    ("name", "content", "counts", "said"),
    [
        ("a.jsonl", PAIRS, (4, 4), "every row has both sides"),
        ("a.csv", "\ufeffprompt,response,label\r\nHi,\"Yes, I do\",TRUE\r\nHi,No,FALSE\r\nHi,Hm,NONE\r\n", (1, 1),
         "1 row skipped"),
        ("a.csv", ",prompt,positive,negative\n0,Hi,Yes,No\n", (1, 1), "separated by commas"),
        ("a.tsv", "prompt\tresponse\tlabel\nHi\tYes\t1\nHi\tNo\t0\n", (1, 1), "TSV"),
        ("a.json", TWO_LISTS, (2, 2), "“happy” was taken".replace("“", "&quot;").replace("”", "&quot;")),
        ("a.json", AB, (1, 1), "answer_matching_behavior"),
        ("a.jsonl", CHATS, (1, 1), "messages"),
        ("a.jsonl", CHOICES, (2, 1), "every row has true choices and false ones"),
        ("a.json", INSTRUCTIONS, (1, 1), "on a new line, &quot;input&quot;"),
    ],
)  # fmt: skip
def test_every_usual_file_is_shown_as_it_was_understood(
    tmp_path: Path, name: str, content: str, counts: tuple[int, int], said: str
) -> None:
    look = look_at(file=file(tmp_path, name, content))
    assert look.reading is not None
    if look.reading.responses_missing:  # two lists of texts are prompts until somebody says otherwise
        look = look_at(file=file(tmp_path, name, content), correction=Correction(response="text"))
    assert look.contrast is not None and not look.questions and not look.problem
    assert (len(look.contrast.positive), len(look.contrast.negative)) == counts
    shown = preview_html(look)
    assert f"<b>{counts[0]} + {counts[1]} examples</b>" in shown and said in shown
    assert words.WANTED_SIDE in shown and words.OPPOSITE_SIDE in shown


def test_two_files_are_two_sides_and_a_second_alone_is_asked_about(tmp_path: Path) -> None:
    one, other = file(tmp_path, "a.txt", "Do this.\nDo that.\n"), file(tmp_path, "b.txt", "Be kind.\n")
    look = look_at(file=one, second=other)
    assert look.reading is not None and look.questions == (words.PROMPTS_ONLY,)
    assert (len(look.reading.positive), len(look.reading.negative)) == (2, 1)
    assert look_at(second=other).problem == words.SECOND_ALONE
    turned = look_at(file=one, second=other, correction=Correction(positive="second file"))
    assert turned.reading is not None and len(turned.reading.positive) == 1


def test_what_nothing_says_is_asked_and_a_correction_answers_it(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", RATED)
    look = look_at(file=path)
    assert look.contrast is None and look.questions == (words.ONE_SIDED,)
    assert words.NO_SIDE in preview_html(look)
    said = Correction(label="rating")
    asked = look_at(file=path, correction=said)
    assert "Which side is meant by" in asked.questions[0]
    updates = dict(zip(CORRECTIONS, correction_updates(asked, said, reset=False), strict=True))
    assert ("“5” (1)", "5") in updates["positive_labels"]["choices"]
    assert updates["label"]["choices"][0] == (words.FIND_IT, "")
    assert updates["prompt"]["choices"][0] == ("“question”, as found", "")
    assert not any("value" in update for update in updates.values())  # it could be older than what was chosen since
    answered = look_at(file=path, correction=replace(said, positive_labels=["5"], negative_labels=["1"]))
    assert answered.contrast is not None
    assert [e.response for e in answered.contrast.positive] == ["Great, really"]
    assert [e.response for e in answered.contrast.negative] == ["Awful"]


def test_a_correction_that_cannot_be_is_a_sentence_and_the_columns_stay_to_choose_from(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", RATED)
    look = look_at(file=path, correction=Correction(positive="answer"))
    assert "Give both" in look.problem and look.reading is None
    assert look.names == ("question", "answer", "rating")
    rows = file(tmp_path, "b.jsonl", '{"input": 3, "prompt": {"a": 1}, "response": "x", "label": 1}')
    assert look_at(file=rows).names == ("input", "prompt", "response", "label")


def test_another_file_begins_with_its_own_columns(tmp_path: Path) -> None:
    look = look_at(file=file(tmp_path, "a.csv", RATED))
    updates = list(correction_updates(look, Correction(label="gone", per_side=3), reset=True))
    assert all(update["value"] in ("", [], None, False) for update in updates)


def test_what_was_chosen_and_is_there_no_longer_is_taken_back(tmp_path: Path) -> None:
    said = Correction(label="gone", positive_labels=["5", "7"], negative_labels=["1"])
    look = look_at(file=file(tmp_path, "a.csv", RATED), correction=Correction(label="rating"))
    updates = dict(zip(CORRECTIONS, correction_updates(look, said, reset=False), strict=True))
    values = {name: update["value"] for name, update in updates.items() if "value" in update}
    assert values["label"] == "" and values["positive_labels"] == ["5"] and "negative_labels" not in values


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "", "There is no example in a.csv"),
        ("a.jsonl", "", "There is no example in a.jsonl"),
        ("a.jsonl", pickle.dumps({"positive": ["x"]}), "UTF-8"),
        ("a.pt", pickle.dumps([1]), "a format that this program cannot read"),
        ("a.zip", b"PK\x03\x04", "a format that this program cannot read"),
        ("a.jsonl.gz", b"\x1f\x8b", "damaged or not compressed with gzip"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\x00", "UTF-8"),
        ("a.json", "[" * 100_000, "not valid JSON"),
        ("a.json", '{"a": 1}', "entries a, and no list of rows in it. Expected JSONL or CSV rows"),
        ("a.csv", "a,b\n1,2\n", "columns a, b, and none was understood"),
        ("a.csv", "a,b\n1,2\n", "Expected JSONL or CSV rows with either the columns prompt, response and label"),
        ("a.jsonl", '{"prompt": "x"', "Line 1 is not valid JSON"),
    ],
)
def test_a_bad_file_is_one_sentence_on_the_page_and_never_an_error(
    tmp_path: Path, name: str, content: str | bytes, sentence: str
) -> None:
    choice = Choice(BUNDLED_LABEL, OWN, own=OwnExamples(file=file(tmp_path, name, content)))
    look = look_at_examples(shared_store(), choice)
    said = look.problem or " ".join(look.questions)
    assert sentence in said and look.contrast is None
    assert said.count("\n") == 0 and "Traceback" not in said and str(tmp_path) not in said
    assert preview_html(look)
    with pytest.raises(ContrastDataError):
        list(extract(shared_store(), choice))


def test_rows_of_which_none_was_understood_are_no_example_and_on_no_side(tmp_path: Path) -> None:
    look = look_at(file=file(tmp_path, "a.csv", "one,two\n1,2\n"))
    assert "<b>No example</b>, read as CSV, separated by commas; not used" in preview_html(look)
    assert len(look.questions) == 1 and "none was understood" in look.questions[0]


def test_a_file_beyond_the_limits_is_refused_or_cut_and_says_so(tmp_path: Path) -> None:
    store = ModelStore(sources={}, work=tmp_path, limits=Limits(examples=3, example_chars=30, file_megabytes=1))
    rows = [{"prompt": "Q", "response": f"{n} is the answer", "label": n % 2} for n in range(12)]
    rows += [{"prompt": "Q", "response": "x" * 40, "label": 1}]
    path = file(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    look = look_at(store, file=path)
    assert look.contrast is not None and len(look.contrast.positive) == len(look.contrast.negative) == 3
    shown = preview_html(look)
    assert (
        "The first 3 of each side are taken, of 6 and 6." in shown
        and "1 example was longer than 30 characters and left out" in shown
    )
    fewer = look_at(store, file=path, correction=Correction(per_side=2))
    assert fewer.contrast is not None and len(fewer.contrast.positive) == 2
    more = look_at(store, file=path, correction=Correction(per_side=1000))
    assert more.contrast is not None and len(more.contrast.positive) == 3, "nobody reaches beyond the server's limit"
    large = file(tmp_path, "b.jsonl", "x" * 1_000_001)
    assert "larger than the 1 MB" in look_at(store, file=large).problem


def test_typed_lines_are_examples_or_prompts_alone() -> None:
    look = look_at(positive="Hi | Glad.\nHo\tMerry.", negative="Hi | Sad.")
    assert look.contrast is not None and len(look.contrast.positive) == 2
    assert "<b>1 prompt</b>, read as typed lines." in preview_html(look_at(positive="Hi"))
    alone = look_at(positive="Hi\nHo", negative="Well?")
    assert alone.questions == (words.PROMPTS_ONLY,) and alone.contrast is None
    assert "Line 2 has no prompt and response" in look_at(positive="Hi | Glad.\nHo", negative="Hi | Sad.").problem
    assert "opposite is empty" in look_at(positive="Hi | Glad.").problem
    assert look_at().reading is None and preview_html(look_at()) == ""


def test_a_file_is_read_in_place_of_typed_lines_and_says_so(tmp_path: Path) -> None:
    look = look_at(positive="Hi | Glad.", negative="Hi | Sad.", file=file(tmp_path, "a.jsonl", PAIRS))
    assert look.contrast is not None and len(look.contrast.positive) == 4
    assert words.TYPED_IGNORED in preview_html(look)


def test_no_text_of_a_file_becomes_markup(tmp_path: Path) -> None:
    evil = "<img src=x onerror=1>"
    rows = [{"prompt": evil, "response": evil, "label": n, evil: evil} for n in (0, 1)]
    shown = preview_html(look_at(file=file(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))))
    assert "<img" not in shown and "&lt;img" in shown


def test_what_is_extracted_is_what_was_shown(tmp_path: Path) -> None:
    own = OwnExamples(file=file(tmp_path, "a.csv", RATED), correction=Correction(label="rating", positive_labels=["5"]))
    choice = Choice(BUNDLED_LABEL, OWN, own=own)
    look = look_at_examples(shared_store(), choice)
    *_, session = extract(shared_store(), choice)
    assert look.contrast is not None and isinstance(session, Session)
    assert session.scored.contrast.content_hash == look.contrast.content_hash
    turned = look_at_examples(shared_store(), replace(choice, swap=True))
    assert turned.contrast is not None and len(turned.contrast.positive) == len(look.contrast.negative)


def test_the_prompts_to_try_are_a_few_of_the_visitors_own() -> None:
    store, long = shared_store(), "word " * 400
    wanted = "\n".join(f"{prompt} | Glad." for prompt in ("Same?", long, "One?", "One?", "Two?", "Three?", "Four?"))
    *_, session = extract(store, Choice(BUNDLED_LABEL, OWN, own=OwnExamples(wanted, "Same? | Sad.\nOther? | Sad.")))
    assert isinstance(session, Session)
    assert own_prompts(session.scored.contrast, store.limits) == ("Same?", "Other?", "One?", "Two?")
    assert opening_view(store, session)["prompt"] == "Same?"
    nothing_to_ask = contrast_set([Example("", "Glad.")], [Example(" ", "Sad.")], name="own")
    assert own_prompts(nothing_to_ask, store.limits) == ()
    only_long = contrast_set([Example("word " * 60, "Glad.")], [Example(long * 9, "Sad.")], name="own")
    assert own_prompts(only_long, store.limits) == ("word " * 60,), "long ones where there are no others"


def test_the_report_has_the_linters_findings_and_the_tokens_that_are_averaged() -> None:
    store = shared_store()
    store.model(store.first_model)
    contrast = chosen_contrast(store, Choice(BUNDLED_LABEL, OWN, own=OwnExamples("Hi | Glad.", "Hi | Sad.")))
    report = report_on(store, BUNDLED_LABEL, contrast)
    assert report.findings[0].severity == "problem" and "1 positive example" in report.findings[0].sentence
    assert list(report.spans) == [words.WANTED_SIDE, words.OPPOSITE_SIDE]
    assert report.spans[words.WANTED_SIDE] == mark_averaged_tokens(store.model(BUNDLED_LABEL), contrast.positive[0])
    unloaded = ModelStore(sources=store.sources, work=store.work)
    assert not report_on(unloaded, BUNDLED_LABEL, contrast).spans, "a look loads no model"


def test_columns_of_two_files_are_both_to_choose_from(tmp_path: Path) -> None:
    own = OwnExamples(file=file(tmp_path, "a.csv", "q,x\n1,2\n"), second=file(tmp_path, "b.csv", "q,y\n1,2\n"))
    assert column_names(own) == (("q", "x", "y"), ("first file", "second file"))
    with pytest.raises(ContrastDataError, match="is empty"):
        own_reading(OwnExamples(), Limits())


# ---- files of other programs, scores, marks and long examples

PREFERENCES = [
    {"input": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"},
                            {"role": "user", "content": f"Question {n}?"}]},
     "preferred_output": [{"role": "assistant", "content": f"Gladly, {n}."}],
     "non_preferred_output": [{"role": "assistant", "content": f"No, {n}."}]}
    for n in range(4)
]  # fmt: skip


def rows(*content: dict[str, Any]) -> str:
    return "\n".join(json.dumps(row) for row in content)


def test_preferences_over_several_turns_in_a_compressed_file_are_shown_as_understood(tmp_path: Path) -> None:
    look = look_at(file=file(tmp_path, "a.jsonl.gz", gzip.compress(rows(*PREFERENCES).encode())))
    said = preview_html(look)
    assert look.contrast is not None and len(look.contrast.positive) == 4
    assert look.contrast.positive[0].earlier == (("user", "Hi"), ("assistant", "Yes?"))
    assert "preferences of OpenAI" in said and "8 examples have several turns" in said


def test_a_score_is_a_label_with_a_threshold(tmp_path: Path) -> None:
    scored = rows(*({"prompt": "q", "response": f"Answer {n}", "warmth": n * 10} for n in range(10)))
    path = file(tmp_path, "a.jsonl", scored)
    look = look_at(file=path, correction=Correction(label="warmth", above=60.0))
    assert look.contrast is not None and (len(look.contrast.positive), len(look.contrast.negative)) == (3, 7)
    assert "<code>above 60</code> positive (3)" in preview_html(look)
    assert "positive side is empty" in look_at(file=path, correction=Correction(label="warmth", above=1e9)).problem


def test_the_marks_of_a_template_are_noted_and_taken_off_where_that_is_ticked(tmp_path: Path) -> None:
    marked = {"prompt": "<|im_start|>user\nWho?<|im_end|>\n", "chosen": "Me.<|im_end|>", "rejected": "You.<|im_end|>"}
    path = file(tmp_path, "a.jsonl", rows(marked, marked))
    assert "4 examples contain marks of a chat template" in preview_html(look_at(file=path))
    look = look_at(file=path, correction=Correction(take_off_marks=True))
    assert look.contrast is not None and look.contrast.positive[0].prompt == "Who?"
    assert look.contrast.positive[0].response == "Me." and "taken off 4 examples" in preview_html(look)


def test_examples_that_the_model_cannot_read_are_left_out_where_that_is_ticked(tmp_path: Path) -> None:
    pair = {"prompt": "Who?", "chosen": "Me, of course.", "rejected": "You, I hope."}
    path = file(tmp_path, "a.jsonl", rows(pair, pair | {"chosen": "word " * 700}, pair))
    store = shared_store()
    store.model(BUNDLED_LABEL)
    whole = look_at(store, file=path)
    look = look_at(store, file=path, correction=Correction(leave_out_long=True))
    assert whole.contrast is not None and len(whole.contrast.positive) == 3 and whole.n_left_out == 0
    assert look.contrast is not None and len(look.contrast.positive) == 2
    assert "have no response: 1." in preview_html(look)
