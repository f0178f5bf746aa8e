"""Pairs of the model's own answers: the best and the worst of each prompt by the behaviour's own scoring."""

import threading
from dataclasses import replace
from itertools import chain

import pytest

from s2e_core import Cancelled, load_behavior
from s2e_core.measure import Plan
from s2e_core.measure.asking import ask
from s2e_core.measure.own_pairs import SAMPLES, own_pairs
from s2e_core.measure.plan import Share
from s2e_core.text import judge
from s2e_core.values import Original, Prompted


def few(name, n=8, **changes):
    """The first prompts of a behaviour."""
    known = load_behavior(name)
    rows = [row for row in known.attribute if row["split"] == "development"][:n]
    return replace(known, attribute=tuple(rows), **changes)


def scores(loaded, plan, variant, seed):
    """By prompt the scores and texts of answers that have no flaw."""
    asked = replace(plan, samples=SAMPLES, temperature=1.0, seed=seed, max_new_tokens=64)
    questions, found = asked.questions(), {}
    shares = [Share(0, n) for n, question in enumerate(questions) if question.side == "attribute"]
    for share, answer in chain.from_iterable(ask(loaded, [variant], asked, questions, shares)):
        row = questions[share.question].row
        verdict = judge(row, answer.text, answer.n_tokens)
        if not verdict.flaw:
            found.setdefault(row["prompt"], []).append((verdict.score, answer.text))
    return found


def test_the_sides_are_the_best_and_the_worst_answer_of_every_prompt_with_a_difference(bundled):
    plan = Plan(few("safety", system_prompt=""))
    pairs, answers = own_pairs(bundled, plan, seed=5), scores(bundled, plan, Original(), 5)
    differing = {prompt for prompt, found in answers.items() if len({score for score, _ in found}) > 1}
    assert {example.prompt for example in pairs.positive} == differing and len(differing) >= 4
    for better, worse in zip(pairs.positive, pairs.negative, strict=True):
        assert better.prompt == worse.prompt
        values = {text: score for score, text in answers[better.prompt]}
        assert values[better.response] == max(values.values()) > values[worse.response] == min(values.values())


def test_fewer_tokens_are_the_better_answer_where_the_behaviour_is_brevity(bundled):
    pairs = own_pairs(bundled, Plan(few("reasoning", 6)), seed=1)
    assert all(len(a.response) < len(b.response) for a, b in zip(pairs.positive, pairs.negative, strict=True))


def test_the_system_prompt_is_asked_where_the_answers_do_not_differ(bundled):
    behavior = few("safety")
    alone = own_pairs(bundled, Plan(replace(behavior, system_prompt="")), seed=5)
    both = own_pairs(bundled, Plan(behavior), seed=5)
    extra = {e.prompt for e in both.positive} - {e.prompt for e in alone.positive}
    prompted = scores(bundled, Plan(behavior), Prompted(behavior.system_prompt), 5)
    assert extra, "the system prompt gives answers that the untouched model does not"
    by_prompt = {e.prompt: e.response for e in both.positive}
    assert all(by_prompt[prompt] in [text for _, text in prompted[prompt]] for prompt in extra)


def test_too_few_pairs_are_none_and_a_stop_is_heard(bundled):
    assert own_pairs(bundled, Plan(few("safety", 3)), seed=5) is None
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        own_pairs(bundled, Plan(few("safety")), seed=5, stop=stop)
