"""Capture projection inputs token by token on the model's own answers: what baked and gated steering are fitted on.

Knows forward passes. A sample of token positions is kept, bounded in number and in bytes, whatever the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from s2e_core.data import FIRST_PROMPTS, GateTexts
from s2e_core.errors import ContrastDataError, SettingsError
from s2e_core.generation import BatchRow, answers, encode_prompt, rows_that_fit
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.token_inputs import TokenInputs
from s2e_core.values import Example, Original

from .capture import MAX_BATCH_TOKENS, refuse_not_finite
from .gate import solve_keys
from .input_hooks import watch_inputs

LEAST_POSITIONS, MOST_POSITIONS = 512, 2048
"""Token positions of each side that are kept: more of a small model, whose gates are the better for it."""
USUAL_BYTES, MOST_BYTES = 64_000_000, 1_000_000_000
"""Memory for more than the least number of positions, and for all; a very wide model keeps even fewer."""
BATCH = 128
"""Prompts that are answered together: a stop waits for one batch at most."""


def capture_token_inputs(loaded: LoadedModel, texts: GateTexts, *, progress: Progress | None = None) -> TokenInputs:
    """Inputs of every site on the model's own greedy answers to both kinds of prompts, with the gates solved on them.

    Of a small model more prompts are answered and more positions kept: as many as fit into a bounded memory. The
    positions are spread evenly over all tokens of a side, prompts and answers alike; a prompt that the model cannot
    answer, because it is empty or too long, is left out. `progress` counts prompts, first answered and then read.
    Raises SettingsError if a side has only such prompts, ContrastDataError if none is of the behaviour, S2EError if
    the inputs are too large for the model's number format, Cancelled if `progress` raises it.
    """
    if not texts.on:
        raise ContrastDataError("There are no prompts of the behaviour that a gate could be fitted on. Give some.")
    sides = [_answerable(loaded, side, texts.answer_tokens) for side in (texts.on, texts.off)]
    n_all, limit = sum(map(len, sides)), most_positions(loaded)
    stages = Stages(progress, answers=n_all, texts=n_all)
    rows_on, rows_off = _answered(loaded, sides, texts.answer_tokens, limit, stages.of("answers"))
    read = stages.of("texts")
    on = _inputs_at(loaded, rows_on, limit)
    read(len(sides[0]), n_all)
    off = _inputs_at(loaded, rows_off, limit)
    read(n_all, n_all)
    refuse_not_finite(loaded, on)
    refuse_not_finite(loaded, off)
    return solve_keys(TokenInputs(loaded.spec, on, off, texts.harmless))


def most_positions(loaded: LoadedModel) -> int:
    """Token positions of a side: MOST_POSITIONS where they fit into USUAL_BYTES as bf16, else as many as do.

    At least LEAST_POSITIONS, but for a model so wide that even they do not fit into MOST_BYTES.
    """
    numbers = sum(site.n_inputs * site.runs for site in loaded.spec.sites)
    usual, most = (size // (2 * 2 * numbers) for size in (USUAL_BYTES, MOST_BYTES))
    return max(16, min(most, max(LEAST_POSITIONS, min(usual, MOST_POSITIONS))))


def _answered(
    loaded: LoadedModel, sides: Sequence[list[Example]], max_new_tokens: int, wanted: int, progress: Progress
) -> list[list[tuple[int, ...]]]:
    """The first prompts of both sides with their answers; all of them if a side has fewer than `wanted` tokens so."""
    n_all = sum(map(len, sides))
    first = _answer_part(loaded, [side[:FIRST_PROMPTS] for side in sides], max_new_tokens, progress)
    n_first = sum(map(len, first))
    if n_first == n_all or all(sum(map(len, rows)) >= wanted for rows in first):
        progress(n_all, n_all)
        return first
    more = _answer_part(
        loaded,
        [side[FIRST_PROMPTS:] for side in sides],
        max_new_tokens,
        lambda done, _total: progress(n_first + done, n_all),
    )
    return [[*some, *others] for some, others in zip(first, more, strict=True)]


def _answer_part(
    loaded: LoadedModel, sides: Sequence[list[Example]], max_new_tokens: int, progress: Progress
) -> list[list[tuple[int, ...]]]:
    """Both sides in the same batches; `progress` counts prompts."""
    on, off = sides
    rows = own_answers(loaded, [*on, *off], max_new_tokens, progress=progress)
    return [rows[: len(on)], rows[len(on) :]]


def own_answers(
    loaded: LoadedModel, prompts: Sequence[Example], max_new_tokens: int, *, progress: Progress | None = None
) -> list[tuple[int, ...]]:
    """Token ids of every prompt with the model's greedy answer, in order. `progress` counts prompts."""
    encoded = [tuple(encode_prompt(loaded, it.prompt, it.system, max_new_tokens, 0.0, it.earlier)) for it in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]), reverse=True)
    size = min(BATCH, rows_that_fit(loaded, max(map(len, encoded), default=0) + max_new_tokens))
    whole = dict[int, tuple[int, ...]]()
    for first in range(0, len(order), size):
        batch = order[first : first + size]
        rows = [BatchRow(0, encoded[i], 0) for i in batch]
        tokens = answers(loaded, [Original()], rows, max_new_tokens=max_new_tokens, temperature=0.0, stops=[])
        whole.update({i: (*encoded[i], *ids) for i, ids in zip(batch, tokens, strict=True)})
        if progress is not None:
            progress(len(whole), len(prompts))
    return [whole[i] for i in range(len(prompts))]


