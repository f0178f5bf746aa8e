"""Many prompts under many variants in shared batches: every row is one prompt under one variant.

Knows batches, padding, the model's cache and its lock; no text and no score. All rows run on one copy of the weights,
and rows that have ended leave the batch, so that a few long answers do not keep the rest waiting.
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

from .cache import holds_everything, keeps_states, new_cache, select_rows
from .decoding import SharedDice, decode_part, end_ids, until_end
from .intervene import intervening

PART_TOKENS = 8
"""Steps after which the rows that have ended are dropped and others may have the model."""
MOST_ROWS = 480
BATCH_BYTES = 1_000_000_000
"""About what the cache and the logits of one batch may take."""
POLL_SECONDS = 0.25
"""How long a stop can go unnoticed while the model is busy with others."""
PAUSE_SECONDS = 0.002
"""Given to whoever waits for the model between two parts: a lock that is taken again at once is never theirs."""


class Row(NamedTuple):
    """One row of a batch."""

    variant: int
    """Index into the variants."""
    ids: tuple[int, ...]
    """Token ids of the prompt."""
    seed: int
    """Rows with the same seed get the same dice, under whatever variant."""


def rows_that_fit(loaded: LoadedModel, tokens: int) -> int:
    """How many rows of `tokens` tokens one batch may have, at least one."""
    size = 4 if loaded.dtype == torch.float32 else 2
    # At most: grouped queries keep fewer keys and values than there are heads, sliding windows fewer tokens.
    held = 2 * sum(loaded.spec.sites[i].n_inputs for i in loaded.spec.of_kind("heads"))
    row = held * tokens * size + 4 * 4 * loaded.model.config.get_text_config().vocab_size
    return max(1, min(MOST_ROWS, BATCH_BYTES // row))


def answers(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    rows: Sequence[Row],
    *,
    max_new_tokens: int,
    temperature: float,
    stops: Sequence[threading.Event] = (),
) -> list[list[int]]:
    """New token ids of every row of one batch, up to its end of text.

    Takes `loaded.lock` part by part, so that others have their turn. A row's answer depends on its own prompt, variant
    and seed alone (up to the rounding of larger or smaller matrix products). Raises Cancelled within one token where
    one of `stops` is set.
    """
    written: list[list[int]] = [[] for _ in rows]
    for places in _groups(loaded, rows):
        group = [rows[i] for i in places]
        made = _answers(loaded, variants, group, max_new_tokens, temperature, stops)
        for i, ids in zip(places, made, strict=True):
            written[i] = ids
    return written


def _groups(loaded: LoadedModel, rows: Sequence[Row]) -> list[list[int]]:
    """Places of the rows that run together: all of them, or only those of one length where padding would be read.

    A model that takes no position ids counts the padding as positions, and so do some with a cache of their own kind;
    states that sum up a text may sum up the padding.
    """
    model = loaded.model
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    if takes_positions and model._supports_default_dynamic_cache() and not keeps_states(new_cache(model)):
        return [list(range(len(rows)))]
    by_length: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        by_length.setdefault(len(row.ids), []).append(i)
    return list(by_length.values())


def _answers(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    rows: Sequence[Row],
    max_new_tokens: int,
    temperature: float,
    stops: Sequence[threading.Event],
) -> list[list[int]]:
    """The answers of rows that run together."""
    ends = end_ids(loaded)
    batch = _Batch(loaded, [row.ids for row in rows], SharedDice([row.seed for row in rows], temperature))
    written: list[list[int]] = [[] for _ in rows]
    made = 0
    while batch.alive and made < max_new_tokens:
        steps: list[list[int]] = []
        with turn(loaded, stops), torch.inference_mode():
            with intervening(loaded, variants, [rows[i].variant for i in batch.alive]):
                batch.run(min(PART_TOKENS, max_new_tokens - made), stops, steps)
        if any(stop.is_set() for stop in stops):
            raise Cancelled("Stopped while the model was answering.")
        for i, new in zip(batch.alive, zip(*steps, strict=True), strict=True):
            written[i].extend(new)
        made += len(steps)
        batch.keep([n for n, i in enumerate(batch.alive) if not set(ends) & set(written[i][-len(steps) :])])
        time.sleep(PAUSE_SECONDS)
    return [until_end(row, ends) for row in written]


class _Batch:
    """The rows of a batch that have not ended, with all that their next tokens need."""

    def __init__(self, loaded: LoadedModel, prompts: Sequence[Sequence[int]], dice: SharedDice) -> None:
        self.loaded, self.dice = loaded, dice
        self.alive = list(range(len(prompts)))
        self.ids, self.mask = left_padded(prompts)
        self.cache = new_cache(loaded.model)

    def run(self, n_tokens: int, stops: Sequence[threading.Event], steps: list[list[int]]) -> None:
        """Append `n_tokens` steps, or fewer where every row has ended, to `steps`."""
        # Without a cache of its own kind a model begins each part by reading everything again.
        self.ids, cache = decode_part(
            self.loaded, self.ids, self.mask, self.cache, n_tokens, self.dice, stops, steps.append
        )
        self.cache = cache if self.cache is not None and holds_everything(cache) else None
        grown = torch.ones(len(self.mask), len(steps), dtype=self.mask.dtype)
        self.mask = torch.cat([self.mask, grown], dim=1)

    def keep(self, places: Sequence[int]) -> None:
        """Drop the rows at all other places."""
        if len(places) == len(self.alive):
            return
        chosen = torch.tensor(places, dtype=torch.long)
        self.alive = [self.alive[n] for n in places]
        self.ids, self.mask, self.dice = self.ids[chosen], self.mask[chosen], self.dice.of_rows(places)
        if self.cache is not None and places:
            select_rows(self.cache, chosen.to(self.loaded.device))


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (B, longest prompt)."""
    width = max(len(ids) for ids in prompts)
    batch = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in prompts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    return batch, mask


@contextmanager
def turn(loaded: LoadedModel, stops: Sequence[threading.Event]) -> Iterator[None]:
    """Hold the model's lock; raises Cancelled where one of the events is set while others hold it."""
    while not loaded.lock.acquire(timeout=POLL_SECONDS):
        if any(stop.is_set() for stop in stops):
            raise Cancelled("Stopped while waiting for the model.")
    try:
        yield
    finally:
        loaded.lock.release()
