"""Generate text under several variants of one model: side by side and streamed, or in batches for many prompts.

Knows decoding. The untouched model runs once for all variants, each batch row with its own factors; sampling uses the
same dice for every variant, so that texts differ only through the edit.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

import torch

from s2e_core.errors import Cancelled, SettingsError
from s2e_core.model import LoadedModel, is_text, prompt_ids
from s2e_core.progress import Progress
from s2e_core.values import Original, Variant

from .batching import POLL_SECONDS, Row, answers, turn
from .decoding import SharedDice, decode, end_ids, until_end
from .intervene import intervening


def compare(
    loaded: LoadedModel,
    prompt: str,
    variants: Sequence[Variant],
    *,
    system: str | None = None,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
    stop: threading.Event | None = None,
) -> Iterator[tuple[str, ...]]:
    """Stream the texts so far, one per variant, all variants in one batch on one copy of the weights.

    Temperature 0 is greedy; above 0 every step adds the same Gumbel noise to every variant's logits. Setting `stop`, or
    closing the iterator, ends the run within one token. Raises S2EError for settings out of range or a variant made
    for another model.
    """
    if not variants:
        raise SettingsError("There is nothing to compare. Give at least one variant, such as Original().")
    ids = checked_prompt(loaded, prompt, system, max_new_tokens, temperature)
    closed = threading.Event()
    stops = [closed, _ProgramEnds()] if stop is None else [closed, stop, _ProgramEnds()]
    channel: queue.Queue[list[int] | BaseException | None] = queue.Queue()

    def work() -> None:
        # The lock, the hooks and inference mode live in this one thread: an iterator may be resumed on any thread.
        try:
            dice = SharedDice([seed] * len(variants), temperature)
            batch = torch.tensor([ids] * len(variants))
            with turn(loaded, stops), torch.inference_mode(), intervening(loaded, variants, range(len(variants))):
                decode(loaded, batch, torch.ones_like(batch), max_new_tokens, dice, stops, channel.put)
            channel.put(None)
        except Cancelled:
            channel.put(None)
        except BaseException as error:  # handed to the reader, who raises it
            channel.put(error)

    # The program waits for it at its end: torch aborts a thread that still runs while Python is being taken down.
    threading.Thread(target=work, name="compare").start()
    return _texts(loaded, len(variants), channel, closed)


def generate_responses(
    loaded: LoadedModel,
    prompts: Sequence[str],
    *,
    variant: Variant = Original(),  # noqa: B008 - a frozen value
    system: str | None = None,
    max_new_tokens: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """One response per prompt under one variant, in batches of prompts of similar length.

    Each prompt has its own dice, made from `seed` and its position, so that the result does not depend on the batches.
    `progress` is called with (prompts done, prompts in all); raising `Cancelled` in it stops the run.
    """
    encoded = [checked_prompt(loaded, prompt, system, max_new_tokens, temperature) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]), reverse=True)
    responses = [""] * len(prompts)
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        rows = [Row(0, tuple(encoded[i]), seed + i) for i in batch]
        tokens = answers(loaded, [variant], rows, max_new_tokens=max_new_tokens, temperature=temperature)
        for i, row in zip(batch, tokens, strict=True):
            responses[i] = loaded.tokenizer.decode(row, skip_special_tokens=True)
        if progress is not None:
            progress(first + len(batch), len(prompts))
    return tuple(responses)


class _ProgramEnds(threading.Event):
    """Set as soon as the main thread has ended, so that a run that nobody reads any more ends within one token."""

    def is_set(self) -> bool:
        return not threading.main_thread().is_alive()


def _texts(
    loaded: LoadedModel,
    n_variants: int,
    channel: queue.Queue[list[int] | BaseException | None],
    closed: threading.Event,
) -> Iterator[tuple[str, ...]]:
    tokens: list[list[int]] = [[] for _ in range(n_variants)]
    ends = end_ids(loaded)
    try:
        while True:
            try:
                step = channel.get(timeout=POLL_SECONDS)
            except queue.Empty:
                step = []  # nothing new, but a place at which the reader can leave
            if step is None:
                break
            if isinstance(step, BaseException):
                raise step
            for row, token in zip(tokens, step, strict=False):
                row.append(token)
            yield tuple(_decoded(loaded, until_end(row, ends), held=True) for row in tokens)
        yield tuple(_decoded(loaded, until_end(row, ends), held=False) for row in tokens)
    finally:
        closed.set()


def _decoded(loaded: LoadedModel, row: list[int], *, held: bool) -> str:
    text = str(loaded.tokenizer.decode(row, skip_special_tokens=True))
    # Half a multi-byte character decodes to a replacement sign; while streaming it waits for the rest.
    return text.rstrip("\N{REPLACEMENT CHARACTER}") if held else text


def checked_prompt(
    loaded: LoadedModel, prompt: str, system: str | None, max_new_tokens: int, temperature: float
) -> list[int]:
    if not 0 <= temperature <= 10:
        raise SettingsError(f"The temperature is {temperature}; it must lie between 0 (greedy) and 10.")
    if max_new_tokens < 1:
        raise SettingsError(f"The length is {max_new_tokens} tokens; it must be at least 1.")
    if not is_text(prompt):
        raise SettingsError("The prompt holds half of a character pair, which no tokenizer reads. Type it again.")
    ids = prompt_ids(loaded.tokenizer, prompt, system)
    if not ids:
        raise SettingsError("The prompt is empty. Type a prompt, or choose one of the examples.")
    limit = loaded.context_length
    if limit is not None and len(ids) + max_new_tokens > limit:
        raise SettingsError(
            f"The prompt has {len(ids)} tokens and {max_new_tokens} more are asked for; the model reads at most "
            f"{limit} in all. Shorten one of them."
        )
    return ids
