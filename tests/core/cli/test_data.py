"""The command `data`: what it prints of a file that is understood, of one that is not, and of corrections."""

import csv

import pytest

from s2e_core import load_contrast_set
from s2e_core.cli import main
from s2e_core.data import Columns, contrast_set_from, read_examples

RATED = "question;answer;rating\nHow?;Great, really;5\nHow?;Awful;1\nHow?;So so;3\n"


@pytest.fixture
def rated(tmp_path):
    path = tmp_path / "rated.csv"
    path.write_text(RATED, encoding="utf-16")
    return str(path)


def test_a_file_that_is_not_understood_shows_its_rows_and_what_is_open(rated, capsys):
    assert main(["data", rated]) == 1
    out = capsys.readouterr().out
    assert "separated by semicolons" in out and "nothing says which side" in out
    assert "answer: Great, really" in out and "3 without a side" in out


def test_a_correction_makes_it_a_contrast_set(rated, capsys):
    given = ["--label", "rating", "--positive-labels", "5", "--negative-labels", "1"]
    assert main(["data", rated, *given]) == 0
    out = capsys.readouterr().out
    assert '"3" is skipped: 1 row\n' in out
    assert "1 positive, 1 negative, 1 row skipped" in out


def test_what_was_understood_is_written_for_the_other_commands(rated, tmp_path, capsys):
    given = ["--label", "rating", "--positive-labels", "5", "-o", str(tmp_path / "out.jsonl")]
    assert main(["data", rated, *given]) == 0
    contrast, corrected = (
        load_contrast_set(tmp_path / "out.jsonl"),
        contrast_set_from(read_examples(rated, columns=Columns(label="rating"), positive_labels=["5"])),
    )
    assert contrast.content_hash == corrected.content_hash
    assert main(["data", rated, "-o", str(tmp_path / "open.jsonl")]) == 2
    assert not (tmp_path / "open.jsonl").exists()


