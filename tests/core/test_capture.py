"""Means of projection inputs: spans, sides, batches and padding, against one example at a time."""

import pytest
import torch

from s2e_core import (
    Cancelled,
    ContrastDataError,
    Example,
    capture,
    capture_inputs,
    capture_means,
    contrast_set,
    load_model,
)
from s2e_core.chat import example_ids
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
        kept = {}
        handles = [
            loaded.model.get_submodule(site.name).register_forward_hook(
                lambda module, x, y, name=site.name, kept=kept: kept.update({name: x[0].clone()})
            )
            for site in loaded.spec.sites
        ]
        with torch.no_grad():
            loaded.model(input_ids=torch.tensor([ids]))
        for handle in handles:
            handle.remove()
        for total, site in zip(totals, loaded.spec.sites, strict=True):
            rows = [kept[site.name].reshape(len(ids), -1)[position] for position in range(start - 1, len(ids) - 1)]
            total += sum(row.double() for row in rows) / len(rows) / len(examples)
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
    both = capture_means(llama, contrast_set([short, long], [short], name="x"))
    alone = [capture_means(llama, contrast_set([one], [short], name="x")) for one in (short, long)]
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


def test_an_example_longer_than_the_model_reads_is_an_error(llama):
    limit = llama.model.config.max_position_embeddings
    with pytest.raises(ContrastDataError, match=f"at most {limit}"):
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
