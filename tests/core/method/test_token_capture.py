"""Inputs token by token on the model's own answers: against one text at a time, and bounded in number."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from s2e_core import Cancelled, ContrastDataError, Example, S2EError, SettingsError, extract, load_model
from s2e_core.data import GateTexts
from s2e_core.method import capture, capture_token_inputs, fit_gate, own_answers, token_capture
from s2e_core.method.gate import MUS, solve_keys
from tests.core.by_hand import answer_by_hand
from tests.core.chain import EXAMPLES
from tests.core.method.test_capture import too_large_for_float16
from tests.families import VOCABULARY, in_memory, saved_folder, tiny_model
from tests.plain_weights import expert_activations

TEXTS = GateTexts(
    on=(Example("How are you?", ""), Example("And you there?", ""), Example("Hi", "")),
    off=(Example("Count to 3, please.", ""), Example("So", "")),
    probes=(Example("Name it.", ""),),
    harmless="two prompts",
    answer_tokens=4,
)
PLAIN = ("llama", "gpt2", "gemma2", "gemma3_text", "hrm_text", "zamba")
EXPERTS = ("mixtral", "qwen2_moe", "llama4_text", "gpt_oss")
"""Of the plain ones: transposed, with norms behind, and with blocks that run several times or are shared."""


@pytest.fixture(scope="module", params=PLAIN + EXPERTS)
def loaded(request):
    return in_memory(tiny_model(request.param, vocab_size=VOCABULARY))


@pytest.fixture(scope="module")
def captured(loaded):
    return capture_token_inputs(loaded, TEXTS)


def rows_one_by_one(loaded, answers):
    """Per site, the inputs at all positions of every text (all runs), by a pre-hook and one unpadded text at a time."""
    rows = [[] for _ in loaded.spec.sites]
    for ids in answers:
        handles = []
        for i, site in enumerate(loaded.spec.sites):
            if not site.experts:

                def keep(module, x, i=i):
                    rows[i].append(x[0].detach().reshape(-1, x[0].shape[-1]).clone())

                handles += [loaded.model.get_submodule(place).register_forward_pre_hook(keep) for place in site.places]
        with torch.no_grad():
            loaded.model(input_ids=torch.tensor([ids]), use_cache=False)
        for handle in handles:
            handle.remove()
        fused = [site for site in loaded.spec.sites if site.experts]
        if fused:
            found = expert_activations(loaded.model, fused, torch.tensor([ids]), range(len(ids)))
            for i, site in enumerate(loaded.spec.sites):
                if site.experts:
                    rows[i].append(found[site.name][0])
    return [torch.cat(parts) for parts in rows]


def assert_same_rows(actual, expected, roundings=1):
    """The same rows in any order: each is nearest to one of the others, up to the rounding of bf16."""
    assert actual.shape == expected.shape and actual.dtype == torch.bfloat16
    actual, expected = actual.float(), expected.float()
    nearest = torch.cdist(actual.double(), expected.double()).argmin(dim=1)
    torch.testing.assert_close(actual, expected[nearest], rtol=roundings * 2**-8, atol=1e-5)
    tolerance = 0.02 * float(expected.abs().max())
    torch.testing.assert_close(actual.sum(dim=0), expected.sum(dim=0), rtol=0.02, atol=tolerance)


def test_all_positions_equal_one_text_at_a_time_with_a_plain_hook(loaded, captured):
    for prompts, found in ((TEXTS.on, captured.on), (TEXTS.off, captured.off)):
        expected = rows_one_by_one(loaded, own_answers(loaded, prompts, TEXTS.answer_tokens))
        for actual, rows in zip(found, expected, strict=True):
            assert_same_rows(actual, rows)
    assert captured.spec is loaded.spec and captured.harmless == "two prompts"


def test_every_run_of_a_site_is_kept(loaded, captured):
    n_tokens = sum(map(len, own_answers(loaded, TEXTS.on, TEXTS.answer_tokens)))
    assert [len(rows) for rows in captured.on] == [n_tokens * site.runs for site in loaded.spec.sites]
    if loaded.spec.model_type in ("hrm_text", "zamba"):
        assert max(site.runs for site in loaded.spec.sites) > 1


def test_the_gates_are_solved_in_advance_also_where_experts_have_few_tokens(loaded, captured):
    inputs = captured
    assert inputs.mus == MUS
    for on, off, keys in zip(inputs.on, inputs.off, inputs.keys, strict=True):
        assert keys.isfinite().all()
        for mu, key in zip(inputs.mus, keys, strict=True):
            assert torch.equal(key, fit_gate(on, off, mu))
    for site, on, off, keys in zip(loaded.spec.sites, inputs.on, inputs.off, inputs.keys, strict=True):
        if site.experts:
            idle = ~(on.any(dim=0) | off.any(dim=0))
            assert not keys[:, idle].any()  # a neuron whose expert got no token


def test_an_expert_that_no_token_reaches_gets_no_gate():
    loaded = in_memory(tiny_model("mixtral", vocab_size=VOCABULARY, num_local_experts=16, num_experts_per_tok=1))
    inputs = capture_token_inputs(loaded, replace(TEXTS, on=TEXTS.on[2:], off=TEXTS.off[1:], answer_tokens=1))
    site = next(i for i, site in enumerate(loaded.spec.sites) if site.experts)
    reached = inputs.on[site].float().unflatten(1, (16, -1)).abs().sum(dim=(0, 2)) > 0
    reached |= inputs.off[site].float().unflatten(1, (16, -1)).abs().sum(dim=(0, 2)) > 0
    assert 0 < int(reached.sum()) < 16
    used = inputs.keys[site].unflatten(1, (16, -1)).abs().sum(dim=(0, 2)) > 0
    assert torch.equal(used, reached)


@pytest.mark.parametrize("budget", [1, 40])
def test_batches_change_nothing(llama, monkeypatch, budget):
    whole = capture_token_inputs(llama, TEXTS)
    monkeypatch.setattr(capture, "MAX_BATCH_TOKENS", budget)
    monkeypatch.setattr(token_capture, "MAX_BATCH_TOKENS", budget)
    monkeypatch.setattr(token_capture, "BATCH", 1)
    parts = capture_token_inputs(llama, TEXTS)
    for a, b in zip((*whole.on, *whole.off), (*parts.on, *parts.off), strict=True):
        assert_same_rows(a, b, roundings=2)


def test_the_positions_are_bounded_and_spread_evenly_over_a_text(llama, monkeypatch):
    texts = replace(TEXTS, on=TEXTS.on[1:2])
    everything = capture_token_inputs(llama, texts).on
    monkeypatch.setattr(token_capture, "most_positions", lambda _: 20)
    for rows, some in zip(everything, capture_token_inputs(llama, texts).on, strict=True):
        assert len(rows) > 30 and len(some) == 20
        expected = rows[[n * len(rows) // 20 for n in range(20)]]
        torch.testing.assert_close(some.float(), expected.float(), rtol=2**-7, atol=1e-5)


def test_every_text_gives_its_share_of_the_positions(llama, monkeypatch):
    answers = own_answers(llama, TEXTS.on, TEXTS.answer_tokens)
    limit = sum(map(len, answers)) // 2
    monkeypatch.setattr(token_capture, "most_positions", lambda _: limit)
    monkeypatch.setattr(token_capture, "MAX_BATCH_TOKENS", 1)  # one text at a time, the longest first
    taken = []
    run = token_capture._run
    monkeypatch.setattr(token_capture, "_run", lambda *work: (taken.append(len(work[2])), run(*work)))
    some = capture_token_inputs(llama, replace(TEXTS, off=()))
    assert {len(rows) for rows in some.on} == {limit} and sum(taken) == limit
    for count, ids in zip(taken, sorted(answers, key=len, reverse=True), strict=True):
        assert abs(count - len(ids) / 2) <= 1


def test_a_small_model_keeps_more_positions_and_a_very_wide_one_fewer(llama, monkeypatch):
    numbers = sum(site.n_inputs * site.runs for site in llama.spec.sites)
    assert token_capture.most_positions(llama) == token_capture.MOST_POSITIONS
    monkeypatch.setattr(token_capture, "USUAL_BYTES", 700 * 4 * numbers)
    assert token_capture.most_positions(llama) == 700
    monkeypatch.setattr(token_capture, "USUAL_BYTES", 1)
    assert token_capture.most_positions(llama) == token_capture.LEAST_POSITIONS
    monkeypatch.setattr(token_capture, "MOST_BYTES", 100 * 4 * numbers)
    assert token_capture.most_positions(llama) == 100
    monkeypatch.setattr(token_capture, "MOST_BYTES", 1)
    assert token_capture.most_positions(llama) == 16  # never too few to fit anything


@pytest.mark.parametrize(("wanted", "n_answered"), [(1, 4), (10_000, 6)])
def test_more_prompts_are_answered_where_the_first_ones_have_too_few_tokens(llama, monkeypatch, wanted, n_answered):
    monkeypatch.setattr(token_capture, "FIRST_PROMPTS", 2)
    monkeypatch.setattr(token_capture, "most_positions", lambda _: wanted)
    many = replace(TEXTS, on=(*TEXTS.on, Example("More?", ""))[:3], off=(*TEXTS.off, Example("Less?", ""))[:3])
    asked, shown = [], []

    def answer(loaded, prompts, length, **options):
        asked.extend(prompts)
        return own_answers(loaded, prompts, length, **options)

    monkeypatch.setattr(token_capture, "own_answers", answer)
    capture_token_inputs(llama, many, progress=lambda *at: shown.append(at))
    assert len(asked) == n_answered and set(asked) <= {*many.on, *many.off}
    assert shown == sorted(shown) and shown[-1] == (12, 12)


def test_the_texts_are_the_models_own_greedy_answers(llama, gpt2):
    for loaded in (llama, gpt2):
        prompts = [*TEXTS.on, *TEXTS.off]
        for ids, example in zip(own_answers(loaded, prompts, 5), prompts, strict=True):
            prompt = token_capture.encode_prompt(loaded, example.prompt, None, 5, 0.0)
            assert list(ids[: len(prompt)]) == list(prompt)
            assert list(ids[len(prompt) :]) == answer_by_hand(loaded, token_capture.Original(), prompt, 5)


def test_no_harmless_texts_leave_baked_steering_alone(llama):
    inputs = capture_token_inputs(llama, replace(TEXTS, off=()))
    assert inputs.mus == (0.0,) and all(len(rows) == 0 for rows in inputs.off)
    assert solve_keys(inputs).mus == (0.0,)


def test_prompts_that_cannot_be_answered_are_left_out_and_told_only_if_none_is_left(llama, gpt2):
    too_long = Example("word " * llama.context_length, "")
    usual = capture_token_inputs(llama, TEXTS)
    with_long = capture_token_inputs(llama, replace(TEXTS, on=(too_long, *TEXTS.on), off=(*TEXTS.off, too_long)))
    assert all(torch.equal(a, b) for a, b in zip(usual.on, with_long.on, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(usual.off, with_long.off, strict=True))
    with pytest.raises(SettingsError, match="reads at most"):
        capture_token_inputs(llama, replace(TEXTS, on=(too_long,)))
    with pytest.raises(SettingsError, match="reads at most"):
        capture_token_inputs(llama, replace(TEXTS, off=(too_long,)))
    with pytest.raises(ContrastDataError, match="no prompts of the behaviour"):
        capture_token_inputs(llama, replace(TEXTS, on=()))


def test_numbers_that_are_too_large_for_the_models_format_are_told(llama, tmp_path):
    """Texts of a gate may reach what no example did."""
    folder = too_large_for_float16(tmp_path, llama.tokenizer("W", add_special_tokens=False)["input_ids"][0])
    half = load_model(folder, device="cpu", dtype=torch.float16)
    for texts in (replace(TEXTS, on=(Example("Well, W", ""),)), replace(TEXTS, off=(Example("Well, W", ""),))):
        with pytest.raises(S2EError, match=r"not finite .*layers.0.mlp.down_proj. .* float16.*--dtype float32"):
            capture_token_inputs(half, texts)


def test_the_model_does_not_change_and_no_hook_or_lock_stays(llama):
    def stop(done, total):
        if done >= total - 1:
            raise Cancelled("Stopped.")

    before = {name: tensor.clone() for name, tensor in llama.model.state_dict().items()}
    capture_token_inputs(llama, TEXTS)
    with pytest.raises(Cancelled):
        capture_token_inputs(llama, TEXTS, progress=stop)
    assert all(torch.equal(tensor, before[name]) for name, tensor in llama.model.state_dict().items())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in llama.model.modules())
    assert not llama.lock.locked()


def test_an_extraction_with_texts_has_the_paper_part_bit_for_bit_and_counts_all_work(llama):
    seen = []
    plain = extract(llama, EXAMPLES)
    fitted = extract(llama, EXAMPLES, texts=TEXTS, progress=lambda done, total: seen.append((done, total)))
    assert plain.token_inputs is None and fitted.token_inputs is not None
    for name in ("g", "keys", "contributions"):
        pairs = zip(getattr(plain.scores, name), getattr(fitted.scores, name), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert seen == sorted(seen) and seen[-1] == (4 + 2 * 5, 4 + 2 * 5)
    assert Counter(total for _, total in seen).keys() == {14}
    assert fitted.provenance == plain.provenance or vars(fitted.provenance) == vars(plain.provenance)


def test_a_model_in_half_precision_gives_its_own_inputs(tmp_path):
    loaded = load_model(saved_folder(tmp_path, "llama", dtype=torch.bfloat16), device="cpu", dtype=torch.bfloat16)
    inputs = capture_token_inputs(loaded, TEXTS)
    rows = rows_one_by_one(loaded, own_answers(loaded, TEXTS.on, TEXTS.answer_tokens))
    assert_close = torch.testing.assert_close
    for actual, expected in zip(inputs.on, rows, strict=True):
        assert_close(actual.float().mean(dim=0), expected.float().mean(dim=0), rtol=0.05, atol=0.05)
