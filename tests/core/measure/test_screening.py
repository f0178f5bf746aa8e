"""The screen by likelihood: against slow plain loops, and what it does with parts, broken variants and few examples."""

from dataclasses import replace

import pytest
import torch

from s2e_core import Cancelled, Edited, Example, Original, S2EError, SettingsError, Steered, build_edit
from s2e_core.data import contrast_set
from s2e_core.errors import ContrastDataError
from s2e_core.generation import preview_logits
from s2e_core.measure import open_screen, screen, screen_texts, screening, split_contrast
from s2e_core.measure.likelihood import encode_text
from s2e_core.measure.screening import ANSWER_TOKENS, HELD_OUT_EVERY
from s2e_core.model import example_ids, prompt_ids
from s2e_core.values import Prompted
from tests.core.by_hand import answer_by_hand
from tests.core.chain import MANY, SETTINGS, TEXTS, chain

HARMLESS = [*TEXTS.off, Example("Name a colour.", "", "Be brief.")]


@pytest.fixture(scope="module", params=["llama", "bundled"])
def case(request, llama, bundled, few_pairs, few_texts, tone):
    """A model with its variants, pairs and harmless prompts."""
    if request.param == "llama":
        made = chain(llama)
        return llama, [Edited(made.edit), Steered(made.directions, 0.7)], MANY, HARMLESS
    pairs = contrast_set(few_pairs.positive[:4], few_pairs.negative[:4], name="four")
    edit = build_edit(tone, SETTINGS)
    return bundled, [Edited(edit), Steered(tone.directions, 1.0)], pairs, few_texts.probes[:2]


@pytest.fixture(scope="module")
def opened(case):
    loaded, _, pairs, harmless = case
    return open_screen(loaded, screen_texts(loaded, pairs, harmless, most_tokens=100_000))


def test_a_screen_has_at_most_so_many_tokens_but_a_few_pairs_in_any_case(case):
    loaded, _, pairs, harmless = case
    texts = screen_texts(loaded, pairs, harmless, most_tokens=200)
    whole = [encode_text(loaded, one) for one in pairs.positive]
    assert len(texts.wanted) == len(texts.unwanted) >= screening.LEAST_PAIRS
    spent = sum(len(span.ids) for span in (*texts.wanted, *texts.unwanted))
    assert spent <= 400 or len(texts.wanted) == screening.LEAST_PAIRS
    assert set(texts.wanted) <= set(whole)


def log_likelihood(loaded, variant, example):
    """Mean over the response's tokens of log p, one token after the other."""
    ids, start = example_ids(loaded.tokenizer, example)
    logs = preview_logits(loaded, variant, torch.tensor([ids]))[0].float().log_softmax(-1)
    return sum(float(logs[place - 1, ids[place]]) for place in range(start, len(ids))) / (len(ids) - start)


def divergence(loaded, variant, example):
    """Mean over the tokens of the model's own answer of sum p (log p - log q)."""
    prompt = prompt_ids(loaded.tokenizer, example.prompt, example.system)
    ids = [*prompt, *answer_by_hand(loaded, Original(), prompt, ANSWER_TOKENS)]
    if len(ids) == len(prompt):
        return None
    rows = [preview_logits(loaded, v, torch.tensor([ids]))[0].double().log_softmax(-1) for v in (Original(), variant)]
    p, q = (row[len(prompt) - 1 : len(ids) - 1] for row in rows)
    return float((p.exp() * (p - q)).sum(-1).mean())


def test_the_figures_equal_a_plain_loop_over_one_text_at_a_time(case, opened):
    loaded, variants, pairs, harmless = case
    for variant, figures in zip(variants, screen(loaded, variants, opened), strict=True):
        rises = [
            [log_likelihood(loaded, variant, one) - log_likelihood(loaded, Original(), one) for one in side]
            for side in (pairs.positive, pairs.negative)
        ]
        margins = [wanted - unwanted for wanted, unwanted in zip(*rises, strict=True)]
        assert list(figures.margins) == pytest.approx(margins, abs=2e-4)
        assert figures.margin.value == pytest.approx(sum(margins) / len(margins), abs=1e-4)
        assert figures.wanted.value == pytest.approx(sum(rises[0]) / len(rises[0]), abs=1e-4)
        kls = [kl for kl in (divergence(loaded, variant, one) for one in harmless) if kl is not None]
        assert figures.kl.value == pytest.approx(sum(kls) / len(kls), rel=2e-3, abs=1e-6)
        assert (figures.margin.count, figures.kl.count) == (len(margins), len(kls))
        assert figures.margin.low <= figures.margin.value <= figures.margin.high


