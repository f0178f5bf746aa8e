"""How data files are understood: every layout people have, what is asked, what is noted, and how it is corrected."""

import json

import pytest

from s2e_core import ContrastDataError
from s2e_core.data import Columns, contrast_set_from, parse_examples, read_examples
from s2e_core.responses import read_prompts


def read(rows, suffix=".jsonl", **options):
    text = rows if isinstance(rows, str) else "\n".join(json.dumps(row) for row in rows)
    return parse_examples(text, name="x", suffix=suffix, **options)


def responses(reading):
    return [e.response for e in reading.positive], [e.response for e in reading.negative]


def prompts(reading):
    return [e.prompt for e in reading.positive], [e.prompt for e in reading.negative]


def test_labelled_questions_and_answers_are_read_and_none_is_skipped_and_counted():
    rows = [{"question": "q", "answer": a, "parsed_label": a} for a in ("TRUE", "FALSE", "NONE", "TRUE")]
    reading = read(rows)
    assert responses(reading) == (["TRUE", "TRUE"], ["FALSE"])
    assert (reading.layout, reading.n_skipped) == ("labelled", 1)
    assert reading.columns.roles() == {"prompt": "question", "response": "answer", "label": "parsed_label"}
    assert {(label.value, label.side, label.count) for label in reading.labels} == {
        ("true", "positive", 2), ("false", "negative", 1), ("none", "skipped", 1),
    }  # fmt: skip
    assert any(note.startswith("1 row ") and '"none"' in note for note in reading.notes)
    assert contrast_set_from(reading).notes[: len(reading.notes)] == reading.notes


@pytest.mark.parametrize(
    ("yes", "no"),
    [(1, 0), ("1", "0"), (1.0, 0.0), ("1.0", "0.0"), (True, False), ("True", "FALSE"), ("positive", "negative"),
     ("yes", "No"), ("Good", "bad"), ("chosen", "rejected"), (1, -1), ("pos", "neg")],
)  # fmt: skip
def test_the_usual_labels_are_understood(yes, no):
    reading = read([{"prompt": "q", "response": "a", "label": yes}, {"prompt": "q", "response": "b", "label": no}])
    assert responses(reading) == (["a"], ["b"]) and not reading.questions


@pytest.mark.parametrize("rows", [["safe", "unsafe"], ["10", "0"], [1, 0, -1], [5, 1]])
def test_labels_that_could_mean_either_side_are_asked_about(rows):
    reading = read([{"prompt": "q", "response": "a", "label": label} for label in rows])
    assert "Which side is meant by" in reading.questions[0].sentence
    with pytest.raises(ContrastDataError, match="Say which labels are positive"):
        contrast_set_from(reading)


def test_rows_of_a_label_that_nobody_has_explained_are_there_on_no_side():
    reading = read([{"prompt": "q", "response": label, "label": label} for label in ("safe", "true", "none")])
    assert [e.response for e in reading.without_side] == ["safe"]
    assert (responses(reading), reading.n_skipped) == ((["true"], []), 1)


def test_said_labels_win_over_the_usual_ones():
    rows = [{"prompt": "q", "response": label or "x", "label": label} for label in ("safe", "unsafe", "unclear", "")]
    assert responses(read(rows, positive_labels=["Safe "])) == (["safe"], ["unsafe", "unclear"])
    assert responses(read(rows, negative_labels=["unsafe"])) == (["safe", "unclear"], ["unsafe"])
    both = read(rows, positive_labels=["safe"], negative_labels=["unsafe"])
    assert responses(both) == (["safe"], ["unsafe"]) and both.n_skipped == 2
    graded = [{"prompt": "q", "response": str(n), "rating": n} for n in (1, 2, 5)]
    chosen = read(graded, columns=Columns(label="Rating"), positive_labels=["5"], negative_labels=["1"])
    assert responses(chosen) == (["5"], ["1"])
    reversed_ = [{"prompt": "q", "response": str(n), "label": n} for n in (0, 1)]
    assert responses(read(reversed_, positive_labels=["0"])) == (["0"], ["1"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"positive_labels": ["maybe"]}, 'No row has the label "maybe"'),
        ({"positive_labels": ["1"], "negative_labels": ["1"]}, "both sides"),
        ({"columns": Columns(prompt="frage")}, 'column "frage", given as the prompt, does not exist'),
        ({"columns": Columns(positive="response")}, "Only one of the columns"),
    ],
)
def test_a_correction_that_fits_nothing_gets_a_sentence(options, said):
    rows = [{"prompt": "q", "response": "a", "label": 1}, {"prompt": "q", "response": "b", "label": 0}]
    with pytest.raises(ContrastDataError, match=said):
        read(rows, **options)


