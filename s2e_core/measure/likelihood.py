"""Raw logits of given texts under several variants of one model in shared batches.

Knows forward passes, batches and padding; no figure. Every row of a batch is one text under one variant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from s2e_core.errors import S2EError
from s2e_core.generation import apply_variants
from s2e_core.model import LoadedModel, example_ids, is_encodable
from s2e_core.progress import Progress
from s2e_core.values import Example, Variant

MAX_LOGITS = 64 * 2**20
"""Most numbers in the logits of one batch: 256 MB in fp32."""
MAX_BATCH_TOKENS = 8192
"""Most padded tokens of one batch."""
POSITIONS = 32
"""Number of positions whose log-probabilities over the vocabulary are in memory at a time."""


class TextSpan(NamedTuple):
    """A text as token ids, and the start of the part whose tokens are predicted."""

    ids: tuple[int, ...]
    start: int
    """Index of the first predicted token: the positions start-1 .. len(ids)-2 predict the tokens from there on."""


class TextRow(NamedTuple):
    """One row of a batch."""

    variant: int
    """Index of the variant."""
    span: TextSpan


def encode_text(loaded: LoadedModel, text: str | Example) -> TextSpan:
    """All tokens of a plain text but its first, or the response of an example in the model's own chat template.

    Raises S2EError if the text is too short to predict a token, too long for the model, or has a broken character.
    """
    shown = text if isinstance(text, str) else f"{text.prompt} {text.response}"
    if not is_encodable(shown):
        raise S2EError(
            "A text contains a broken Unicode character (an unpaired surrogate). Retype or remove the character."
        )
    span = _plain_span(loaded, text) if isinstance(text, str) else _response_span(loaded, text)
    if not 0 < span.start < len(span.ids):
        raise S2EError(
            f'The text "{shown[:60]}" has no token that can be predicted from an earlier one. Give a plain text of at '
            "least two tokens, or a prompt with a response."
        )
    limit = loaded.context_length
    if limit is not None and len(span.ids) > limit:
        raise S2EError(
            f'The text "{shown[:60]}..." has {len(span.ids)} tokens and the model reads at most {limit}. Shorten it.'
        )
    return span


def _plain_span(loaded: LoadedModel, text: str) -> TextSpan:
    ids = list(loaded.tokenizer(text)["input_ids"])
    if ids and ids[-1] == loaded.tokenizer.eos_token_id:  # some tokenizers end every text
        ids = ids[:-1]
    return TextSpan(tuple(ids), 1)


def _response_span(loaded: LoadedModel, example: Example) -> TextSpan:
    ids, start = example_ids(loaded.tokenizer, example)
    return TextSpan(tuple(ids), start)


def span_logits(
    loaded: LoadedModel, variants: Sequence[Variant], rows: Sequence[TextRow], *, progress: Progress | None = None
) -> Iterator[Tensor]:
    """Logits (tokens of the span, vocabulary) of every row, in the order of the rows and the model's own dtype.

    Rows of similar length should follow each other, since consecutive rows share a batch. The lock is taken only while
    a batch runs. `progress` is called with (rows done, rows in total) after each batch.
    """
    done = 0
    for batch in _batches(rows, loaded.model.config.get_text_config().vocab_size):
        logits = _batch_logits(loaded, variants, batch)
        for row, row_logits in zip(batch, logits, strict=True):
            yield row_logits[row.span.start - 1 : len(row.span.ids) - 1]
        done += len(batch)
        if progress is not None:
            progress(done, len(rows))


def token_log_probs(logits: Tensor, span: TextSpan) -> Tensor:
    """Log-probability of every token of a span, in nats: (tokens of the span,), fp32."""
    tokens = torch.tensor(span.ids[span.start :], device=logits.device)
    parts = zip(logits.split(POSITIONS), tokens.split(POSITIONS), strict=True)
    return torch.cat([part.float().log_softmax(-1).gather(1, ids.unsqueeze(1)).squeeze(1) for part, ids in parts])


def _batches(rows: Sequence[TextRow], vocabulary: int) -> Iterator[list[TextRow]]:
    limit = min(MAX_BATCH_TOKENS, MAX_LOGITS // vocabulary)
    batch: list[TextRow] = []
    longest = 0
    for row in rows:
        longest = max(longest, len(row.span.ids))
        if batch and (len(batch) + 1) * longest > limit:
            yield batch
            batch, longest = [], len(row.span.ids)
        batch.append(row)
    if batch:
        yield batch


def _batch_logits(loaded: LoadedModel, variants: Sequence[Variant], batch: Sequence[TextRow]) -> Tensor:
    """Logits of right-padded rows: (B, T, vocabulary)."""
    width = max(len(row.span.ids) for row in batch)
    ids = torch.tensor([[*row.span.ids, *[0] * (width - len(row.span.ids))] for row in batch])
    mask = torch.tensor([[1] * len(row.span.ids) + [0] * (width - len(row.span.ids)) for row in batch])
    used = sorted({row.variant for row in batch})
    positions = [used.index(row.variant) for row in batch]
    with loaded.lock, torch.inference_mode(), apply_variants(loaded, [variants[v] for v in used], positions):
        logits: Tensor = loaded.model(
            input_ids=ids.to(loaded.device), attention_mask=mask.to(loaded.device), use_cache=False
        ).logits
    return logits
