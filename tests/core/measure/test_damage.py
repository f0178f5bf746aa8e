"""Damage by probabilities: against plain loops over one text at a time on a copy with really edited weights."""

import math
import threading
from dataclasses import replace

import pytest
import torch

from s2e_core import Cancelled, Edited, Example, Original, S2EError, Steered
from s2e_core.generation import preview_logits
from s2e_core.measure import ChoiceQuestion, likelihood, multiple_choice, next_token_kl, perplexity
from s2e_core.measure.estimates import mean, ratio
from s2e_core.model import example_ids
from s2e_core.values import Prompted
from tests.core.chain import chain
from tests.core.edits import merged

TEXTS = ["The museum opens at nine.", "Rain.", "A much longer text about a river, a tower and a flag that is red."]
EXAMPLES = [
    Example("How are you?", "Great, thank you!"),
    Example("And now?", "Bad."),
    Example("Tell me about the long and winding road.", "It is long, and it winds, as roads do.", "Be brief."),
]
QUESTIONS = [
    ChoiceQuestion("What colour is the river?", ("red", "It is red."), ("blue", "It is blue.", "green")),
    ChoiceQuestion("Who founded it?", ("a potter",), ("a hunter",)),
    ChoiceQuestion("What does it bake?", ("plum bread", "bread"), ("nothing at all", "stone")),
    ChoiceQuestion("What is it made of?", ("it",), ("a very long answer that is most unlikely as a whole",)),
]


@pytest.fixture(params=["llama", "gpt2", "opt"])
def case(request):
    """A tiny model, three variants, and how each of them runs one text alone: without a hook where it is an edit."""
    loaded = request.getfixturevalue(request.param)
    made = chain(loaded)
    edited = merged(loaded, made.edit, torch.float32)
    steered = Steered(made.directions, 0.7)

    def alone(model):
        return lambda ids: model(input_ids=torch.tensor([ids])).logits[0].detach()

    runs = [alone(loaded.model), alone(edited), lambda ids: preview_logits(loaded, steered, torch.tensor([ids]))[0]]
    return loaded, [Original(), Edited(made.edit), steered], runs


def log_probs(run, ids):
    with torch.no_grad():
        return run(ids).double().log_softmax(-1).tolist()


def kl_by_hand(original, variant, ids, start):
    total = 0.0
    p, q = log_probs(original, ids), log_probs(variant, ids)
    for position in range(start - 1, len(ids) - 1):
        for log_p, log_q in zip(p[position], q[position], strict=True):
            total += math.exp(log_p) * (log_p - log_q)
    return total / (len(ids) - start)


def likelihood_by_hand(run, ids, start):
    said = log_probs(run, ids)
    return sum(said[position - 1][ids[position]] for position in range(start, len(ids)))


def test_the_divergence_equals_a_plain_loop_over_one_text_at_a_time(case):
    loaded, variants, runs = case
    texts = [*TEXTS[:2], EXAMPLES[1]]
    spans = [(loaded.tokenizer(text)["input_ids"], 1) for text in texts[:2]]
    spans.append(example_ids(loaded.tokenizer, EXAMPLES[1]))
    found = next_token_kl(loaded, variants, texts)
    for figure, run in zip(found, runs, strict=True):
        expected = mean([kl_by_hand(runs[0], run, ids, start) for ids, start in spans])
        for name in ("value", "low", "high"):
            assert getattr(figure, name) == pytest.approx(getattr(expected, name), rel=1e-3, abs=1e-6)
        assert figure.count == 3
    assert (found[0].value, found[0].low, found[0].high) == (0, 0, 0)
    assert min(found[1].value, found[2].value) > 1e-3


def test_the_perplexity_equals_a_plain_loop_over_one_text_at_a_time(case):
    loaded, variants, runs = case
    spans = [example_ids(loaded.tokenizer, example) for example in EXAMPLES]
    lengths = [len(ids) - start for ids, start in spans]
    for figure, run in zip(perplexity(loaded, variants, EXAMPLES), runs, strict=True):
        nats = [-likelihood_by_hand(run, ids, start) for ids, start in spans]
        assert figure.value == pytest.approx(math.exp(sum(nats) / sum(lengths)), rel=1e-4)
        expected = ratio(nats, lengths)
        assert (figure.low, figure.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)), rel=1e-4)
        assert figure.count == 3


