"""The decoding loop of one batch: greedy over logits that shared dice have shaken, stopped by events, token by token.

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
    dice: SharedDice,
    stops: Sequence[threading.Event],
    emit: Callable[[list[int]], None],
) -> None:
    """Run the model's own generation loop, greedily over the logits that `dice` has shaken; emit every step's tokens.

    Every option of the model's own generation config that would bend the logits is switched off: what is compared is
    the model, not a repetition penalty.
    """
    decode_part(loaded, ids, mask, None, max_new_tokens, dice, stops, emit)


def decode_part(
    loaded: LoadedModel,
    ids: Tensor,
    mask: Tensor,
    cache: Cache | None,
    max_new_tokens: int,
    dice: SharedDice,
    stops: Sequence[threading.Event],
    emit: Callable[[list[int]], None],
) -> tuple[Tensor, Cache | None]:
    """As `decode`, continued from the cache of an earlier part; returns all ids so far (B, T) and the cache."""
    ends = end_ids(loaded)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens + 1,  # never reached: at the last one some models force an end of text
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
    made = loaded.model.generate(
        input_ids=ids.to(loaded.device),
        attention_mask=mask.to(loaded.device),
        generation_config=config,
        logits_processor=LogitsProcessorList([dice]),
        stopping_criteria=StoppingCriteriaList([_StopOn(stops), _StopAt(ids.shape[1] + max_new_tokens)]),
        streamer=_StepStreamer(emit),
        past_key_values=cache,
    )
    return made.sequences.cpu(), made.past_key_values


def until_end(row: Sequence[int], ends: Sequence[int]) -> list[int]:
    return list(row[: next((i for i, token in enumerate(row) if token in ends), len(row))])


def end_ids(loaded: LoadedModel) -> list[int]:
    found = loaded.model.generation_config.eos_token_id
    found = loaded.tokenizer.eos_token_id if found is None else found
    return [] if found is None else [found] if isinstance(found, int) else list(found)


class SharedDice(LogitsProcessor):
    """Adds Gumbel noise to logits / temperature, so that the largest one is a fair sample (the Gumbel-max trick).

    Rows with the same seed get the same noise in the same step, on every device.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self.temperature = temperature
        self.seeds = list(seeds)
        self.generators = {seed: torch.Generator().manual_seed(seed) for seed in dict.fromkeys(seeds)}
        self.places = self._places()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.temperature == 0:
            return scores
        noise = torch.stack([self._gumbel(generator, scores.shape[-1]) for generator in self.generators.values()])
        return scores.float() / self.temperature + noise[self.places].to(scores.device)

    def of_rows(self, rows: Sequence[int]) -> SharedDice:
        """The dice of some of the rows, which go on where they are."""
        kept = SharedDice([], self.temperature)
        kept.seeds = [self.seeds[row] for row in rows]
        kept.generators = {seed: self.generators[seed] for seed in dict.fromkeys(kept.seeds)}
        kept.places = kept._places()
        return kept

    def _places(self) -> list[int]:
        place = {seed: n for n, seed in enumerate(self.generators)}
        return [place[seed] for seed in self.seeds]

    @staticmethod
    def _gumbel(generator: torch.Generator, size: int) -> Tensor:
        return -torch.empty(size).exponential_(generator=generator).log()


class _StopOn(StoppingCriteria):
    """Ends generation after the current token once one of the events is set."""

    def __init__(self, stops: Sequence[threading.Event]) -> None:
        self.stops = stops

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        stopped = any(stop.is_set() for stop in self.stops)
        return torch.full((len(input_ids),), stopped, dtype=torch.bool, device=input_ids.device)


class _StopAt(StoppingCriteria):
    """Ends generation once prompt and answer together have so many tokens."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        full = input_ids.shape[1] >= self.length
        return torch.full((len(input_ids),), full, dtype=torch.bool, device=input_ids.device)


class _StepStreamer(BaseStreamer):
    """Hands every step's new tokens, one per batch row, to a function."""

    def __init__(self, emit: Callable[[list[int]], None]) -> None:
        self.emit = emit
        self.seen_prompt = False

    def put(self, value: Tensor) -> None:
        if self.seen_prompt:
            self.emit(value.flatten().tolist())
        self.seen_prompt = True

    def end(self) -> None:
        pass
