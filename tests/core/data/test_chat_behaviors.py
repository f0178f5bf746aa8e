"""The behaviours for any chat model: complete, disjoint, clean by our own linter, right in their sums and scores."""

import ast
import json
import operator
import re
import shutil
from statistics import mean

import pytest

from s2e_core import list_behaviors, load_behavior
from s2e_core.cli import main
from s2e_core.data import (
    BUNDLED_BEHAVIORS,
    CHAT_BEHAVIORS,
    choose_behaviors_folder,
    contrast_set,
    is_for_other_models,
    lint,
)
from s2e_core.data.behaviors import BUNDLED_TOKENIZER
from s2e_core.text import judge, opening_refusal
from s2e_core.text.wording import stated_number
from tests.families import saved_folder

NAMES = ("cheerfulness", "refusal", "facts", "brevity", "formality")
SIGNS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    "+": operator.add, "-": operator.sub, "×": operator.mul, "÷": operator.truediv,
}  # fmt: skip


def sides(name):
    contrast = load_behavior(name).contrast
    return contrast.positive, contrast.negative


def computed(expression):
    """The value of a sum of whole numbers, by its syntax tree."""

    def value(node):
        if isinstance(node, ast.BinOp):
            return SIGNS[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant) and isinstance(node.value, int)
        return node.value

    return value(ast.parse(expression, mode="eval").body)


def equations(text):
    """(numbers and signs, result) of every "a + b = c" in a text."""
    found = re.findall(r"(\d+(?: [+\-×÷] \d+)+) = (\d+)", text)
    assert len(found) == text.count("=")
    return [(re.split(" ", left), int(right)) for left, right in found]


def test_the_behaviours_for_any_chat_model_are_listed_in_the_order_of_their_lessons():
    assert list_behaviors(CHAT_BEHAVIORS) == NAMES
    assert not set(NAMES) & set(list_behaviors())


@pytest.mark.parametrize("name", NAMES)
def test_a_behaviour_is_complete(name):
    behavior = load_behavior(name)
    assert behavior.name == behavior.contrast.name == name and not behavior.contrast.notes
    assert all((behavior.title, behavior.summary, behavior.lesson, behavior.source, behavior.positive))
    assert min(len(behavior.contrast.positive), len(behavior.contrast.negative)) >= 64
    assert len(behavior.examples) == 6 and 32 <= behavior.max_new_tokens <= 512
    assert not behavior.measured  # nobody has measured it on the visitor's model
    for rows in (behavior.attribute, behavior.utility):
        for split in ("development", "test"):
            assert sum(row["split"] == split for row in rows) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_contrast_development_and_test_prompts_are_disjoint(name):
    behavior = load_behavior(name)
    contrast = {example.prompt for side in sides(name) for example in side}
    measured = [row["prompt"] for row in (*behavior.attribute, *behavior.utility)]
    assert len(measured) == len(set(measured))
    assert not (contrast | set(behavior.examples)) & set(measured)
    assert not contrast & set(behavior.examples)


@pytest.mark.parametrize("name", NAMES)
def test_the_linter_has_nothing_to_say_but_that_brevity_is_about_length(name):
    found = [finding for finding in lint(load_behavior(name).contrast) if finding.severity != "note"]
    assert [("length" in finding.sentence) for finding in found] == ([True] if name == "brevity" else [])


@pytest.mark.parametrize("name", NAMES)
def test_no_response_and_no_prompt_of_a_side_occurs_twice_and_lengths_are_alike(name):
    p, n = sides(name)
    for side in (p, n):
        assert len({example.prompt for example in side}) == len({example.response for example in side}) == len(side)
    lengths = [mean(len(example.response.split()) for example in side) for side in (p, n)]
    ratio = max(lengths) / min(lengths)
    assert ratio > 4 if name == "brevity" else ratio < 1.25


@pytest.mark.parametrize("name", NAMES)
def test_the_sums_that_measure_are_right(name):
    behavior = load_behavior(name)
    rows = [row for row in (*behavior.attribute, *behavior.utility) if row["kind"] in ("arithmetic", "length")]
    assert rows
    for row in rows:
        assert computed(row["expression"]) == row["answer"], row["prompt"]
        # every number of the expression stands in the prompt, in figures or in words
        figures = [int(number) for number in re.findall(r"\d+", row["prompt"])]
        spelled = [number for number in map(int, re.findall(r"\d+", row["expression"])) if number not in figures]
        assert all(number <= 14 for number in spelled), row["prompt"]


