"""Raw logits of texts that are already written, under several variants of one model in shared batches.

Knows forward passes, batches and padding; no measure. Every row of a batch is one text under one variant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from s2e_core.errors import S2EError
from s2e_core.generation import intervening
from s2e_core.model import LoadedModel, example_ids, is_text
from s2e_core.progress import Progress
from s2e_core.values import Example, Variant

MAX_LOGITS = 64 * 2**20
"""Numbers in the logits of one batch: 256 MB in fp32."""
MAX_BATCH_TOKENS = 8192
POSITIONS = 32
"""Positions whose log-probabilities over the vocabulary are held at a time."""


class Span(NamedTuple):
    """A text as ids, and where the part begins whose tokens are predicted."""

    ids: tuple[int, ...]
    start: int
    """The positions start-1 .. len(ids)-2 predict the tokens start .. len(ids)-1."""


class Row(NamedTuple):
    """One row of a batch."""

    variant: int
    """Index into the variants."""
    span: Span


def span_of(loaded: LoadedModel, text: str | Example) -> Span:
    """All tokens of a plain text but its first, or the response of an example in the model's own chat template.

    Raises S2EError for a text too short to predict a token of, or too long for the model.
    """
    said = text if isinstance(text, str) else f"{text.prompt} {text.response}"
    if not is_text(said):
        raise S2EError("A text holds half of a character pair, which no tokenizer reads. Remove it.")
    span = _plain_span(loaded, text) if isinstance(text, str) else _response_span(loaded, text)
    if not 0 < span.start < len(span.ids):
        raise S2EError(
            f'The text "{said[:60]}" has no token that could be predicted from one before it. Give a plain text of at '
            "least two tokens, or a prompt with a response."
        )
    limit = loaded.context_length
    if limit is not None and len(span.ids) > limit:
        raise S2EError(
            f'The text "{said[:60]}..." has {len(span.ids)} tokens and the model reads at most {limit}. Shorten it.'
        )
    return span


def _plain_span(loaded: LoadedModel, text: str) -> Span:
    ids = list(loaded.tokenizer(text)["input_ids"])
    if ids and ids[-1] == loaded.tokenizer.eos_token_id:  # some tokenizers end every text
        ids = ids[:-1]
    return Span(tuple(ids), 1)


def _response_span(loaded: LoadedModel, example: Example) -> Span:
    ids, start = example_ids(loaded.tokenizer, example)
    return Span(tuple(ids), start)


def span_logits(
    loaded: LoadedModel, variants: Sequence[Variant], rows: Sequence[Row], *, progress: Progress | None = None
) -> Iterator[Tensor]:
    """Logits (tokens of the span, vocabulary) of every row, in the order of the rows and the model's own dtype.

    Rows of similar length should stand together: consecutive rows share a batch. The lock is held only while a batch
    runs. `progress` is called with (rows done, rows in all) after each batch.
    """
    done = 0
    for batch in _batches(rows, loaded.model.config.get_text_config().vocab_size):
        logits = _batch_logits(loaded, variants, batch)
        for row, row_logits in zip(batch, logits, strict=True):
            yield row_logits[row.span.start - 1 : len(row.span.ids) - 1]
        done += len(batch)
        if progress is not None:
            progress(done, len(rows))


def token_log_probs(logits: Tensor, span: Span) -> Tensor:
    """(tokens of the span,), fp32: log-probability of every token of a span, in nats."""
    tokens = torch.tensor(span.ids[span.start :], device=logits.device)
    parts = zip(logits.split(POSITIONS), tokens.split(POSITIONS), strict=True)
    return torch.cat([part.float().log_softmax(-1).gather(1, said.unsqueeze(1)).squeeze(1) for part, said in parts])


def _batches(rows: Sequence[Row], vocabulary: int) -> Iterator[list[Row]]:
    limit = min(MAX_BATCH_TOKENS, MAX_LOGITS // vocabulary)
    batch: list[Row] = []
    longest = 0
    for row in rows:
        longest = max(longest, len(row.span.ids))
        if batch and (len(batch) + 1) * longest > limit:
            yield batch
            batch, longest = [], len(row.span.ids)
        batch.append(row)
    if batch:
        yield batch


def _batch_logits(loaded: LoadedModel, variants: Sequence[Variant], batch: Sequence[Row]) -> Tensor:
    """(B, T, vocabulary) of right-padded rows."""
    width = max(len(row.span.ids) for row in batch)
    ids = torch.tensor([[*row.span.ids, *[0] * (width - len(row.span.ids))] for row in batch])
    mask = torch.tensor([[1] * len(row.span.ids) + [0] * (width - len(row.span.ids)) for row in batch])
    used = sorted({row.variant for row in batch})
    places = [used.index(row.variant) for row in batch]
    with loaded.lock, torch.inference_mode(), intervening(loaded, [variants[v] for v in used], places):
        made = loaded.model(
            input_ids=ids.to(loaded.device), attention_mask=mask.to(loaded.device), use_cache=False
        ).logits
    return made
