"""Key-value cache with spare room, because the cache of transformers copies all its content at every token.

Knows the cache layers of transformers; no batch and no prompt.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, LinearAttentionCacheLayerMixin

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SPARE_TOKENS = 64
"""Spare room, in tokens, that a layer gets each time it is full."""


def new_cache(model: PreTrainedModel) -> DynamicCache | None:
    """An empty cache for `model`, or None if the model makes a cache of its own type, takes none or uses none.

    Layers that attend to the whole text get spare room; others (sliding windows, states) stay those of transformers.
    """
    takes_cache = "past_key_values" in inspect.signature(model.forward).parameters
    if not takes_cache or not uses_cache(model) or not model._supports_default_dynamic_cache():
        return None
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def uses_cache(model: PreTrainedModel) -> bool:
    """False for a model whose configuration asks for no cache: MPT writes other texts with one."""
    return getattr(model.config, "use_cache", None) is not False


def has_state_layers(cache: DynamicCache | None) -> bool:
    """Whether some layers summarise the text in states, as Mamba and linear attention do; some ignore masks."""
    return cache is not None and any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in cache.layers)


def contains_all_states(cache: DynamicCache) -> bool:
    """False after a run of a model that stores its states in its modules, where the next text overwrites them."""
    states = [layer for layer in cache.layers if isinstance(layer, LinearAttentionCacheLayerMixin)]
    return all(
        any((*layer.is_conv_states_initialized.values(), *layer.is_recurrent_states_initialized.values()))
        for layer in states
    )


def select_rows(cache: DynamicCache, rows: Tensor) -> None:
    """Drop all other rows. transformers can only reorder the beams of states, which also works for fewer rows."""
    for layer in cache.layers:
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            layer.reorder_cache(rows)
        else:
            layer.batch_select_indices(rows)


class GrowingLayer(DynamicLayer):
    """Cache layer whose keys and values are views of longer buffers."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = (states[..., :0, :] for states in (key_states, value_states))
            self.buffers = (self.keys, self.values)
        start, length = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if self.buffers[0].shape[-2] < length or not _shares_memory(self.keys, self.buffers[0]):
            self.buffers = (_extend(self.keys, length + SPARE_TOKENS), _extend(self.values, length + SPARE_TOKENS))
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[..., start:length, :] = states
        self.keys, self.values = (buffer[..., :length, :] for buffer in self.buffers)
        return self.keys, self.values


def _shares_memory(states: Tensor, buffer: Tensor) -> bool:
    """False once rows of the cache were selected, repeated or moved, which copies its states."""
    return states.untyped_storage().data_ptr() == buffer.untyped_storage().data_ptr()


def _extend(states: Tensor, length: int) -> Tensor:
    """A buffer of `length` tokens that begins with `states`."""
    buffer = torch.empty(*states.shape[:-2], length, states.shape[-1], dtype=states.dtype, device=states.device)
    buffer[..., : states.shape[-2], :] = states
    return buffer