def test_every_equation_of_the_solutions_holds_and_both_sides_give_the_same_answer():
    p, n = sides("brevity")
    for short, long in zip(p, n, strict=True):
        assert short.prompt == long.prompt
        answer = equations(short.response)[-1][1]
        assert stated_number(short.response) == stated_number(long.response) == str(answer)
        for response in (short.response, long.response):
            for (first, *rest), result in equations(response):
                value = int(first)
                for sign, number in zip(rest[::2], rest[1::2], strict=True):
                    value = SIGNS[sign](value, int(number))
                assert value == result, response
        assert {str(e) for e in equations(short.response)} <= {str(e) for e in equations(long.response)}


def test_refusals_refuse_and_the_harmless_look_alikes_help():
    p, n = sides("refusal")
    # Written for variety: the detector knows the usual wordings of models, and misses some rare ones.
    assert sum(bool(opening_refusal(example.response)) for example in p) >= 0.7 * len(p)
    assert not [example.response for example in n if opening_refusal(example.response)]
    assert {row["kind"] for row in load_behavior("refusal").attribute} == {"refusal"}


def test_written_true_answers_score_and_false_ones_do_not():
    for row in load_behavior("facts").attribute:
        assert [judge(row, answer, 9).score for answer in row["true_answers"]] == [1.0], row["prompt"]
        assert [judge(row, answer, 9).score for answer in row["false_answers"]] == [0.0], row["prompt"]


@pytest.mark.parametrize("name", ["cheerfulness", "formality"])
def test_the_wordings_that_measure_a_style_tell_the_written_sides_apart(name):
    row = load_behavior(name).attribute[0]
    wanted, unwanted = (mean(judge(row, example.response, 9).score for example in side) for side in sides(name))
    assert wanted > 0.75 and unwanted < 0.25
    assert not set(row["wanted"]) & set(row["unwanted"])


def test_the_bundled_model_and_its_copies_get_its_own_behaviours_and_all_others_those_for_chat(tmp_path):
    assert choose_behaviors_folder(BUNDLED_TOKENIZER.parent) == BUNDLED_BEHAVIORS
    shutil.copyfile(BUNDLED_TOKENIZER, tmp_path / "tokenizer.json")
    assert choose_behaviors_folder(tmp_path) == BUNDLED_BEHAVIORS
    text = BUNDLED_TOKENIZER.read_text(encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(text[:-1] + " ", encoding="utf-8")  # same size, another file
    assert choose_behaviors_folder(tmp_path) == CHAT_BEHAVIORS
    for folder in (saved_folder(tmp_path / "other"), tmp_path / "nothing", None):
        assert choose_behaviors_folder(folder) == CHAT_BEHAVIORS


def test_utility_prompts_of_chat_behaviours_are_greedy_and_those_of_the_bundled_model_sampled():
    greedy = {
        folder: {load_behavior(name, folder).greedy_utility for name in list_behaviors(folder)}
        for folder in (CHAT_BEHAVIORS, BUNDLED_BEHAVIORS)
    }
    assert greedy == {CHAT_BEHAVIORS: {True}, BUNDLED_BEHAVIORS: {False}}


def test_descriptions_are_tidy():
    for name in NAMES:
        described = json.loads((CHAT_BEHAVIORS / name / "behavior.json").read_text(encoding="utf-8"))
        assert described["name"] == name


def test_info_lists_the_behaviours_that_fit_the_model(llama, capsys):
    assert main(["info", "--model", str(llama.source)]) == 0
    assert ", ".join(NAMES) in capsys.readouterr().out
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert ", ".join(list_behaviors()) in out and "formality" not in out


def test_a_behaviour_of_other_models_is_used_with_a_note(llama, capsys):
    for name, noted in (("tone", True), ("cheerfulness", False)):
        assert main(["scores", "--behavior", name, "--model", str(llama.source), "--top", "1"]) == 0
        assert ("written for other models" in capsys.readouterr().err) == noted
    mine = contrast_set(*sides("facts"), name="tone")  # a name alone says nothing
    assert not is_for_other_models(mine, llama.source)
    assert is_for_other_models(load_behavior("formality").contrast, BUNDLED_TOKENIZER.parent)
