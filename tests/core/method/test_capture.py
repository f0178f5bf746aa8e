"""Means of projection inputs: spans, sides, batches and padding, against one example at a time."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2e_core import (
    Cancelled,
    ContrastDataError,
    Example,
    S2EError,
    UnsupportedModelError,
    capture_means,
    load_model,
)
from s2e_core.data import contrast_set
from s2e_core.method import capture, capture_inputs, reliability
from s2e_core.model import example_ids
from tests.core.by_hand import inputs_by_hand
from tests.families import saved_folder

POSITIVE = [
    Example("How are you?", "Great, thank you so much!"),
    Example("Hi", "Yes"),
    Example("And you there?", "Oh my"),
]
NEGATIVE = [
    Example("How are you?", "Awful."),
    Example("A much longer prompt than the others", "No, no, no, no, never!"),
]
CONTRAST = contrast_set(POSITIVE, NEGATIVE, name="mood")


def means_one_by_one(loaded, examples):
    """Mean input of every site over the span, by keeping all activations of one unpadded example at a time."""
    totals = [torch.zeros(site.n_inputs, dtype=torch.float64) for site in loaded.spec.sites]
    for example in examples:
        ids, start = example_ids(loaded.tokenizer, example)
        for total, inputs in zip(totals, inputs_by_hand(loaded, ids), strict=True):
            rows = inputs[start - 1 : len(ids) - 1].double()
            total += rows.sum(dim=0) / len(rows) / len(examples)
    return totals


@pytest.mark.parametrize("budget", [1, 40, 4096])
def test_means_equal_one_example_at_a_time_whatever_the_batches(llama, monkeypatch, budget):
    monkeypatch.setattr(capture, "MAX_BATCH_TOKENS", budget)
    means = capture_means(llama, CONTRAST)
    for side, examples in ((means.positive, POSITIVE), (means.negative, NEGATIVE)):
        for mean, expected in zip(side, means_one_by_one(llama, examples), strict=True):
            torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-6)


def test_counts_and_provenance_are_reported(llama):
    means = capture_means(llama, CONTRAST)
    assert (means.n_positive, means.n_negative) == (3, 2)
    spans = [example_ids(llama.tokenizer, example) for example in (*POSITIVE, *NEGATIVE)]
    assert means.n_tokens == sum(len(ids) - start for ids, start in spans)
    assert means.provenance.contrast_hash == CONTRAST.content_hash
    assert means.provenance.fingerprint == llama.fingerprint


def test_every_example_weighs_the_same_whatever_its_length(llama):
    short, long = Example("Hi", "No"), Example("Hi", "Well, let me think about it for quite a while.")
    other = Example("Hi", "Yes")
    both = capture_means(llama, contrast_set([short, long], [other], name="x"))
    alone = [capture_means(llama, contrast_set([one], [other], name="x")) for one in (short, long)]
    for mean, a, b in zip(both.positive, *(means.positive for means in alone), strict=True):
        torch.testing.assert_close(mean, (a + b) / 2, rtol=1e-5, atol=1e-6)


def test_no_hook_stays_on_the_model_after_success_or_stop(llama):
    def stop(done, total):
        raise Cancelled("Stopped.")

    capture_means(llama, CONTRAST)
    with pytest.raises(Cancelled):
        capture_means(llama, CONTRAST, progress=stop)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in llama.model.modules())
    assert not llama.lock.locked()


def test_the_model_does_not_change_by_a_bit(llama):
    before = {name: tensor.clone() for name, tensor in llama.model.state_dict().items()}
    capture_means(llama, CONTRAST)
    assert all(torch.equal(tensor, before[name]) for name, tensor in llama.model.state_dict().items())


def test_progress_counts_up_to_all_examples(llama, monkeypatch):
    monkeypatch.setattr(capture, "MAX_BATCH_TOKENS", 1)
    seen = []
    capture_means(llama, CONTRAST, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 5) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("positive", "negative"),
    [
        (["yes, it is so"] * 2, ["yes, it is so"]),
        (["Y"], ["N"]),  # one token each
        (["it is 1"], ["it is 2"]),
    ],
)
def test_sides_that_the_model_cannot_tell_apart_are_an_error_and_no_direction_of_rounding(llama, positive, negative):
    prompts = ["How are you?", "Is it?", "A much longer prompt than the others"]
    sides = [
        [Example(prompt, response) for response in responses for prompt in order]
        for responses, order in ((positive, prompts), (negative, prompts[::-1]))
    ]
    with pytest.raises(ContrastDataError, match="Both sides of mood are the same to the model.*differ before their"):
        capture_means(llama, contrast_set(*sides, name="mood"))
    capture_means(llama, contrast_set(sides[0], sides[1][1:], name="mood"))  # another mix of prompts is a difference


def too_large_for_float16(folder, token):
    """A model in which one token alone leads to numbers that float16 does not hold, in the MLP of the first layer."""
    folder = saved_folder(folder, "llama", dtype=torch.float16)
    weights = load_file(folder / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    embedding[:, 0] = 0
    embedding[token] = torch.eye(len(embedding[0]))[0]
    weights["model.layers.0.self_attn.o_proj.weight"][0] = 0
    weights["model.layers.0.mlp.up_proj.weight"][:, 0] = 30_000
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_numbers_that_are_too_large_for_the_models_format_are_told_and_no_scores_of_zero(llama, tmp_path):
    folder = too_large_for_float16(tmp_path, llama.tokenizer("W", add_special_tokens=False)["input_ids"][0])
    worse = contrast_set([*POSITIVE, Example("How are you?", "So so. Well!")], NEGATIVE, name="worse")
    whole, half = load_model(folder, device="cpu"), load_model(folder, device="cpu", dtype=torch.float16)
    assert all(bool(mean.isfinite().all()) for mean in capture_means(whole, worse).mean)
    capture_means(half, CONTRAST)
    for measure in (capture_means, reliability):
        with pytest.raises(S2EError, match="not finite .*layers.0.mlp.down_proj. .* float16.*--dtype float32"):
            measure(half, worse)
    with pytest.raises(S2EError, match="not finite"):
        capture_inputs(half, worse.positive)


def test_a_model_whose_numbers_are_too_large_for_its_format_at_once_is_told_to_be_so(tmp_path):
    folder = too_large_for_float16(tmp_path, slice(None))
    assert load_model(folder, device="cpu").spec.sites
    with pytest.raises(UnsupportedModelError, match="not finite .* float16; load it in float32"):
        load_model(folder, device="cpu", dtype=torch.float16)


def test_an_example_longer_than_the_model_reads_is_an_error(llama):
    limit = llama.model.config.max_position_embeddings
    with pytest.raises(ContrastDataError, match=f"longer than the {limit} tokens"):
        capture_means(llama, contrast_set([Example("Hi", "word " * limit)], NEGATIVE, name="x"))


def test_mean_inputs_of_all_examples_equal_one_at_a_time(llama):
    inputs = capture_inputs(llama, [*POSITIVE, *NEGATIVE], name="texts")
    for mean, expected in zip(inputs.mean, means_one_by_one(llama, [*POSITIVE, *NEGATIVE]), strict=True):
        torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-6)
    assert (inputs.n_examples, inputs.provenance.contrast_name) == (5, "texts")


def test_mean_inputs_need_an_example_with_a_response(llama):
    with pytest.raises(ContrastDataError, match="texts"):
        capture_inputs(llama, [Example("Hi", "")], name="texts")


def test_mean_inputs_of_a_site_that_runs_several_times_weigh_every_run_the_same(tmp_path):
    loaded = load_model(saved_folder(tmp_path / "turns", "hrm_text"), device="cpu")
    assert max(site.runs for site in loaded.spec.sites) > 1
    means = capture_means(loaded, contrast_set(POSITIVE[:2], NEGATIVE[:2], name="as many on each side"))
    inputs = capture_inputs(loaded, [*POSITIVE[:2], *NEGATIVE[:2]])
    for mean, expected in zip(inputs.mean, means.mean, strict=True):
        torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-6)
