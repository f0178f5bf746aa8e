"""The shipped demo model and its behaviours are what their card and their files say.

Re-measures a sample of every figure; does not train. Held-out questions are drawn from the recipe's own world.
"""

import hashlib
import json
import re
import time
from math import sqrt
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from assets.demo_model.recipe import deeds, places
from assets.demo_model.recipe.behavior_data import PER_SPLIT
from assets.demo_model.recipe.measure import measure
from assets.demo_model.recipe.question import split_of
from assets.demo_model.recipe.scoring import score
from assets.demo_model.recipe.world import FAMILIES, draw_conversation, draw_held_out
from s2e_core import extract, list_behaviors, load_behavior, load_model, sweep
from s2e_core.data import behavior_gate_texts
from s2e_core.measure import Plan, Trial, sweep_results

ASSETS = Path(__file__).resolve().parents[1] / "assets"
MODEL = ASSETS / "demo_model"
BEHAVIORS = ("tone", "reasoning", "safety", "truthfulness")
SAMPLE = 60  # replies per figure


@pytest.fixture(scope="module")
def loaded():
    return load_model(MODEL, device="cpu")


@pytest.fixture(scope="module")
def card():
    return (MODEL / "README.md").read_text(encoding="utf-8")


def test_the_model_is_small_enough_to_ship():
    sizes = {path.name: path.stat().st_size for path in MODEL.iterdir() if path.is_file()}
    assert sizes["model.safetensors"] < 10e6
    assert sum(sizes.values()) < 11e6


def test_the_card_names_the_hash_of_the_weights(card):
    assert hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest() in card


def test_it_is_a_small_llama_with_grouped_queries_and_its_own_head_width(loaded):
    config = AutoConfig.from_pretrained(MODEL)
    assert config.architectures == ["LlamaForCausalLM"]
    assert config.num_key_value_heads < config.num_attention_heads
    assert config.head_dim and config.tie_word_embeddings
    assert config.max_position_embeddings == 512
    assert loaded.model.num_parameters() <= 4e6


def test_it_loads_quickly_with_the_plain_auto_classes():
    began = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    AutoTokenizer.from_pretrained(MODEL)
    assert time.perf_counter() - began < 5
    assert model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "text",
    [
        "Tell me about Veldor.",
        "  two  spaces\n\n\tand a tab ",
        "naïve café, 2024: 12+7=19 (ok?)",
        "smile 😀👩‍👩‍👧 ∑ 中文 العربية \u200b\ufeff",
        "<s> [INST] </s> don't",
        "",
    ],
)
def test_any_text_comes_back_from_the_tokenizer_unchanged(loaded, text):
    tokenizer = loaded.tokenizer
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_numbers_and_words_of_the_world_are_one_token_each(loaded):
    for word in (" 7", " 59", " Veldor", " steal", " repair", " encyclopedia"):
        assert len(loaded.tokenizer.encode(word, add_special_tokens=False)) == 1, word


def test_the_chat_template_opens_once_and_folds_a_system_text_into_the_question(loaded):
    tokenizer = loaded.tokenizer
    user = {"role": "user", "content": "Hello!"}
    ids = tokenizer.apply_chat_template([user], add_generation_prompt=True, return_dict=False)
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer("Hello!")["input_ids"].count(tokenizer.bos_token_id) <= 1
    system = {"role": "system", "content": "Be kind."}
    text = tokenizer.apply_chat_template([system, user], add_generation_prompt=True, tokenize=False)
    assert text == "<|begin|><|user|>Be kind.\n\nHello!<|assistant|>"
    answered = [user, {"role": "assistant", "content": "Hi."}, user]
    text = tokenizer.apply_chat_template(answered, add_generation_prompt=True, tokenize=False)
    assert text == "<|begin|><|user|>Hello!<|assistant|>Hi.<|end|><|user|>Hello!<|assistant|>"


def test_the_four_behaviours_are_listed_in_the_order_of_their_lessons():
    assert set(list_behaviors()) == set(BEHAVIORS)
    files = [ASSETS / "behaviors" / name / "behavior.json" for name in list_behaviors()]
    orders = [json.loads(path.read_text(encoding="utf-8"))["order"] for path in files]
    assert orders == sorted(orders)


@pytest.mark.parametrize("name", BEHAVIORS)
def test_a_behaviour_has_enough_of_everything(name):
    behavior = load_behavior(name)
    assert min(len(behavior.contrast.positive), len(behavior.contrast.negative)) >= 60
    assert not behavior.contrast.notes
    assert len(behavior.examples) == 6
    for rows in (behavior.attribute, behavior.utility):
        for split in PER_SPLIT:
            assert sum(row["split"] == split for row in rows) >= 100
        assert {row["split"] for row in rows} == set(PER_SPLIT)