def test_multiple_choice_equals_a_plain_loop_over_one_answer_at_a_time(case):
    loaded, variants, runs = case
    for figures, run in zip(multiple_choice(loaded, variants, QUESTIONS), runs, strict=True):
        mc1, mc2 = [], []
        for question in QUESTIONS:
            true, false = (
                [
                    math.exp(likelihood_by_hand(run, *example_ids(loaded.tokenizer, Example(question.prompt, answer))))
                    for answer in answers
                ]
                for answers in (question.true, question.false)
            )
            mc1.append(all(true[0] > other for other in false))
            mc2.append(sum(true) / (sum(true) + sum(false)))
        assert figures.mc1.value == pytest.approx(sum(mc1) / len(mc1))
        assert figures.mc2.value == pytest.approx(sum(mc2) / len(mc2), rel=1e-3)
        assert figures.mc1.count == figures.mc2.count == len(QUESTIONS)
        assert mc1[-1], "a short answer is likelier than a long one that no model has learned"


def test_other_true_answers_do_not_compete_for_the_best(llama):
    long = "a very long answer that is most unlikely as a whole"
    for true, expected in ((("it", long), 1), ((long, "it"), 0)):
        question = ChoiceQuestion("What is it made of?", true, (long[:30],))
        assert multiple_choice(llama, [Original()], [question])[0].mc1.value == expected


def test_chance_is_an_even_share_of_equal_answers(llama):
    (figures,) = multiple_choice(llama, [Original()], [ChoiceQuestion("What?", ("same",), ("same", "same", "same"))])
    assert figures.mc1.value == 0, "a tie is no preference"
    assert figures.mc2.value == pytest.approx(0.25)


def everything(loaded, variants):
    kl = next_token_kl(loaded, variants, [*TEXTS, *EXAMPLES])
    pairs = multiple_choice(loaded, variants, QUESTIONS[1:3])
    figures = [*kl, *perplexity(loaded, variants, EXAMPLES), *(p.mc1 for p in pairs), *(p.mc2 for p in pairs)]
    return torch.tensor([[figure.value, figure.low, figure.high] for figure in figures])


