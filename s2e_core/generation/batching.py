"""Shared batches of many prompts under many variants: every row is one prompt under one variant.

Knows batches, padding, the model's cache and its lock; no text and no score. All rows run on one copy of the weights.
Rows that have ended leave the batch, so that a few long answers do not hold up the rest.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from s2e_core.errors import Cancelled
from s2e_core.model import LoadedModel
from s2e_core.values import Variant

from .cache import contains_all_states, has_state_layers, new_cache, select_rows
from .decoding import SharedNoise, decode_part
from .ends import ends_of
from .intervene import apply_variants

PART_TOKENS = 8
"""Steps after which rows that have ended are dropped and other threads can take the model."""
MAX_BATCH_ROWS = 480
"""Maximum number of rows in one batch."""
BATCH_BYTES = 1_000_000_000
"""Approximate limit of the memory for the cache and the logits of one batch."""
POLL_SECONDS = 0.25
"""Longest time for which a stop goes unnoticed while another thread uses the model."""
PAUSE_SECONDS = 0.002
"""Pause between two parts so that a waiting thread can take the lock."""


class BatchRow(NamedTuple):
    """One row of a batch."""

    variant: int
    """Index into the variants."""
    ids: tuple[int, ...]
    """Token ids of the prompt."""
    seed: int
    """Random seed; rows with the same seed get the same random numbers, whatever their variant."""


def rows_that_fit(loaded: LoadedModel, tokens: int) -> int:
    """The number of rows of `tokens` tokens that one batch may have, at least 1."""
    size = 4 if loaded.dtype == torch.float32 else 2
    config = loaded.model.config.get_text_config()
    heads, shared = (getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads"))
    # Grouped queries share keys and values. An upper bound: sliding windows store fewer tokens.
    share = min(1.0, shared / heads) if isinstance(heads, int) and isinstance(shared, int) and heads > 0 else 1.0
    states = 2 * share * sum(loaded.spec.sites[i].n_inputs for i in loaded.spec.of_kind("heads"))
    row = int(states * tokens * size) + 4 * 4 * config.vocab_size
    return max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // row))


def answers(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    rows: Sequence[BatchRow],
    *,
    max_new_tokens: int,
    temperature: float,
    stops: Sequence[threading.Event] = (),
) -> list[list[int]]:
    """The new token ids of every row, up to its end of text.

    Takes `loaded.lock` part by part, so that other threads can run the model in between. A row's answer depends only on
    its own prompt, variant and random seed (up to rounding, which varies with the size of matrix products). Raises
    Cancelled within one token once one of `stops` is set.
    """
    answer_ids: list[list[int]] = [[] for _ in rows]
    for indices in _group_rows(loaded, rows):
        group = [rows[i] for i in indices]
        group_ids = _run_group(loaded, variants, group, max_new_tokens, temperature, stops)
        for i, ids in zip(indices, group_ids, strict=True):
            answer_ids[i] = ids
    return answer_ids


def _group_rows(loaded: LoadedModel, rows: Sequence[BatchRow]) -> list[list[int]]:
    """Indices of the rows that run together: all rows, or those of one length if padding would change the answers.

    A model without position ids counts padding as positions, as do some models with a cache of their own type; states
    that summarise a text may include the padding.
    """
    model = loaded.model
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    if takes_positions and model._supports_default_dynamic_cache() and not has_state_layers(new_cache(model)):
        return [list(range(len(rows)))]
    by_length: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        by_length.setdefault(len(row.ids), []).append(i)
    return list(by_length.values())


def _run_group(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    rows: Sequence[BatchRow],
    max_new_tokens: int,
    temperature: float,
    stops: Sequence[threading.Event],
) -> list[list[int]]:
    """The new token ids of rows that run together."""
    ends = ends_of(loaded)
    batch = _Batch(loaded, [row.ids for row in rows], SharedNoise([row.seed for row in rows], temperature))
    answer_ids: list[list[int]] = [[] for _ in rows]
    n_steps = 0
    while batch.active and n_steps < max_new_tokens:
        steps: list[list[int]] = []
        with turn(loaded, stops), torch.inference_mode():
            with apply_variants(loaded, variants, [rows[i].variant for i in batch.active]):
                batch.run(min(PART_TOKENS, max_new_tokens - n_steps), stops, steps)
        if any(stop.is_set() for stop in stops):
            raise Cancelled("Stopped while the model was answering.")
        for i, ids in zip(batch.active, zip(*steps, strict=True), strict=True):
            answer_ids[i].extend(ids)
        n_steps += len(steps)
        batch.keep([n for n, i in enumerate(batch.active) if not ends.is_reached(answer_ids[i])])
        time.sleep(PAUSE_SECONDS)
    return [ends.cut(row) for row in answer_ids]


class _Batch:
    """The rows of a batch that have not ended, with the state from which they continue."""

    def __init__(self, loaded: LoadedModel, prompts: Sequence[Sequence[int]], noise: SharedNoise) -> None:
        self.loaded, self.noise = loaded, noise
        self.active = list(range(len(prompts)))
        self.ids, self.mask = pad_left(prompts)
        self.start = self.ids.shape[1]
        self.cache = new_cache(loaded.model)

    def run(self, n_tokens: int, stops: Sequence[threading.Event], steps: list[list[int]]) -> None:
        """Append `n_tokens` steps to `steps`, or fewer if every row ends before."""
        # Without a cache the model reads the whole text again at the beginning of each part.
        self.ids, cache = decode_part(
            self.loaded, self.ids, self.mask, self.cache, n_tokens, self.noise, stops, steps.append, start=self.start
        )
        self.cache = cache if self.cache is not None and contains_all_states(cache) else None
        ones = torch.ones(len(self.mask), len(steps), dtype=self.mask.dtype)
        self.mask = torch.cat([self.mask, ones], dim=1)

    def keep(self, indices: Sequence[int]) -> None:
        """Drop the rows at all other indices."""
        if len(indices) == len(self.active):
            return
        rows = torch.tensor(indices, dtype=torch.long)
        self.active = [self.active[n] for n in indices]
        self.ids, self.mask, self.noise = self.ids[rows], self.mask[rows], self.noise.select(indices)
        if self.cache is not None and indices:
            select_rows(self.cache, rows.to(self.loaded.device))


def pad_left(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask of prompts that are padded on the left, both (B, longest prompt)."""
    width = max(len(ids) for ids in prompts)
    batch = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in prompts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    return batch, mask


@contextmanager
def turn(loaded: LoadedModel, stops: Sequence[threading.Event]) -> Iterator[None]:
    """Hold the model's lock; raises Cancelled if one of the events is set while waiting for it."""
    while not loaded.lock.acquire(timeout=POLL_SECONDS):
        if any(stop.is_set() for stop in stops):
            raise Cancelled("Stopped while waiting for the model.")
    try:
        yield
    finally:
        loaded.lock.release()