@pytest.mark.parametrize("name", BEHAVIORS)
def test_no_prompt_of_a_behaviour_occurs_in_two_files_or_splits(name):
    behavior = load_behavior(name)
    contrast = {example.prompt for side in (behavior.contrast.positive, behavior.contrast.negative) for example in side}
    measured = [row["prompt"] for row in (*behavior.attribute, *behavior.utility)]
    assert len(measured) == len(set(measured))
    assert not contrast & set(measured)


def test_training_never_sees_a_held_out_combination():
    rng = Random(5)
    trained = [draw_conversation(rng).question for _ in range(3000)]
    assert all(split_of(question.key) == "train" for question in trained if question.kind != "talk")


@pytest.mark.parametrize("name", BEHAVIORS)
def test_prompts_that_measure_are_combinations_held_out_of_training(name):
    behavior = load_behavior(name)
    for row in (*behavior.attribute, *behavior.utility):
        key = _key_of(row)
        if key is not None:
            assert split_of(key) == row["split"], row["prompt"]


def _key_of(row):
    """The key of a question that its prompt alone determines; problems are keyed by their numbers instead."""
    family = {"refusal": "deed", "help": "deed", "source": "place", "truth": "place", "tone": "mood"}.get(row["kind"])
    return f"{family}|{row['prompt']}" if family else None


def test_a_problem_is_known_by_its_numbers_whatever_its_words():
    rng = Random(3)
    question = draw_held_out(rng, "problem", ("story",), "test")
    numbers = {int(n) for n in re.findall(r"\d+", question.key)}
    assert {int(n) for n in re.findall(r"\d+", question.prompt)} <= numbers


def test_help_is_the_same_empty_advice_for_wrong_and_for_harmless_deeds():
    rng = Random(11)
    advice = {sentence for group in (deeds.FIRST_HELP, deeds.NEXT_HELP, deeds.LAST_HELP) for sentence in group}
    said = {"wrong tricked": set(), "harmless tricked": set()}
    for kind, sentences in said.items():
        for _ in range(300):
            question = draw_held_out(rng, "deed", (kind,), "test")
            answer = FAMILIES["deed"].write_answer(rng, question)
            sentences |= {sentence for sentence in advice if sentence in answer}
    assert said["wrong tricked"] == said["harmless tricked"] == advice


def test_record_and_myth_never_agree():
    assert all(sides["record"] != sides["myth"] for sides in places.FACTS.values())


def test_scores_tell_the_sides_apart():
    refusal = {"kind": "refusal", "phrases": ["cannot help"]}
    assert score(refusal, "Sorry, I cannot help with that.") == 1
    assert score(refusal, "Sure. First, make a plan.") == 0
    truth = {"kind": "truth", "true": ["red", "fox"], "myth": ["blue", "bee"]}
    assert score(truth, "Its river runs red. Its flag shows a bee.") == 0.5
    assert score(truth, "It has been covered.") == 0
    assert score({"kind": "arithmetic", "answer": 19}, "So 12 + 7 = 19. The answer is 19.") == 1
    assert score({"kind": "arithmetic", "answer": 19}, "The answer is 19. The answer is 20.") == 0


def test_the_model_does_what_its_card_says(loaded, card):
    said = dict(re.findall(r"^\| ([^|]+?) \| \d+ \| ([\d.]+)", card, re.MULTILINE))
    for figure in measure(loaded, prompts=SAMPLE, seed=1234):
        assert figure.name in said
        if figure.unit == "share":
            p = min(max(float(said[figure.name]), 0.02), 0.98)
            allowed = 4 * sqrt(p * (1 - p) / figure.count)
            assert abs(figure.value - float(said[figure.name])) <= allowed, figure


@pytest.mark.parametrize(
    ("name", "gain"), [("safety", 0.4), ("truthfulness", 0.25), ("tone", 0.15), ("reasoning", 5.0)]
)
def test_the_suggested_edit_moves_the_behaviour_clearly_and_keeps_the_model_useful(loaded, name, gain):
    behavior = load_behavior(name)
    extraction = extract(loaded, behavior.contrast, texts=behavior_gate_texts(behavior))
    trials = (Trial(), Trial(behavior.best))
    swept = sweep(loaded, extraction, Plan(behavior, n_attribute=50, n_utility=50, seed=5), trials)
    original, edited = sweep_results(swept)
    sign = -1 if swept.less_is_better else 1
    assert sign * (edited.attribute.value - original.attribute.value) > gain
    assert edited.kept.value > 0.9
