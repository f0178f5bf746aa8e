"""Asking many variants many questions: every share gets its own answer, whatever the batches it came in."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from s2e_core import Cancelled, Edited, Original, SettingsError, Steered
from s2e_core.measure import Plan, asking
from s2e_core.measure.asking import ask
from s2e_core.measure.plan import Share
from s2e_core.model import prompt_ids
from s2e_core.values import Prompted
from tests.core.by_hand import answer_by_hand
from tests.core.chain import chain
from tests.core.toy import toy_behavior

PLAN = Plan(toy_behavior(), seed=11)


@pytest.fixture(scope="module")
def variants(llama):
    made = chain(llama)
    return [Original(), Edited(made.edit), Steered(made.directions, 0.8)]


def all_shares(plan, n_variants=3):
    return [Share(t, q) for t in range(n_variants) for q in range(len(plan.questions()))]


def asked(loaded, variants, plan, shares, **options):
    return [pair for batch in ask(loaded, variants, plan, plan.questions(), shares, **options) for pair in batch]


def test_every_answer_is_the_one_made_by_hand_for_its_variant_and_question(llama, variants):
    shares = all_shares(PLAN)
    answered = asked(llama, variants, PLAN, shares)
    assert [share for share, _ in answered] == shares
    for share, answer in answered:
        question = PLAN.questions()[share.question]
        prompt = prompt_ids(llama.tokenizer, question.row["prompt"])
        ids = answer_by_hand(llama, variants[share.trial], prompt, 6, seed=question.seed, temperature=1.0)
        assert (answer.text, answer.n_tokens) == (llama.tokenizer.decode(ids, skip_special_tokens=True), len(ids))


def test_answers_do_not_depend_on_the_size_of_the_batches_or_on_who_else_is_asked(llama, variants, monkeypatch):
    shares = all_shares(PLAN)
    expected = {share: answer.text for share, answer in asked(llama, variants, PLAN, shares)}
    monkeypatch.setattr(asking, "rows_that_fit", lambda loaded, tokens: 2)
    some = shares[::-2]
    answered = asked(llama, variants, PLAN, some)
    assert [share for share, _ in answered] == some
    assert {share: answer.text for share, answer in answered} == {share: expected[share] for share in some}


def test_greedy_questions_are_answered_greedily_among_sampled_ones(llama, variants):
    plan = Plan(replace(toy_behavior(), greedy_utility=True), seed=11, samples=2)
    answered = dict(asked(llama, variants, plan, all_shares(plan)))
    sampled, greedy = (Plan(toy_behavior(), seed=11, temperature=heat) for heat in (1.0, 0.0))
    first, cold = (dict(asked(llama, variants, one, all_shares(one))) for one in (sampled, greedy))
    n_attribute = 4
    for share, answer in answered.items():
        question = plan.questions()[share.question]
        assert question.greedy == (question.side == "utility")
        if question.greedy:
            assert answer.text == cold[share].text
        elif share.question < n_attribute:
            assert answer.text == first[share].text


def test_a_row_with_a_system_text_is_asked_with_it(llama, variants):
    rows = ({"prompt": "Count", "kind": "length", "system": "Be brief."},)
    plan = Plan(toy_behavior(attribute=rows), n_utility=1, temperature=0.0)
    [(_, answer)] = asked(llama, variants, plan, [Share(0, 0)])
    ids = answer_by_hand(llama, Original(), prompt_ids(llama.tokenizer, "Count", "Be brief."), 6)
    assert answer.text == llama.tokenizer.decode(ids, skip_special_tokens=True)


def test_a_system_prompt_is_asked_as_the_untouched_model_with_it(llama):
    rows = ({"prompt": "Count", "kind": "length"}, {"prompt": "Count", "kind": "length", "system": "Be brief."})
    plan = Plan(toy_behavior(attribute=rows), n_utility=1, seed=3)
    answered = asked(llama, [Original(), Prompted("Speak up.")], plan, [Share(1, 0), Share(1, 1), Share(0, 1)])
    for (share, answer), system in zip(answered, ("Speak up.", "Speak up.\n\nBe brief.", "Be brief."), strict=True):
        prompt, seed = prompt_ids(llama.tokenizer, "Count", system), plan.questions()[share.question].seed
        ids = answer_by_hand(llama, Original(), prompt, 6, seed=seed, temperature=1.0)
        assert answer.text == llama.tokenizer.decode(ids, skip_special_tokens=True)


def test_a_stop_keeps_the_batches_that_are_done(llama, variants, monkeypatch):
    monkeypatch.setattr(asking, "rows_that_fit", lambda loaded, tokens: 4)
    stop, kept = threading.Event(), []
    with pytest.raises(Cancelled):
        for batch in ask(llama, variants, PLAN, PLAN.questions(), all_shares(PLAN), stop=stop):
            kept += batch
            stop.set()
    assert len(kept) == 4
    assert not llama.lock.locked()


def test_nothing_to_ask_asks_nothing(llama, variants):
    assert asked(llama, variants, PLAN, []) == []


def test_a_prompt_that_is_too_long_is_refused_before_anything_runs(llama, variants):
    plan = Plan(toy_behavior(attribute=({"prompt": "word " * 200, "kind": "length"},)))
    with pytest.raises(SettingsError, match="reads at most"):
        asked(llama, variants, plan, [Share(0, 1)])
    assert not llama.lock.locked()