def test_two_files_are_two_sides(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("Do this.\n")
    (tmp_path / "b.txt").write_text("Do that.\n" + "x" * 500)
    assert main(["data", str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]) == 1
    out = capsys.readouterr().out
    assert "two files" in out and "prompts without responses" in out and "1 positive, 2 negative" in out


def test_a_file_that_cannot_be_read_gets_one_sentence(tmp_path, capsys):
    (tmp_path / "a.csv").write_bytes(b"\xe4\xf6\xfc")
    assert main(["data", str(tmp_path / "a.csv")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_linter_says_what_is_odd_and_shows_which_tokens_are_averaged(rated, llama, capsys):
    given = [rated, "--label", "rating", "--positive-labels", "5", "--lint"]
    assert main(["data", *given]) == 0
    out = capsys.readouterr().out
    assert "problem    1 positive example and 2 negative" in out and " words on" in out and "averaged" not in out
    assert main(["data", *given, "--model", str(llama.source)]) == 0
    out = capsys.readouterr().out
    assert " tokens on" in out and "[activations here are averaged]" in out
    assert "[" in out.splitlines()[-1]


def test_reliability_tells_every_site_and_that_weak_data_is_weak(tmp_path, llama, capsys):
    path = tmp_path / "pairs.csv"
    path.write_text("prompt,positive,negative\n" + "".join(f"Q{i}?,Yes {i},No {i}\n" for i in range(4)))
    assert main(["data", str(path), "--reliability", "--model", str(llama.source)]) == 0
    out = capsys.readouterr().out
    assert out.count("heads  ") == out.count("neurons  ") == llama.spec.n_layers
    assert "4 positive and 4 negative examples" in out and "Weak data: with fewer than 8" in out
    assert main(["data", str(path), "--reliability"]) == 2
    assert "Name one with --model" in capsys.readouterr().err


def test_the_model_answers_two_files_of_prompts(tmp_path, llama, capsys):
    files = []
    for name in ("harmful", "harmless"):
        (tmp_path / f"{name}.txt").write_text("".join(f"{name} number {i}\n" for i in range(3)))
        files.append(str(tmp_path / f"{name}.txt"))
    answers, written = tmp_path / "own.jsonl", tmp_path / "mine.jsonl"
    given = ["data", *files, "--answers", str(answers), "-o", str(written), "--max-new-tokens", "4"]
    assert main(given) == 2 and "Name one with --model" in capsys.readouterr().err
    assert main([*given, "--model", str(llama.source)]) == 0
    assert "responses are on the positive side" in capsys.readouterr().out
    contrast = load_contrast_set(written)
    assert all(example.prompt.startswith("harmful number") for example in contrast.positive)
    assert all(example.prompt.startswith("harmless number") for example in contrast.negative)
    assert len(answers.read_text().splitlines()) == 7


PROMPTS = "How do I cheat in the exam?\nHow was your day, then?\nWhat is Veldor like?\nTell me about snow.\n"


def test_what_is_for_answers_alone_is_not_left_out_in_silence(tmp_path, capsys):
    path, written = tmp_path / "pairs.jsonl", tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "q", "positive": "a", "negative": "b"}\n')
    given = ["data", str(path), "-o", str(written)]
    assert main([*given, "--sides", "length", "--share", "0.1"]) == 2 and not written.exists()
    said = capsys.readouterr().err
    assert "--sides and --share are for the model's own answers" in said and "--answers FILE" in said
    assert main([*given, "--samples", "8"]) == 2 and "--samples is for" in capsys.readouterr().err


def test_answers_go_to_sides_by_length_or_by_agreement(tmp_path, capsys):
    rows = ["Mia starts with 24 beads. She buys 2 more. She gives 6 away. How many beads does Mia have in the end?,20"]
    rows += [
        "Ben finds 5 eggs at home. 3 of them break. He finds 8 more. How many eggs does Ben have now?,9"
    ]  # not right
    (tmp_path / "sums.csv").write_text("question,answer\n" + "\n".join(rows))
    answers, written = tmp_path / "own.jsonl", tmp_path / "mine.jsonl"
    given = ["data", str(tmp_path / "sums.csv"), "--answers", str(answers), "--model", "bundled", "--samples", "8"]
    assert main([*given, "--sides", "prompt"]) == 2 and "prompts of both sides" in capsys.readouterr().err
    assert main([*given, "-o", str(written)]) == 0  # by agreement: the file has an answer of its own
    assert "sides by agreement" in capsys.readouterr().out
    contrast = load_contrast_set(written)
    assert {e.prompt for e in contrast.positive} == {rows[0].split(",")[0]}
    assert {e.prompt for e in contrast.negative} == {rows[1].split(",")[0]}
    assert main([*given, "--sides", "length", "--share", "0.25", "-o", str(written)]) == 0
    assert len(load_contrast_set(written).positive) == 2  # a quarter of the eight that agree
    assert main([*given, "--sides", "length", "--share", "0.9"]) == 2 and "0.9" in capsys.readouterr().err


def test_answers_go_to_sides_by_marks_in_a_file_that_is_written_first(tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text(PROMPTS)
    marks, written = tmp_path / "marks.csv", tmp_path / "mine.jsonl"
    given = ["data", str(tmp_path / "prompts.txt"), "--answers", str(tmp_path / "own.jsonl"), "--sides", "hand"]
    given += ["--model", "bundled", "-o", str(written)]
    assert main(given) == 2 and "--marks" in capsys.readouterr().err
    given += ["--marks", str(marks)]
    assert main(given) == 2 and "was written" in capsys.readouterr().err
    with marks.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, mark in zip(rows, ("-", "+", "", "-"), strict=True):
        row["mark"] = mark
    with marks.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader(), writer.writerows(rows)
    assert main(given) == 0
    contrast = load_contrast_set(written)
    assert [e.prompt for e in contrast.positive] == ["How was your day, then?"]
    assert [e.response for e in contrast.negative] == [rows[0]["response"], rows[3]["response"]]
    marks.write_text(marks.read_text().replace("+", "?"))
    assert main(given) == 2 and "with the mark" in capsys.readouterr().err
