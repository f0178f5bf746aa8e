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
)
from transformers.generation import BaseStreamer

from s2e_core.model import LoadedModel


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

    `ids` and `mask` are (B, T). Options of the model's generation config that change the logits are switched off: the
    comparison is between models, not between repetition penalties.
    """
    decode_part(loaded, ids, mask, None, max_new_tokens, noise, stops, emit)


def decode_part(
    loaded: LoadedModel,
    ids: Tensor,
    mask: Tensor,
    cache: Cache | None,
    max_new_tokens: int,
    noise: SharedNoise,
    stops: Sequence[threading.Event],
    emit: Callable[[list[int]], None],
) -> tuple[Tensor, Cache | None]:
    """Decode as `decode` does, from the cache of an earlier part on; returns all ids so far (B, T) and the cache."""
    ends = end_ids(loaded)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens + 1,  # never reached: some models force an end of text at the last token
        min_new_tokens=0,
        do_sample=False,
        return_dict_in_generate=True,
        num_beams=1,
        temperature=1.0,
        top_k=50,  # unused without sampling: the default keeps transformers from warning
        top_p=1.0,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=ends or None,
        pad_token_id=ends[0] if ends else 0,
        bos_token_id=loaded.tokenizer.bos_token_id,
    )
    output = loaded.model.generate(
        input_ids=ids.to(loaded.device),
        attention_mask=mask.to(loaded.device),
        generation_config=config,
        logits_processor=LogitsProcessorList([noise]),
        stopping_criteria=StoppingCriteriaList([_StopOnEvent(stops), _StopAtLength(ids.shape[1] + max_new_tokens)]),
        streamer=_StepStreamer(emit),
        past_key_values=cache,
    )
    return output.sequences.cpu(), output.past_key_values


def cut_at_end(row: Sequence[int], ends: Sequence[int]) -> list[int]:
    """The token ids of `row` before the first one that is in `ends`."""
    return list(row[: next((i for i, token in enumerate(row) if token in ends), len(row))])


def end_ids(loaded: LoadedModel) -> list[int]:
    """The token ids that end a text."""
    ids = loaded.model.generation_config.eos_token_id
    ids = loaded.tokenizer.eos_token_id if ids is None else ids
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


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


class _StopAtLength(StoppingCriteria):
    """End of generation once prompt and answer together have `length` tokens."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        stop = input_ids.shape[1] >= self.length
        return torch.full((len(input_ids),), stop, dtype=torch.bool, device=input_ids.device)


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
