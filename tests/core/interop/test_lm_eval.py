"""Tests of the reader of lm-eval's results: which file counts, what a row says, and what is wrong with a folder."""

import json

import pytest

from s2e_core import InteropError
from s2e_core.cli import main
from s2e_core.interop import read_results


def results(value, *, error=0.01, effective=100):
    """The parts of a results_*.json that are read, as lm-eval 0.4.13 writes them, with some that are not."""
    return {
        "results": {
            "gsm8k": {
                "name": "gsm8k",
                "alias": "gsm8k",
                "sample_len": effective,
                "exact_match,strict-match": value,
                "exact_match_stderr,strict-match": error,
                "exact_match,flexible-extract": value + 0.1,
                "exact_match_stderr,flexible-extract": "N/A",
            },
            "mmlu": {
                "name": "mmlu",
                "alias": "mmlu",
                "sample_len": 2 * effective,
                "sample_count": {"acc,none": 2 * effective},
                "acc,none": value,
                "acc_stderr,none": error,
            },
            "mmlu_anatomy": {"alias": " - anatomy", "acc,none": value / 2, "acc_stderr,none": error},
        },
        "groups": {"mmlu": {"alias": "mmlu", "acc,none": value, "acc_stderr,none": error}},
        "group_subtasks": {"mmlu": ["mmlu_anatomy"]},
        "n-samples": {task: {"original": 1000, "effective": effective} for task in ("gsm8k", "mmlu_anatomy")},
        "config": {"model": "hf", "model_dtype": "torch.float32"},
    }


def write(folder, run, content, date="2026-01-02T03-04-05.678901", model="__models__small"):
    path = folder / run / model / f"results_{date}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "original", results(0.5))
    write(tmp_path, "edited", results(0.625), model="")  # the name of a model that is "." adds no folder
    return tmp_path


def test_every_metric_is_a_row_with_its_difference(folder):
    rows = read_results(folder).rows
    found = [(r.run, r.task, r.metric, round(r.value, 6), r.error, r.samples, r.in_group) for r in rows]
    assert found == [
        ("original", "gsm8k", "exact_match (strict-match)", 0.5, 0.01, 100, False),
        ("original", "gsm8k", "exact_match (flexible-extract)", 0.6, None, 100, False),
        ("original", "mmlu", "acc", 0.5, 0.01, 200, False),
        ("original", "mmlu_anatomy", "acc", 0.25, 0.01, 100, True),
        ("edited", "gsm8k", "exact_match (strict-match)", 0.625, 0.01, 100, False),
        ("edited", "gsm8k", "exact_match (flexible-extract)", 0.725, None, 100, False),
        ("edited", "mmlu", "acc", 0.625, 0.01, 200, False),
        ("edited", "mmlu_anatomy", "acc", 0.3125, 0.01, 100, True),
    ]
    assert [row.difference for row in rows[:4]] == [None] * 4
    assert [row.difference for row in rows[4:]] == pytest.approx([0.125, 0.125, 0.125, 0.0625])
    assert read_results(folder).notes == ()


def test_the_newest_results_of_a_run_count(folder):
    newest = write(folder, "edited", results(0.75), date="2026-03-01T00-00-00.000001", model="moved")
    write(folder, "edited", results(0.25), date="2025-12-31T23-59-59.999999", model="zzz")
    found = read_results(folder)
    assert found.files["edited"] == newest
    assert [r.value for r in found.rows if r.run == "edited" and r.task == "mmlu"] == [0.75]
    assert found.notes == (f"The run edited has 3 results; the newest counts, {newest.name}.",)


def test_other_questions_give_no_difference(folder):
    write(folder, "steered", results(0.4, effective=50))
    found = read_results(folder)
    assert all(row.difference is None for row in found.rows if row.run == "steered")
    tasks = ("gsm8k", "mmlu", "mmlu_anatomy")
    assert found.notes == tuple(
        f"{task} of the run steered was measured on other questions than the untouched model's: no difference."
        for task in tasks
    )


def test_without_the_untouched_model_there_is_no_difference(tmp_path):
    write(tmp_path, "prompt", results(0.5))
    found = read_results(tmp_path)
    assert all(row.difference is None for row in found.rows) and "no differences" in found.notes[0]


def test_a_folder_without_results_is_refused_in_one_sentence(tmp_path, capsys):
    (tmp_path / "original").mkdir()
    assert main(["results", str(tmp_path)]) == 2
    assert "contains no results of lm-eval" in capsys.readouterr().err
    assert main(["results", str(tmp_path / "nowhere")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err


DAMAGED = {
    "cut off": json.dumps(results(0.5))[:200],
    "empty": "",
    "a list": "[]",
    "no results": "{}",
    "results that are a list": '{"results": []}',
    "figures that are a number": '{"results": {"gsm8k": 1}}',
    "too deep": "[" * 100_000,
    "too large": json.dumps({"results": {"gsm8k": {"acc,none": 10**400}}}),
    "counts that are a number": '{"results": {"gsm8k": {}}, "n-samples": {"gsm8k": 1}}',
    "no metric": '{"results": {"gsm8k": {"alias": "gsm8k"}}}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_results_are_named(folder, content):
    write(folder, "edited", content, model="")
    with pytest.raises(InteropError, match=r"results_2026-01-02T03-04-05\.678901\.json is damaged, or not of lm-eval"):
        read_results(folder)


def test_the_table_leaves_out_parts_of_tasks_unless_asked(folder, capsys):
    assert main(["results", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "task", "metric", "value", "±", "error", "difference"]
    assert [line.split() for line in lines if "mmlu" in line] == [
        ["original", "mmlu", "acc", "0.5000", "±", "0.0100"],
        ["edited", "mmlu", "acc", "0.6250", "±", "0.0100", "+0.1250"],
    ]
    assert main(["results", str(folder), "--parts"]) == 0
    assert "mmlu_anatomy" in capsys.readouterr().out


def test_the_json_object_contains_every_row(folder, capsys):
    write(folder, "edited", results(float("nan")), date="2026-03-01T00-00-00.000001")
    assert main(["results", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (found["command"], len(found["rows"]), len(found["notes"])) == ("results", 8, 1)
    assert found["rows"][0] == {
        "run": "original", "task": "gsm8k", "metric": "exact_match (strict-match)", "value": 0.5,
        "standard_error": 0.01, "questions": 100, "difference": None, "part": False,
    }  # fmt: skip
    assert found["rows"][-1]["value"] is None