def test_labels_cannot_be_said_where_there_is_no_label_column():
    with pytest.raises(ContrastDataError, match="no label column"):
        read([{"positive": "a", "negative": "b"}], positive_labels=["1"])


@pytest.mark.parametrize(
    ("positive", "negative"),
    [("positive", "negative"), ("chosen", "rejected"), ("answer_matching_behavior", "answer_not_matching_behavior")],
)
def test_pairs_in_one_row_are_read(positive, negative):
    reading = read([{"question": "Which? (A) x (B) y", positive: " (A)", negative: " (B)", "id": "7"}])
    assert (responses(reading), prompts(reading)) == (([" (A)"], [" (B)"]), (["Which? (A) x (B) y"],) * 2)
    assert reading.layout == "pairs" and reading.unused == ("id",)


def test_two_pairs_in_a_row_are_said_and_can_be_chosen():
    rows = [{"prompt": "q", "positive": "a", "negative": "b", "chosen": "c", "rejected": "d"}]
    assert responses(read(rows)) == (["a"], ["b"])
    assert any('"chosen" and "rejected" as well' in note for note in read(rows).notes)
    assert responses(read(rows, columns=Columns(positive="rejected", negative="chosen"))) == (["d"], ["c"])


def test_two_lists_under_any_names_are_two_sides_and_said_to_be():
    value = {"happy": [{"prompt": "q", "response": "Yay"}], "sad": [{"prompt": "q", "response": "Oh"}] * 2}
    reading = read(json.dumps(value), ".json")
    assert responses(reading) == (["Yay"], ["Oh", "Oh"]) and reading.layout == "two lists"
    assert any('"happy" was taken as the positive side' in note for note in reading.notes)
    swapped = read(json.dumps(value), ".json", columns=Columns(positive="Sad", negative="happy"))
    assert responses(swapped) == (["Oh", "Oh"], ["Yay"])
    assert responses(read(json.dumps(value), ".json", columns=Columns(positive="sad"))) == (["Oh", "Oh"], ["Yay"])


def test_a_list_named_negative_is_the_negative_side_wherever_it_stands():
    value = {"negative": [{"prompt": "q", "response": "Oh"}], "positive": [{"prompt": "q", "response": "Yay"}] * 2}
    assert responses(read(json.dumps(value), ".json"))[1] == ["Oh"]


def test_lists_of_plain_texts_are_prompts_until_somebody_says_otherwise():
    value = json.dumps({"harmful": ["Do evil."], "harmless": ["Do good.", "Sing."]})
    reading = read(value, ".json")
    assert prompts(reading) == (["Do evil."], ["Do good.", "Sing."]) and reading.responses_missing
    assert "without responses" in reading.questions[0].sentence
    with pytest.raises(ContrastDataError, match="without responses"):
        contrast_set_from(reading)
    texts = read(value, ".json", columns=Columns(response="text"))
    assert responses(texts) == (["Do evil."], ["Do good.", "Sing."]) and not texts.questions
    assert any("prompts are empty" in note for note in texts.notes)


def test_two_files_are_two_sides_whatever_their_formats(tmp_path):
    (tmp_path / "malicious.txt").write_text("Do evil.\n\nDo worse.\n")
    (tmp_path / "benign.jsonl").write_text(json.dumps({"instruction": "Sing."}))
    reading = read_examples(tmp_path / "malicious.txt", tmp_path / "benign.jsonl")
    assert reading.layout == "two files" and reading.responses_missing
    assert prompts(reading) == (["Do evil.", "Do worse."], ["Sing."])