def test_the_figures_do_not_depend_on_what_shares_a_batch(case, monkeypatch):
    loaded, variants, _ = case
    together = everything(loaded, variants)
    monkeypatch.setattr(likelihood, "MAX_BATCH_TOKENS", 1)  # one row a batch, and so no padding
    torch.testing.assert_close(everything(loaded, variants), together, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(likelihood, "MAX_BATCH_TOKENS", 150)
    torch.testing.assert_close(everything(loaded, variants), together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_figures_do_not_depend_on_the_side_on_which_the_tokenizer_pads(llama, side):
    variants = [Original(), Edited(chain(llama).edit)]
    before, usual = everything(llama, variants), llama.tokenizer.padding_side
    try:
        llama.tokenizer.padding_side = side
        assert torch.equal(everything(llama, variants), before)
    finally:
        llama.tokenizer.padding_side = usual


def test_no_batch_is_larger_than_its_bound(llama, monkeypatch):
    sizes = []

    class Counting:
        def __call__(self, **given):
            sizes.append(given["input_ids"].numel())
            return llama.model(**given)

        def __getattr__(self, name):
            return getattr(llama.model, name)

    vocabulary = llama.model.config.vocab_size
    monkeypatch.setattr(likelihood, "MAX_LOGITS", 200 * vocabulary)
    next_token_kl(replace(llama, model=Counting()), [Edited(chain(llama).edit)] * 5, TEXTS)
    assert len(sizes) > 3 and max(sizes) <= 200


def test_a_variant_that_changes_nothing_breaks_nothing(llama):
    nothing = Steered(chain(llama).directions, 0.0)
    figure = next_token_kl(llama, [nothing], TEXTS)[0]
    assert 0 <= figure.value < 1e-6
    original, same = perplexity(llama, [Original(), nothing], EXAMPLES)
    assert same.value == pytest.approx(original.value, rel=1e-6)


def test_a_system_prompt_is_compared_on_the_same_responses_that_follow_it(llama):
    texts = [EXAMPLES[0], EXAMPLES[2]]
    (figure,) = next_token_kl(llama, [Prompted("Speak up.")], texts)
    values = []
    for example, system in zip(texts, ("Speak up.", "Speak up.\n\nBe brief."), strict=True):
        logs = []
        for one in (example, replace(example, system=system)):
            ids, start = example_ids(llama.tokenizer, one)
            logits = preview_logits(llama, Original(), torch.tensor([ids]))[0]
            logs.append(logits[start - 1 : len(ids) - 1].float().log_softmax(-1))
        values.append(float((logs[0].exp() * (logs[0] - logs[1])).sum(-1).mean()))
    assert figure.value == pytest.approx(sum(values) / 2, rel=1e-3) and figure.value > 0
    plain, prompted = perplexity(llama, [Original(), Prompted("Speak up.")], texts)
    assert plain.value != prompted.value


def test_stronger_steering_breaks_more(llama):
    directions = chain(llama).directions
    values = [it.value for it in next_token_kl(llama, [Steered(directions, g) for g in (0.1, 0.3, 0.9)], TEXTS)]
    assert values == sorted(values) and values[0] < values[2] / 4


def test_progress_counts_rows_and_a_stop_frees_the_model(llama, monkeypatch):
    monkeypatch.setattr(likelihood, "MAX_BATCH_TOKENS", 1)
    variants = [Original(), Edited(chain(llama).edit)]
    for run, n_rows in (
        (lambda progress: next_token_kl(llama, variants, TEXTS, progress=progress), 6),
        (lambda progress: perplexity(llama, variants, EXAMPLES, progress=progress), 6),
        (lambda progress: multiple_choice(llama, variants, QUESTIONS[1:2], progress=progress), 4),
    ):
        seen = []
        run(lambda done, total, seen=seen: seen.append((done, total)))
        assert seen == [(n + 1, n_rows) for n in range(n_rows)]

        def stop(done, total):
            if done == 2:
                raise Cancelled("Stopped.")

        with pytest.raises(Cancelled):
            run(stop)
        assert not llama.lock.locked()
        assert not any(module._forward_hooks for module in llama.model.modules())


def test_the_model_is_run_only_under_its_lock_and_is_free_between_batches(llama):
    with llama.lock:
        done = threading.Event()
        thread = threading.Thread(target=lambda: (perplexity(llama, [Original()], EXAMPLES), done.set()), daemon=True)
        thread.start()
        assert not done.wait(0.3)
    assert done.wait(30)
    free = []
    perplexity(llama, [Original()], EXAMPLES, progress=lambda *_: free.append(not llama.lock.locked()))
    assert all(free) and free


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda m: next_token_kl(m, [Original()], []), "no text"),
        (lambda m: perplexity(m, [Original()], []), "no text"),
        (lambda m: multiple_choice(m, [Original()], []), "no text"),
        (lambda m: next_token_kl(m, [Original()], [""]), "no token that can be predicted"),
        (lambda m: perplexity(m, [Original()], [Example("Hello", "")]), "no token that can be predicted"),
        (lambda m: next_token_kl(m, [Original()], ["word " * 400]), "at most 512"),
        (lambda m: next_token_kl(m, [Original()], ["\ud83d"]), "broken Unicode character"),
        (lambda m: multiple_choice(m, [Original()], [ChoiceQuestion("A?", ("b",), ())]), "one false answer"),
        (lambda m: next_token_kl(m, [Steered(chain(m).directions, 1e300)], ["Hello."]), "Lower its strength"),
        (lambda m: multiple_choice(m, [Steered(chain(m).directions, 1e300)], QUESTIONS), "Lower its strength"),
        (lambda m: perplexity(m, [Steered(chain(m).directions, 1e300)], [EXAMPLES[0]]), "Lower its strength"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_sentence(llama, run, message):
    with pytest.raises(S2EError, match=message):
        run(llama)
