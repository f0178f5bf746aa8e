"""Decoding loop of one batch: greedy over logits with shared random noise, token by token, stopped by events.

Knows transformers' generation loop; no text, no variant and no lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import (
    Cache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    SuppressTokensAtBeginLogitsProcessor,
)
from transformers.generation import BaseStreamer

from s2e_core.model import LoadedModel

from .cache import uses_cache
from .ends import Ends, ends_of


def decode(
    loaded: LoadedModel,
    ids: Tensor,
    mask: Tensor,
    max_new_tokens: int,
    noise: SharedNoise,
    stops: Sequence[threading.Event],
    emit: Callable[[list[int]], None],
) -> None:
    """Run the model's own generation loop, greedily over the logits plus `noise`, and emit the tokens of every step.

    `ids` and `mask` are (B, T). The loader keeps only special and suppressed tokens and stop strings of the model's own
    generation config: the comparison is between models, not between repetition penalties.
    """
    decode_part(loaded, ids, mask, None, max_new_tokens, noise, stops, emit, start=ids.shape[1])


def decode_part(
    loaded: LoadedModel,
    ids: Tensor,
    mask: Tensor,
    cache: Cache | None,
    max_new_tokens: int,
    noise: SharedNoise,
    stops: Sequence[threading.Event],
    emit: Callable[[list[int]], None],
    *,
    start: int,
) -> tuple[Tensor, Cache | None]:
    """Decode as `decode` does, from the cache of an earlier part on; returns all ids so far (B, T) and the cache.

    `start` is the length of the prompts, after which `ids` has what the earlier parts gave.
    """
    ends = ends_of(loaded)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        return_dict_in_generate=True,
        use_cache=uses_cache(loaded.model),
        eos_token_id=list(ends.tokens) or None,
        pad_token_id=0,  # only follows an end
    )
    processors: list[LogitsProcessor] = [noise]
    if loaded.suppressed_first:
        processors.insert(0, SuppressTokensAtBeginLogitsProcessor(list(loaded.suppressed_first), start, loaded.device))
    output = loaded.model.generate(
        input_ids=ids.to(loaded.device),
        attention_mask=mask.to(loaded.device),
        generation_config=config,
        logits_processor=LogitsProcessorList(processors),
        stopping_criteria=StoppingCriteriaList([_StopOnEvent(stops), _StopAtString(ends, start)]),
        streamer=_StepStreamer(emit),
        past_key_values=cache,
    )
    return output.sequences.cpu(), output.past_key_values


class SharedNoise(LogitsProcessor):
    """Gumbel noise added to logits / temperature, so that the largest logit is a fair sample (the Gumbel-max trick).

    Rows with the same random seed get the same noise in the same step, on every device.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self.temperature = temperature
        self.seeds = list(seeds)
        self.generators = {seed: torch.Generator().manual_seed(seed) for seed in dict.fromkeys(seeds)}
        self.indices = self._generator_indices()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.temperature == 0:
            return scores
        noise = torch.stack([self._gumbel(generator, scores.shape[-1]) for generator in self.generators.values()])
        return scores.float() / self.temperature + noise[self.indices].to(scores.device)

    def select(self, rows: Sequence[int]) -> SharedNoise:
        """The noise of some of the rows; its generators continue from their present state."""
        selection = SharedNoise([], self.temperature)
        selection.seeds = [self.seeds[row] for row in rows]
        selection.generators = {seed: self.generators[seed] for seed in dict.fromkeys(selection.seeds)}
        selection.indices = selection._generator_indices()
        return selection

    def _generator_indices(self) -> list[int]:
        index = {seed: n for n, seed in enumerate(self.generators)}
        return [index[seed] for seed in self.seeds]

    @staticmethod
    def _gumbel(generator: torch.Generator, size: int) -> Tensor:
        return -torch.empty(size).exponential_(generator=generator).log()


class _StopOnEvent(StoppingCriteria):
    """End of generation after the current token once one of the events is set."""

    def __init__(self, stops: Sequence[threading.Event]) -> None:
        self.stops = stops

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        stop = any(stop.is_set() for stop in self.stops)
        return torch.full((len(input_ids),), stop, dtype=torch.bool, device=input_ids.device)


class _StopAtString(StoppingCriteria):
    """End of a row whose answer, which begins at token `start`, completes a stop string."""

    def __init__(self, ends: Ends, start: int) -> None:
        self.ends, self.start = ends, start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        has_string = [False] * len(input_ids)
        if self.ends.strings:
            has_string = [self.ends.has_string_at_end(row) for row in input_ids[:, self.start :].tolist()]
        return torch.tensor(has_string, device=input_ids.device)


class _StepStreamer(BaseStreamer):
    """Streamer that passes the new tokens of every step, one per batch row, to a function."""

    def __init__(self, emit: Callable[[list[int]], None]) -> None:
        self.emit = emit
        self.has_prompt = False

    def put(self, value: Tensor) -> None:
        if self.has_prompt:
            self.emit(value.flatten().tolist())
        self.has_prompt = True

    def end(self) -> None:
        pass
