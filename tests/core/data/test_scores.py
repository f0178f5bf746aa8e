"""Scores as labels by a threshold, and traits whose questions the model answers under either system prompt."""

import json

import pytest

from s2e_core import ContrastDataError
from s2e_core.cli import main
from s2e_core.data import Columns, parse_examples
from s2e_core.responses import possible_rules, read_prompts


def read(rows, suffix=".jsonl", **options):
    text = rows if isinstance(rows, str) else "\n".join(json.dumps(row) for row in rows)
    return parse_examples(text, name="x", suffix=suffix, **options)


RATED = [{"question": "How?", "answer": f"In {n} days.", "warmth": n * 9.5, "fluency": 99 - n} for n in range(10)]
RATED_CSV = "question,answer,warmth\nHow?,Well,81.5\nHow?,Badly,3\nHow?,So,\nHow?,Hm,50\n"


def test_rows_above_the_threshold_are_positive_and_the_others_negative():
    reading = read(RATED, columns=Columns(label="warmth"), above=40)
    assert [e.response for e in reading.positive] == [r["answer"] for r in RATED if r["warmth"] > 40]
    assert len(reading.negative) == 10 - len(reading.positive) and not reading.questions
    assert [(label.value, label.side) for label in reading.labels] == [
        ("above 40", "positive"), ("40 or less", "negative"),
    ]  # fmt: skip


def test_numbers_of_a_table_count_and_cells_without_one_are_skipped():
    reading = read(RATED_CSV, ".csv", above=50)  # the only column of numbers
    assert ([e.response for e in reading.positive], [e.response for e in reading.negative]) == (
        ["Well"], ["Badly", "Hm"],
    )  # fmt: skip
    assert reading.n_skipped == 1 and reading.columns.label == "warmth"


def test_a_threshold_that_does_not_say_which_score_or_leaves_a_side_empty_is_refused():
    with pytest.raises(ContrastDataError, match='"warmth", "fluency" contain numbers.*Say which column is the label'):
        read(RATED, above=50)
    with pytest.raises(ContrastDataError, match="No row has a score of above 100.*positive side is empty"):
        read(RATED, columns=Columns(label="warmth"), above=100)
    with pytest.raises(ContrastDataError, match="No column contains numbers"):
        read([{"prompt": "a", "response": "b", "kind": "x"}], above=1)


def test_the_questions_offer_a_threshold_where_there_are_scores():
    assert 'a score with a threshold: "warmth", "fluency"' in read(RATED).questions[0].sentence
    asked = read(RATED, columns=Columns(label="warmth")).questions[0].sentence
    assert asked.endswith("Say which labels are positive, or above which number.")
    plain = read([{"prompt": "a", "response": "b"}]).questions[0].sentence
    assert "threshold" not in plain


def test_the_command_takes_a_threshold(tmp_path, capsys):
    (tmp_path / "a.csv").write_text(RATED_CSV)
    assert main(["data", str(tmp_path / "a.csv"), "--label", "warmth", "--above", "50"]) == 0
    assert '"above 50" is positive: 1 row\n' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["data", str(tmp_path / "a.csv"), "--above", "nan"])


TRAIT = {
    "instruction": [{"pos": f"Be curt, {n}.", "neg": f"Be wordy, {n}."} for n in range(3)],
    "questions": ["Who?", "Where?"],
    "eval_prompt": "Rate {answer}.",
}


def test_a_trait_is_every_question_under_every_system_prompt_for_the_model_to_answer():
    reading = read(json.dumps(TRAIT), ".json")
    assert len(reading.positive) == len(reading.negative) == 6 and reading.responses_missing
    assert {(e.system, e.prompt) for e in reading.positive} == {
        (f"Be curt, {n}.", q) for n in range(3) for q in TRAIT["questions"]
    }
    assert [question.kind for question in reading.questions] == ["responses"]
    asked = read_prompts(reading)
    assert len(asked) == 12 and possible_rules(asked)[0] == "prompt"


def test_the_command_lets_the_model_answer_a_trait_under_either_prompt(tmp_path, llama, capsys):
    path = tmp_path / "trait.json"
    path.write_text(json.dumps(TRAIT))
    assert main(["data", str(path)]) == 1 and "Let a model answer them" in capsys.readouterr().out
    given = ["--model", str(llama.source), "--answers", str(tmp_path / "answers.jsonl"), "--max-new-tokens", "6"]
    main(["data", str(path), *given])
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 12