def test_the_untouched_model_has_no_margin_and_no_divergence(case, opened):
    loaded = case[0]
    (figures,) = screen(loaded, [Original()], opened)
    assert figures.margin.value == pytest.approx(0, abs=1e-5) and figures.wanted.value == pytest.approx(0, abs=1e-5)
    assert 0 <= figures.kl.value < 1e-5


def test_a_part_keeps_the_reference_of_its_own_texts(case, opened):
    loaded, variants, _, _ = case
    for share in (0.3, 0.5, 0.01):
        part = opened.part(share)
        again = open_screen(loaded, part.texts)
        assert torch.allclose(part.nats, again.nats, atol=1e-4)
        assert len(part.log_probs) == len(part.texts.harmless) == max(1, round(share * len(opened.texts.harmless)))
        for kept, anew in zip(part.log_probs, again.log_probs, strict=True):
            assert torch.allclose(kept, anew, atol=1e-3)
        one, other = screen(loaded, variants[:1], part)[0], screen(loaded, variants[:1], again)[0]
        assert one.margin.value == pytest.approx(other.margin.value, abs=1e-4)
        assert one.kl.value == pytest.approx(other.kl.value, rel=1e-3, abs=1e-6)
    assert opened.part(1.0).texts.wanted == opened.texts.wanted


def test_a_variant_whose_numbers_are_not_finite_is_infinitely_far(llama):
    made = chain(llama)
    against = open_screen(llama, screen_texts(llama, MANY, HARMLESS))
    broken, fine = screen(llama, [Steered(made.directions, 1e300), Edited(made.edit)], against)
    assert broken.kl.value == float("inf") and broken.margin.value == -float("inf") and broken.margins == ()
    assert 0 < fine.kl.value < float("inf")


def test_a_system_prompt_is_refused_since_the_texts_are_without_it(llama):
    against = open_screen(llama, screen_texts(llama, MANY, HARMLESS))
    with pytest.raises(SettingsError, match="system prompt"):
        screen(llama, [Prompted("Be kind.")], against)


def test_progress_counts_variants_and_a_stop_frees_the_model(llama):
    against, variant, seen = open_screen(llama, screen_texts(llama, MANY, HARMLESS)), Edited(chain(llama).edit), []
    screen(llama, [variant] * 3, against, progress=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def stop(done, total):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        screen(llama, [variant] * 3, against, progress=stop)
    assert not llama.lock.locked()


def test_harmless_prompts_that_do_not_fit_are_left_out_and_none_at_all_is_a_sentence(llama):
    long = Example("word " * 600, "")
    texts = screen_texts(llama, MANY, [long, *HARMLESS])
    assert len(texts.harmless) == len(screen_texts(llama, MANY, HARMLESS).harmless) > 0
    with pytest.raises(S2EError, match="nothing to screen on"):
        screen_texts(llama, MANY, [long])
    with pytest.raises(S2EError, match="nothing to screen on"):
        screen_texts(llama, replace(MANY, negative=()), HARMLESS)


def test_sides_of_different_length_give_as_many_texts_of_each(llama):
    texts = screen_texts(llama, replace(MANY, negative=MANY.negative[:3]), HARMLESS)
    assert len(texts.wanted) == len(texts.unwanted) == 3


def test_a_contrast_set_splits_into_what_is_fitted_and_what_is_held_out():
    fit, held_out = split_contrast(MANY)
    for side in ("positive", "negative"):
        whole, kept, apart = (getattr(one, side) for one in (MANY, fit, held_out))
        assert apart == whole[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY] and len(apart) == 2
        assert set(kept) | set(apart) == set(whole) and not set(kept) & set(apart)
    assert len({MANY.content_hash, fit.content_hash, held_out.content_hash}) == 3, "no extraction stands for another"
    with pytest.raises(ContrastDataError, match="at least 5 a side"):
        split_contrast(contrast_set(MANY.positive[:4], MANY.negative, name="few"))