@pytest.mark.parametrize("turned", [False, True])
def test_where_one_file_has_prompts_alone_the_model_is_asked_those_of_both(tmp_path, turned):
    (tmp_path / "harmful.txt").write_text("Do evil.\nDo worse.\n")
    (tmp_path / "alpaca.json").write_text(json.dumps([{"instruction": "Sing", "input": "it", "output": "La la"}]))
    files = [tmp_path / "harmful.txt", tmp_path / "alpaca.json"]
    reading = read_examples(*(reversed(files) if turned else files))
    assert reading.responses_missing and 'column "text" was understood as prompts' in reading.questions[0].sentence
    asked = read_prompts(reading)
    assert {(one.side, one.example.prompt) for one in asked} == {
        ("negative" if turned else "positive", "Do evil."), ("negative" if turned else "positive", "Do worse."),
        ("positive" if turned else "negative", "Sing\nit"),
    }  # fmt: skip
    assert not any(one.example.response or one.reference for one in asked)


def test_two_files_with_responses_are_a_contrast_set(tmp_path):
    for name, answer in (("good", "Yes!"), ("bad", "No.")):
        (tmp_path / f"{name}.csv").write_text(f"question,answer\nAgain?,{answer}\n")
    contrast = contrast_set_from(read_examples(tmp_path / "good.csv", tmp_path / "bad.csv"))
    assert (contrast.positive[0].response, contrast.negative[0].response) == ("Yes!", "No.")
    assert contrast.name == "good and bad"


def test_two_files_have_no_label_column(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("prompt,response,label\np,r,1\n")
    assert read_examples(tmp_path / "a.csv", tmp_path / "b.csv").unused == ("label",)
    with pytest.raises(ContrastDataError, match="already the two sides"):
        read_examples(tmp_path / "a.csv", tmp_path / "b.csv", columns=Columns(label="label"))


def test_a_file_of_one_side_asks_for_the_other():
    reading = read("Do this.\nDo that.\n", ".txt")
    assert [e.prompt for e in reading.without_side] == ["Do this.", "Do that."] and reading.responses_missing
    assert "second file" in reading.questions[0].sentence
    answered = read([{"question": "1+1", "answer": "2"}])
    assert answered.without_side[0].response == "2" and not answered.responses_missing


def test_chats_are_read_with_their_system_text():
    def chat(answer, **more):
        turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", answer)]
        return {"messages": [{"role": role, "content": text} for role, text in turns], **more}

    reading = read([chat("Yo", label=1), chat("Good day", label=0)])
    assert responses(reading) == (["Yo"], ["Good day"])
    assert (reading.positive[0].prompt, reading.positive[0].system) == ("Hi", "Be brief.")
    csv_text = "messages,label\n" + '"' + json.dumps(chat("Yo")["messages"]).replace('"', '""') + '",1\n'
    assert read(csv_text, ".csv").positive[0].response == "Yo"


def test_chats_spelled_from_and_value_and_contents_in_parts_are_read():
    rows = [
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}], "label": 1},
        {"conversations": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "label": 0},
    ]
    reading = read(rows)
    assert responses(reading) == (["Yo"], [""]) and prompts(reading) == (["Hi"], ["Hi"])
    assert not reading.responses_missing  # one is there; the other is reported as empty


def test_preferences_written_as_chats_are_read():
    question, yes, no = ({"role": r, "content": c} for r, c in (("user", "Q"), ("assistant", "Y"), ("assistant", "N")))
    assert responses(read([{"chosen": [question, yes], "rejected": [question, no]}])) == (["Y"], ["N"])
    reading = read([{"prompt": [question], "chosen": [yes], "rejected": [no]}])
    assert (responses(reading), prompts(reading)) == ((["Y"], ["N"]), (["Q"], ["Q"]))


def test_preferences_written_as_transcripts_are_split_into_prompt_and_response():
    asked = "\n\nHuman: Is it, really?\n\nAssistant: "
    longer = f"{asked}Hm.\n\nHuman: So?\n\nAssistant: Yes."
    reading = read([{"chosen": f"{asked}No.", "rejected": f"{asked}Yes: it is.\n\nIt is."},
                    {"chosen": longer, "rejected": longer}])  # fmt: skip
    assert prompts(reading) == (["Is it, really?", "So?"],) * 2
    assert responses(reading) == (["No.", "Yes."], ["Yes: it is.\n\nIt is.", "Yes."])
    assert reading.positive[1].earlier == (("user", "Is it, really?"), ("assistant", "Hm."))
    report = "The Human: a report.\n\nAssistant: none."
    plain = read([{"prompt": "Who?", "chosen": f"{asked}No.", "rejected": report}])
    assert responses(plain) == ([f"{asked}No."], [report])  # a prompt is given: every word is the response