def _answerable(loaded: LoadedModel, prompts: Sequence[Example], max_new_tokens: int) -> list[Example]:
    """The prompts that fit into the model with their answer. Raises the first one's SettingsError if none does."""
    kept, errors = list[Example](), list[SettingsError]()
    for example in prompts:
        try:
            encode_prompt(loaded, example.prompt, example.system, max_new_tokens, 0.0, example.earlier)
            kept.append(example)
        except SettingsError as error:
            errors.append(error)
    if errors and not kept:
        raise errors[0]
    return kept


def _inputs_at(loaded: LoadedModel, rows: Sequence[tuple[int, ...]], limit: int) -> tuple[Tensor, ...]:
    """Inputs at up to `limit` positions, spread evenly over all tokens of the rows. Per site: (tokens, n_inputs)."""
    places = [(row, position) for row, ids in enumerate(rows) for position in range(len(ids))]
    chosen = [places[n * len(places) // limit] for n in range(limit)] if len(places) > limit else places
    kept: list[list[Tensor]] = [[] for _ in loaded.spec.sites]

    def take(site: int, captured: Tensor) -> None:
        kept[site].append(captured[:, : loaded.spec.sites[site].n_inputs].to("cpu", torch.bfloat16))

    with loaded.lock, torch.inference_mode():
        for batch in _batches(rows):
            row_of = {row: n for n, row in enumerate(batch)}
            inside = [(row_of[row], position) for row, position in chosen if row in row_of]
            if inside:
                _run(loaded, [rows[i] for i in batch], inside, take)
    return tuple(
        torch.cat(parts) if parts else torch.empty(0, s.n_inputs).bfloat16()
        for s, parts in zip(loaded.spec.sites, kept, strict=True)
    )


def _batches(rows: Sequence[tuple[int, ...]]) -> list[list[int]]:
    batches: list[list[int]] = []
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True):
        if not batches or (len(batches[-1]) + 1) * len(rows[batches[-1][0]]) > MAX_BATCH_TOKENS:
            batches.append([])
        batches[-1].append(i)
    return batches


def _run(
    loaded: LoadedModel,
    batch: Sequence[tuple[int, ...]],
    places: Sequence[tuple[int, int]],
    take: Callable[[int, Tensor], None],
) -> None:
    width = max(map(len, batch))
    ids, mask = torch.zeros(2, len(batch), width, dtype=torch.long)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    select = torch.zeros(len(places), len(batch) * width)
    for n, (row, position) in enumerate(places):
        select[n, row * width + position] = 1
    with watch_inputs(loaded, select.to(loaded.device), take):
        loaded.model.base_model(input_ids=ids.to(loaded.device), attention_mask=mask.to(loaded.device), use_cache=False)
