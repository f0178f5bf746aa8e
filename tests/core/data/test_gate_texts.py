"""The prompts of a gate: those of a behaviour, of one's own examples, of a file, and the neutral ones that ship."""

import json

import pytest

from s2e_core import Example, list_behaviors, load_behavior
from s2e_core.data import (
    BUNDLED_BEHAVIORS,
    CHAT_BEHAVIORS,
    behavior_gate_texts,
    contrast_set,
    example_gate_texts,
    read_harmless,
)
from s2e_core.data.behaviors import BUNDLED_TOKENIZER
from s2e_core.data.gate_texts import FIRST_PROMPTS, MOST_PROMPTS, NEUTRAL, PROBES
from s2e_core.errors import ContrastDataError

KINDS = {"help", "source", "arithmetic"}


def prompts_in(path):
    return [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()]


def contrast_of(positive, negative):
    """A contrast set of (prompt, response) pairs."""
    sides = ([Example(prompt, response) for prompt, response in side] for side in (positive, negative))
    return contrast_set(*sides, name="mine")


def test_a_behaviour_brings_prompts_of_its_development_split_alone():
    behavior = load_behavior("tone")
    texts = behavior_gate_texts(behavior)
    split = {row["prompt"]: row["split"] for row in (*behavior.attribute, *behavior.utility)}
    assert {split[one.prompt] for one in (*texts.on, *texts.off, *texts.probes)} == {"development"}
    assert (len(texts.on), len(texts.off), len(texts.probes)) == (MOST_PROMPTS, MOST_PROMPTS, PROBES)
    assert texts.harmless == "the utility prompts of tone"


def test_examples_bring_the_prompts_that_only_the_positive_side_has():
    contrast = contrast_of([("both", "yes"), ("harm", "no"), ("harm", "never")], [("both", "no"), ("benign", "yes")])
    texts = example_gate_texts(contrast, None)
    assert [(one.prompt, one.response) for one in texts.on] == [("harm", "")]


def test_examples_whose_sides_share_all_prompts_bring_those():
    contrast = contrast_of([("a", "yes"), ("b", "yes")], [("a", "no"), ("b", "no")])
    assert [one.prompt for one in example_gate_texts(contrast, None).on] == ["a", "b"]


@pytest.mark.parametrize(("model", "folder"), [(BUNDLED_TOKENIZER.parent, BUNDLED_BEHAVIORS), (None, CHAT_BEHAVIORS)])
def test_the_neutral_prompts_speak_the_words_of_the_model(model, folder):
    contrast = contrast_of([("a", "yes")], [("b", "no")])
    texts = example_gate_texts(contrast, model)
    assert {one.prompt for one in (*texts.off, *texts.probes)} <= set(prompts_in(folder / NEUTRAL))
    assert len(texts.off) == len(prompts_in(folder / NEUTRAL)) - PROBES and len(texts.probes) == PROBES
    assert "neutral" in texts.harmless
    assert not {one.prompt for one in texts.off} & {one.prompt for one in texts.probes}


@pytest.mark.parametrize("kind", ["examples", "behaviour"])
def test_own_harmless_prompts_come_first_and_are_named(tmp_path, kind):
    path = tmp_path / "everyday.txt"
    path.write_text("How are you?\n\n  What is the time?  \nSing.\n", encoding="utf-8")
    contrast, behavior = contrast_of([("a", "yes")], [("b", "no")]), load_behavior("tone")
    make = {
        "examples": lambda f: example_gate_texts(contrast, None, f),
        "behaviour": lambda f: behavior_gate_texts(behavior, f),
    }[kind]
    texts = make(path)
    assert {one.prompt for one in (*texts.off, *texts.probes)} == {"How are you?", "What is the time?", "Sing."}
    assert texts.harmless == "everyday.txt" and texts.content_hash != make(None).content_hash
    assert [one.prompt for one in texts.on] == [one.prompt for one in make(None).on]


def test_harmless_rows_may_have_a_system_prompt(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "Hi", "system": "Be brief."}\n{"prompt": "Bye", "kind": "x"}\n', encoding="utf-8")
    assert [(one.prompt, one.system) for one in read_harmless(path)] == [("Hi", "Be brief."), ("Bye", None)]


def test_many_harmless_prompts_are_taken_at_even_distances(tmp_path):
    path = tmp_path / "many.txt"
    path.write_text("\n".join(map(str, range(320))), encoding="utf-8")
    assert [int(one.prompt) for one in read_harmless(path)] == list(range(320))
    texts = example_gate_texts(contrast_of([("a", "yes")], [("b", "no")]), None, path)
    first, others = texts.off[:FIRST_PROMPTS], [int(one.prompt) for one in texts.off[FIRST_PROMPTS:]]
    assert sorted(int(one.prompt) for one in (*first, *texts.probes)) == list(range(0, 320, 10))
    assert len(texts.off) == MOST_PROMPTS and not set(others) & set(range(0, 320, 10))
    assert max(b - a for a, b in zip(others, others[1:], strict=False)) <= 5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.txt", b"\n \n"),
        ("rows.jsonl", b'{"question": "Hi"}\n'),
        ("rows.jsonl", b'["Hi"]\n'),
        ("rows.jsonl", b'{"prompt": 7}\n'),
        ("broken.jsonl", b'{"prompt": "Hi"\n'),
        ("latin.txt", b"caf\xe9\n"),
    ],
)
def test_a_file_without_harmless_prompts_is_a_sentence_with_its_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ContrastDataError, match=name):
        read_harmless(tmp_path / name)


def test_the_neutral_prompts_of_the_bundled_model_are_utility_prompts_that_nothing_is_reported_on():
    neutral = prompts_in(BUNDLED_BEHAVIORS / NEUTRAL)
    behaviors = [load_behavior(name) for name in list_behaviors()]
    rows = {row["prompt"]: row for one in behaviors for row in one.utility if row["split"] == "development"}
    assert len(neutral) == len(set(neutral)) == 40
    assert set(neutral) <= rows.keys() and {rows[prompt]["kind"] for prompt in neutral} == KINDS
    reported = {row["prompt"] for one in behaviors for row in (*one.attribute, *one.utility) if row["split"] == "test"}
    shown = {example.prompt for one in behaviors for example in (*one.contrast.positive, *one.contrast.negative)}
    assert not set(neutral) & (reported | shown | {row["prompt"] for one in behaviors for row in one.attribute})


def test_the_neutral_prompts_in_english_belong_to_no_behaviour():
    neutral = prompts_in(CHAT_BEHAVIORS / NEUTRAL)
    behaviors = [load_behavior(name) for name in list_behaviors(CHAT_BEHAVIORS)]
    known = {row["prompt"] for one in behaviors for row in (*one.attribute, *one.utility)}
    known |= {example.prompt for one in behaviors for example in (*one.contrast.positive, *one.contrast.negative)}
    known |= {prompt for one in behaviors for prompt in one.examples}
    assert len(neutral) == len(set(neutral)) == 48 and not set(neutral) & known
