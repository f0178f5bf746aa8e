"""The command `why` on the model's own answers: which texts it reads, and what it says where there are none."""

import csv
import json
import re

import pytest

from s2e_core import load_behavior, load_model
from s2e_core.cli import main
from s2e_core.loading import BUNDLED
from s2e_core.measure import Plan, own_pairs
from s2e_core.measure.own_pairs import SAMPLES

WHY = ["why", "--behavior", "tone", "--try-heads", "2", "--try-neurons", "2", "--how", "zeroed"]
OWN = [*WHY, "--own-answers"]


def record(capsys, *arguments):
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def pairs():
    """What the untouched model answers to the development prompts with the random seed 3."""
    return own_pairs(load_model(BUNDLED), Plan(load_behavior("tone"), "development"), 3)


def test_own_answers_are_what_is_read_in_place_of_the_examples(capsys, pairs):
    own, examples = record(capsys, *OWN, "--seed", "3"), record(capsys, *WHY)
    assert own["texts"]["name"] == pairs.name and "own answers" in pairs.name
    assert own["texts"]["hash"] == pairs.content_hash != examples["texts"]["hash"]
    assert own["contrast"] == examples["contrast"], "the scores are still those of the examples"
    assert 8 < own["n_texts"] <= len(pairs.positive) + len(pairs.negative)
    assert [e["g"] for e in own["effects"]] == [e["g"] for e in examples["effects"]]
    assert [e["margin"] for e in own["effects"]] != [e["margin"] for e in examples["effects"]]
    development = {row["prompt"] for row in load_behavior("tone").attribute if row["split"] == "development"}
    assert {example.prompt for example in pairs.positive} <= development


def test_another_seed_reads_other_answers(capsys, pairs):
    own = record(capsys, *OWN, "--seed", "4")
    assert own["texts"]["hash"] != pairs.content_hash


def test_the_table_of_own_answers_and_the_count_of_answers(capsys, tmp_path, pairs):
    capsys.readouterr()
    assert main([*OWN, "--seed", "3", "--csv", str(tmp_path / "why.csv")]) == 0
    said = capsys.readouterr().err
    asked = re.search(r"asking the model (\d+)/(\d+)", said)
    assert asked and asked[1] == asked[2] and int(asked[1]) >= 24 * SAMPLES and "intervening 4/4" in said
    with open(tmp_path / "why.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert main([*OWN, "--seed", "3"]) == 0
    assert f"responses of {pairs.name}" in capsys.readouterr().out


def test_own_answers_need_a_behaviour_and_answers_that_differ(capsys, small_behavior, tmp_path):
    assert main(["why", "--contrast", str(small_behavior / "contrast.jsonl"), "--own-answers"]) == 2
    assert "needs the prompts of a behaviour" in capsys.readouterr().err
    folder = tmp_path / "mood"
    folder.mkdir()
    for path in small_behavior.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    rows = (folder / "attribute.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [row for row in rows if json.loads(row)["split"] == "development"][:2]
    (folder / "attribute.jsonl").write_text("\n".join(kept), encoding="utf-8")
    assert main(["why", "--behavior", str(folder), "--try-heads", "1", "--how", "zeroed", "--own-answers"]) == 2
    assert "hardly differ" in capsys.readouterr().err
