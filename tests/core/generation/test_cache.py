"""The cache with room to grow: what it holds is what transformers' own would hold, bit for bit."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from s2e_core.generation.cache import SPARE_TOKENS, GrowingLayer, new_cache
from tests.families import VOCABULARY, tiny_model


class Pair:
    """Our layer and transformers' own, given the same states."""

    def __init__(self):
        self.layers = (GrowingLayer(), DynamicLayer())
        self.dice = torch.Generator().manual_seed(3)

    def update(self, rows, tokens):
        states = [torch.randn(rows, 2, tokens, width, generator=self.dice) for width in (8, 6)]
        for ours, own in zip(*(layer.update(*states) for layer in self.layers), strict=True):
            assert torch.equal(ours, own)
        self.check()

    def each(self, change):
        for layer in self.layers:
            change(layer)
        self.check()

    def check(self):
        ours, own = self.layers
        assert torch.equal(ours.keys, own.keys)
        assert torch.equal(ours.values, own.values)
        assert ours.get_seq_length() == own.get_seq_length()
        assert ours.get_mask_sizes(3) == own.get_mask_sizes(3)


def test_growing_token_by_token_past_its_room_equals_the_plain_layer():
    pair = Pair()
    for tokens in (5, *[1] * (2 * SPARE_TOKENS + 3), SPARE_TOKENS + 7, 1, 2):
        pair.update(4, tokens)


def test_the_layer_goes_on_right_after_rows_were_dropped_repeated_cut_or_reordered():
    pair = Pair()
    pair.update(5, 9)
    pair.update(5, 1)
    pair.each(lambda layer: layer.batch_select_indices(torch.tensor([0, 2, 4])))
    pair.update(3, 1)
    pair.each(lambda layer: layer.crop(-4))
    pair.update(3, 1)
    pair.each(lambda layer: layer.batch_repeat_interleave(2))
    pair.update(6, 1)
    pair.each(lambda layer: layer.reorder_cache(torch.tensor([5, 4, 3, 2, 1, 0])))
    pair.update(6, 2)
    pair.each(lambda layer: layer.batch_select_indices(torch.tensor([3])))
    pair.update(1, SPARE_TOKENS)
    pair.update(1, 1)


def test_an_emptied_layer_begins_anew():
    layer = GrowingLayer()
    layer.update(torch.ones(2, 1, 3, 4), torch.ones(2, 1, 3, 4))
    layer.reset()
    keys, values = layer.update(torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4))
    assert torch.equal(keys, torch.zeros(1, 1, 2, 4))
    assert torch.equal(values, torch.zeros(1, 1, 2, 4))


def test_a_token_within_the_room_copies_nothing_that_is_held():
    layer = GrowingLayer()
    layer.update(torch.ones(2, 1, 3, 4), torch.ones(2, 1, 3, 4))
    before = layer.keys.data_ptr()
    for _ in range(SPARE_TOKENS):
        layer.update(torch.ones(2, 1, 1, 4), torch.ones(2, 1, 1, 4))
        assert layer.keys.data_ptr() == before
    layer.update(torch.ones(2, 1, 1, 4), torch.ones(2, 1, 1, 4))
    assert layer.keys.data_ptr() != before


@torch.inference_mode()
def test_a_model_reads_the_same_from_it_over_more_than_a_hundred_tokens(llama):
    ids = torch.arange(3, 150).repeat(2, 1)
    caches = (new_cache(llama.model), DynamicCache(config=llama.model.config))
    for first, last in ((0, 20), *((n, n + 1) for n in range(20, 147))):
        steps = [llama.model(input_ids=ids[:, first:last], past_key_values=cache).logits[:, -1] for cache in caches]
        torch.testing.assert_close(*steps, rtol=1e-5, atol=1e-5)
    assert [cache.get_seq_length() for cache in caches] == [147, 147]


def test_layers_with_a_sliding_window_stay_transformers_own():
    types = {type(layer) for layer in new_cache(tiny_model("gemma2")).layers}
    assert types == {GrowingLayer, DynamicSlidingWindowLayer}


@pytest.mark.parametrize("family", ["reformer", "openai-gpt", "mpt"])
def test_models_with_a_cache_of_their_own_kind_or_none_get_none(family):
    assert new_cache(tiny_model(family, vocab_size=VOCABULARY)) is None
