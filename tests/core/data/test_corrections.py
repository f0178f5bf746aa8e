"""Examples that are longer than the model reads are named and left out on request, and large sets are sampled."""

import json

import pytest

from s2e_core import ContrastDataError, ContrastSet, Example, capture_means, load_contrast_set, load_edit
from s2e_core.cli import main
from s2e_core.data import contrast_set, lint, parse_examples, sampled, without_long


def pairs(n=9, long=()):
    rows = [
        {"prompt": f"Question {k}?", "chosen": f"Warm answer {k}.", "rejected": f"Cold answer {k}."} for k in range(n)
    ]
    for k in long:
        rows[k]["chosen"] = "word " * 600
    return "\n".join(json.dumps(row) for row in rows)


def read(text, **options):
    return parse_examples(text, name="x", suffix=".jsonl", **options)


def contrast(n=9, long=()):
    reading = read(pairs(n, long))
    return contrast_set(reading.positive, reading.negative, name="x")


def test_the_rows_of_long_examples_are_named_where_they_are_refused(llama):
    with pytest.raises(ContrastDataError, match=r"2 examples longer than the \d+ tokens.*: row 4, row 7 \(the longest"):
        capture_means(llama, contrast(long=(3, 6)))
    (finding,) = (f for f in lint(contrast(long=(3,)), llama) if "longer than" in f.sentence)
    assert finding.severity == "problem" and "row 4 (" in finding.sentence and "--leave-out-long" in finding.sentence


def test_long_examples_are_left_out_on_request_and_named(llama):
    shorter = without_long(contrast(long=(3, 6)), llama)
    assert (len(shorter.positive), len(shorter.negative)) == (7, 9)
    assert "2 examples were longer than the model reads and left out: row 4, row 7." in shorter.notes
    capture_means(llama, shorter)
    whole = contrast()
    assert without_long(whole, llama) is whole


def test_typed_examples_without_rows_are_named_by_their_prompt_and_many_are_counted(llama):
    typed = ContrastSet((Example("Why so?", "word " * 600), Example("a", "b")), (Example("c", "d"),))
    assert 'left out: "Why so?".' in " ".join(without_long(typed, llama).notes)
    many = without_long(contrast(20, range(12)), llama)
    assert "row 8 and 4 others." in " ".join(many.notes)


def test_the_command_writes_what_is_left(tmp_path, llama, capsys):
    (tmp_path / "a.jsonl").write_text(pairs(long=(2,)))
    given = ["data", str(tmp_path / "a.jsonl"), "--leave-out-long", "-o", str(tmp_path / "b.jsonl")]
    assert main(given) == 2 and "Name one with --model" in capsys.readouterr().err
    assert main([*given, "--model", str(llama.source)]) == 0
    assert "left out: row 3." in capsys.readouterr().out
    left = load_contrast_set(tmp_path / "b.jsonl")
    assert (len(left.positive), len(left.negative)) == (8, 9)


def test_the_commands_that_read_examples_leave_them_out_too(tmp_path, llama, capsys):
    (tmp_path / "a.jsonl").write_text(pairs(long=(2,)))
    recipe = str(tmp_path / "edit.safetensors")
    given = ["--contrast", str(tmp_path / "a.jsonl"), "--model", str(llama.source), "--device", "cpu", "--no-cache"]
    edit = ["edit", *given, "--rho-attn", "0.1", "--rho-mlp", "0.1", "--alpha", "0.5", "-o", recipe]
    assert main(edit) == 2 and "--leave-out-long" in capsys.readouterr().err
    assert main([*edit, "--leave-out-long"]) == 0 and "left out: row 3." in capsys.readouterr().err
    kept = without_long(load_contrast_set(tmp_path / "a.jsonl"), llama)
    assert load_edit(recipe, base=llama).provenance.contrast_hash == kept.content_hash
    steered = ["compare", "Hello", "--recipe", recipe, "--gamma", "0.5", "--max-new-tokens", "2"]
    exported = ["export", recipe, "--format", "adapter", "--steer", "0.5", "-o", str(tmp_path / "out")]
    for command in (["scores"], steered, exported):
        assert main([*command, *given, "--leave-out-long"]) == 0, command
        assert "left out: row 3." in capsys.readouterr().err, command


def test_a_sample_is_spread_evenly_said_and_always_the_same(tmp_path, capsys):
    reading = read(pairs(50))
    small = sampled(reading, 10)
    assert [e.row for e in small.positive] == list(range(1, 51, 5)) == [e.row for e in small.negative]
    assert small.notes[-1].startswith("A sample was taken: 10 examples of each side at even distances, of 50 and 50")
    assert sampled(reading, 50) is reading
    (tmp_path / "a.jsonl").write_text(pairs(50))
    outputs = []
    for name in ("b", "c"):
        main(["data", str(tmp_path / "a.jsonl"), "--sample", "7", "-o", str(tmp_path / name)])
        outputs.append((tmp_path / name).read_bytes())
        assert "7 positive, 7 negative" in capsys.readouterr().out
    assert outputs[0] == outputs[1]
