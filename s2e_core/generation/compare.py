"""Text under several variants of one model: streamed side by side, or in batches of many prompts.

The untouched model runs once for all variants, and each batch row adds its own factors. Sampling uses the same random
numbers for every variant, so that only the edit makes texts differ.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

import torch

from s2e_core.errors import Cancelled, SettingsError
from s2e_core.model import LoadedModel, is_encodable, prompt_ids
from s2e_core.progress import Progress
from s2e_core.values import Original, Turn, Variant

from .batching import POLL_SECONDS, BatchRow, answers, turn
from .decoding import SharedNoise, decode
from .ends import ends_of
from .intervene import apply_variants


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
    closing the iterator, ends the run within one token. Raises S2EError if a setting is out of range or a variant was
    made for another model.
    """
    if not variants:
        raise SettingsError("There is nothing to compare. Provide at least one variant, such as Original().")
    ids = encode_prompt(loaded, prompt, system, max_new_tokens, temperature)
    closed = threading.Event()
    stops = [closed, _ProgramEnd()] if stop is None else [closed, stop, _ProgramEnd()]
    channel: queue.Queue[list[int] | BaseException | None] = queue.Queue()

    def work() -> None:
        # The lock, the hooks and inference mode live in this one thread: an iterator may be resumed on any thread.
        try:
            noise = SharedNoise([seed] * len(variants), temperature)
            batch = torch.tensor([ids] * len(variants))
            with turn(loaded, stops), torch.inference_mode(), apply_variants(loaded, variants, range(len(variants))):
                decode(loaded, batch, torch.ones_like(batch), max_new_tokens, noise, stops, channel.put)
            channel.put(None)
        except Cancelled:
            channel.put(None)
        except BaseException as error:  # the reading thread raises it
            channel.put(error)

    # No daemon thread: torch aborts the program if a thread still runs while Python shuts down.
    threading.Thread(target=work, name="compare").start()
    return _read_texts(loaded, len(variants), channel, closed)


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

    Each prompt has its own random numbers, from `seed` + its index, so that the result does not depend on the batches.
    `progress` is called with (prompts done, all prompts); raising `Cancelled` in it stops the run. Raises SettingsError
    if a setting is out of range, or a prompt is empty or too long.
    """
    encoded = [encode_prompt(loaded, prompt, system, max_new_tokens, temperature) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]), reverse=True)
    responses = [""] * len(prompts)
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        rows = [BatchRow(0, tuple(encoded[i]), seed + i) for i in batch]
        tokens = answers(loaded, [variant], rows, max_new_tokens=max_new_tokens, temperature=temperature)
        for i, row in zip(batch, tokens, strict=True):
            responses[i] = loaded.tokenizer.decode(row, skip_special_tokens=True)
        if progress is not None:
            progress(first + len(batch), len(prompts))
    return tuple(responses)


class _ProgramEnd(threading.Event):
    """Event that is set once the main thread has ended, so that a run without a reader ends within one token."""

    def is_set(self) -> bool:
        return not threading.main_thread().is_alive()


def _read_texts(
    loaded: LoadedModel,
    n_variants: int,
    channel: queue.Queue[list[int] | BaseException | None],
    closed: threading.Event,
) -> Iterator[tuple[str, ...]]:
    tokens: list[list[int]] = [[] for _ in range(n_variants)]
    ends = ends_of(loaded)
    try:
        while True:
            try:
                step = channel.get(timeout=POLL_SECONDS)
            except queue.Empty:
                step = []  # no new token, but a chance for the reader to close the iterator
            if step is None:
                break
            if isinstance(step, BaseException):
                raise step
            for row, token in zip(tokens, step, strict=False):
                row.append(token)
            yield tuple(_decode_text(loaded, ends.cut(row), is_complete=False) for row in tokens)
        yield tuple(_decode_text(loaded, ends.cut(row), is_complete=True) for row in tokens)
    finally:
        closed.set()


def _decode_text(loaded: LoadedModel, row: list[int], *, is_complete: bool) -> str:
    text = str(loaded.tokenizer.decode(row, skip_special_tokens=True))
    # An incomplete multi-byte character decodes to a replacement sign: while streaming, wait for its last bytes.
    return text if is_complete else text.rstrip("\N{REPLACEMENT CHARACTER}")


def encode_prompt(
    loaded: LoadedModel,
    prompt: str,
    system: str | None,
    max_new_tokens: int,
    temperature: float,
    earlier: Sequence[Turn] = (),
) -> list[int]:
    """The token ids of a prompt after `earlier` turns.

    Raises SettingsError if a setting is out of range, or the prompt is empty or too long.
    """
    if not 0 <= temperature <= 10:
        raise SettingsError(f"The temperature is {temperature}; it must be between 0 (greedy) and 10.")
    if max_new_tokens < 1:
        raise SettingsError(f"The length is {max_new_tokens} tokens; it must be at least 1.")
    if not is_encodable(prompt):
        raise SettingsError(
            "The prompt contains a broken Unicode character (an unpaired surrogate). Retype or remove it."
        )
    ids = prompt_ids(loaded.tokenizer, prompt, system, earlier)
    if not ids:
        raise SettingsError("The prompt is empty. Type a prompt, or choose one of the examples.")
    limit = loaded.context_length
    if limit is not None and len(ids) + max_new_tokens > limit:
        raise SettingsError(
            f"The prompt has {len(ids)} tokens and the answer up to {max_new_tokens}; the model reads at most {limit} "
            "in total. Shorten the prompt or the answer."
        )
    return ids
