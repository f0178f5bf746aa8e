"""A key-value cache with room to grow: transformers' own copies everything it holds at every token.

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

ROOM = 64
"""Tokens of spare room that a full layer gets."""


def new_cache(model: PreTrainedModel) -> DynamicCache | None:
    """An empty cache for `model`, or None where the model makes one of its own kind, takes none or uses none.

    Layers that attend to the whole text get room to grow; others (sliding windows, states) stay transformers' own.
    """
    takes_one = "past_key_values" in inspect.signature(model.forward).parameters
    if not takes_one or model.generation_config.use_cache is False or not model._supports_default_dynamic_cache():
        return None
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def keeps_states(cache: DynamicCache | None) -> bool:
    """Whether some layers sum up the text in states, as Mamba and linear attention do; not all of them heed a mask."""
    return cache is not None and any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in cache.layers)


def holds_everything(cache: DynamicCache) -> bool:
    """False after a run of a model that keeps its states in its modules, where the next text overwrites them."""
    states = [layer for layer in cache.layers if isinstance(layer, LinearAttentionCacheLayerMixin)]
    return all(
        any((*layer.is_conv_states_initialized.values(), *layer.is_recurrent_states_initialized.values()))
        for layer in states
    )


def select_rows(cache: DynamicCache, rows: Tensor) -> None:
    """Keep these rows alone. For states, transformers knows but the reordering of beams, which takes fewer rows too."""
    for layer in cache.layers:
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            layer.reorder_cache(rows)
        else:
            layer.batch_select_indices(rows)


class RoomyLayer(DynamicLayer):
    """As its parent; keys and values are views of buffers that are longer than they are."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = (states[..., :0, :] for states in (key_states, value_states))
            self.buffers = (self.keys, self.values)
        held, length = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if self.buffers[0].shape[-2] < length or not _shares_memory(self.keys, self.buffers[0]):
            self.buffers = (_with_room(self.keys, length + ROOM), _with_room(self.values, length + ROOM))
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[..., held:length, :] = states
        self.keys, self.values = (buffer[..., :length, :] for buffer in self.buffers)
        return self.keys, self.values


def _shares_memory(held: Tensor, buffer: Tensor) -> bool:
    """False once the rows of a cache were selected, repeated or moved: what it holds is a copy then."""
    return held.untyped_storage().data_ptr() == buffer.untyped_storage().data_ptr()


def _with_room(held: Tensor, length: int) -> Tensor:
    """A buffer of `length` tokens that begins with `held`."""
    buffer = torch.empty(*held.shape[:-2], length, held.shape[-1], dtype=held.dtype, device=held.device)
    buffer[..., : held.shape[-2], :] = held
    return buffer