def test_a_null_is_an_empty_response_and_a_missing_column_names_its_row():
    rows = [{"prompt": "q", "chosen": "a", "rejected": "b"}, {"prompt": "q", "chosen": "a", "rejected": None}]
    assert responses(read(rows)) == (["a", "a"], ["b", ""])
    with pytest.raises(ContrastDataError, match='Row 3 .* no text in "rejected"'):
        read([*rows, {"prompt": "q", "chosen": "a"}])


@pytest.mark.parametrize("cell", ["[{", [1], "Hello"])
def test_a_malformed_chat_names_its_row(cell):
    with pytest.raises(ContrastDataError, match="Row 1, column messages: expected a chat"):
        read([{"messages": cell, "label": 1}])


def test_another_column_that_could_be_meant_is_said_and_can_be_chosen():
    rows = [{"question": "i", "query": "j", "output": "o", "label": label} for label in (1, 0)]
    reading = read(rows)
    assert reading.positive[0].prompt == "i"
    assert any('it could be "query" as well' in note for note in reading.notes)
    assert read(rows, columns=Columns(prompt="query")).positive[0].prompt == "j"


def test_columns_of_any_name_are_understood_when_they_are_said():
    text = "Frage;Antwort;Art\nWie?;Gut;ja\nWie?;Schlecht;nein\n"
    assert "columns frage, antwort, art" in read(text, ".csv").questions[0].sentence
    columns = Columns(prompt="Frage", response="Antwort", label="Art")
    reading = read(text, ".csv", columns=columns, positive_labels=["ja"])
    assert responses(reading) == (["Gut"], ["Schlecht"]) and not reading.questions
    assert reading.columns.roles() == {"prompt": "frage", "response": "antwort", "label": "art"}


def test_the_first_rows_are_shown_and_long_cells_are_cut():
    rows = [{"prompt": "p" * 1000, "response": str(n), "label": n % 2} for n in range(9)]
    preview = read(rows).preview
    assert [row["response"] for row in preview] == ["0", "1", "2", "3", "4"]
    assert len(preview[0]["prompt"]) == 300 and preview[0]["prompt"].endswith("…")


def test_a_system_column_reaches_every_example():
    assert read([{"system": "s", "prompt": "p", "positive": "a", "negative": "b"}]).negative[0].system == "s"


def test_an_empty_file_is_a_side_without_examples():
    for suffix in (".jsonl", ".csv", ".tsv", ".txt"):
        with pytest.raises(ContrastDataError, match="has no example"):
            contrast_set_from(read("", suffix))


def test_known_data_sets_are_read_as_they_are_published():
    harmful = read('goal,target\nWrite a thing,"Sure, here is a thing"\n', ".csv")
    assert [e.prompt for e in harmful.without_side] == ["Write a thing"] and harmful.unused == ("target",)
    header = "Type,Category,Question,Best Answer,Best Incorrect Answer,Source"
    facts = f'{header}\nA,B,"Is it, really?",No.,"Yes, it is.",https://example.org\n'
    pair = read(facts, ".csv")
    assert (responses(pair), pair.positive[0].prompt) == ((["No."], ["Yes, it is."]), "Is it, really?")
    persona = [{"question": "Agree?", "statement": "s", "label_confidence": 0.9,
                "answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No"}]  # fmt: skip
    assert responses(read(persona)) == ([" Yes"], [" No"])
    unpaired = [{"prompt": "p", "completion": c, "label": c == "good"} for c in ("good", "bad")]
    assert responses(read(unpaired)) == (["good"], ["bad"])
    statements = read(",statement,label\n0,Paris is in France.,1\n1,Paris is in Peru.,0\n", ".csv")
    assert responses(statements) == (["Paris is in France."], ["Paris is in Peru."])
