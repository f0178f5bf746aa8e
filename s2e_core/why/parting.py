"""Where the edited text parts from the original: token by token on the original's own answer, and layer by layer.

Knows one text and two variants, which share one forward pass; no sampling. Hidden states are reduced to one number a
layer as they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from s2e_core.errors import S2EError
from s2e_core.generation import apply_variants
from s2e_core.measure import encode_text
from s2e_core.model import LoadedModel
from s2e_core.values import Example, Original, Variant

from .resuming import decoder_layers
from .tokens import token_texts

TOP = 5
"""Number of alternatives that are named at a token."""


@dataclass(frozen=True, eq=False)
class TokenParting:
    """One token of the original's answer, with what the variant would have written in its place."""

    token: str
    kl: float
    """KL of the variant from the original at this token, nats."""
    original: tuple[tuple[str, float], ...]
    """The original's likeliest tokens with their probabilities."""
    variant: tuple[tuple[str, float], ...]
    """The variant's likeliest tokens with their probabilities."""
    probability: tuple[float, float]
    """Probability of the token itself, of the original and of the variant."""
    differs: bool
    """Whether the likeliest tokens of the two are not the same."""


@dataclass(frozen=True, eq=False)
class Parting:
    """Where a variant's text would part from the original's answer."""

    tokens: tuple[TokenParting, ...]
    moved: tuple[float, ...]
    """Mean |h' - h| / |h| over the answer's tokens after every layer; empty if the layers cannot be told apart."""

    @property
    def first(self) -> int | None:
        """Index of the first token at which a greedy text of the variant is another one; None if there is none."""
        return next((n for n, token in enumerate(self.tokens) if token.differs), None)

    @property
    def mean_kl(self) -> float:
        """Mean KL over the answer, nats a token."""
        return sum(token.kl for token in self.tokens) / len(self.tokens)


def parting(loaded: LoadedModel, answer: Example, variant: Variant, *, top: int = TOP) -> Parting:
    """Compare a variant with the original on the original's answer to a prompt, in one pass.

    Raises S2EError if the answer is empty or too long, or the variant's numbers are not finite.
    """
    span = encode_text(loaded, answer)
    ids = torch.tensor([span.ids, span.ids], device=loaded.device)
    answered = slice(span.start - 1, len(span.ids) - 1)
    with loaded.lock, torch.inference_mode(), apply_variants(loaded, [Original(), variant], [0, 1]):
        with _movements(loaded, answered) as moved:
            logits = loaded.model(input_ids=ids, use_cache=False).logits
    p, q = (row.float().log_softmax(-1).cpu() for row in logits[:, answered])
    if not bool(q.isfinite().all()):
        raise S2EError("The edited model computes numbers that are not finite on this text. Lower the strength.")
    kl = (p.exp() * (p - q)).sum(dim=1).clamp(min=0).tolist()
    written = torch.tensor(span.ids[span.start :])
    own = [row.gather(1, written.unsqueeze(1)).squeeze(1).exp().tolist() for row in (p, q)]
    likeliest = [_likeliest(loaded, row, top) for row in (p, q)]
    tokens = tuple(
        TokenParting(text, kl[n], likeliest[0][n], likeliest[1][n], (own[0][n], own[1][n]), bool(differs))
        for n, (text, differs) in enumerate(
            zip(token_texts(loaded, written.tolist()), p.argmax(1) != q.argmax(1), strict=True)
        )
    )
    return Parting(tokens, tuple(moved))


def _likeliest(loaded: LoadedModel, log_probs: Tensor, top: int) -> list[tuple[tuple[str, float], ...]]:
    """The likeliest tokens of every row of log-probabilities (tokens, vocabulary), with their probabilities."""
    values, indices = log_probs.topk(min(top, log_probs.shape[1]), dim=1)
    texts = token_texts(loaded, indices.flatten().tolist())
    rows = [texts[n : n + indices.shape[1]] for n in range(0, len(texts), indices.shape[1])]
    return [tuple(zip(names, row, strict=True)) for names, row in zip(rows, values.exp().tolist(), strict=True)]


@contextmanager
def _movements(loaded: LoadedModel, positions: slice) -> Iterator[list[float]]:
    """While the context lasts, collect how far the second row of a batch is from the first after every layer."""
    moved: list[float] = []

    def compare(module: nn.Module, inputs: Any, output: Any) -> None:
        hidden = (output[0] if isinstance(output, tuple) else output)[:, positions].float()
        before, after = (
            torch.linalg.vector_norm(hidden[0], dim=-1),
            torch.linalg.vector_norm(hidden[1] - hidden[0], dim=-1),
        )
        moved.append(float((after / before.clamp(min=1e-30)).mean()))

    layers: Sequence[nn.Module] = decoder_layers(loaded)
    handles = [layer.register_forward_hook(compare) for layer in layers]
    try:
        yield moved
    finally:
        for handle in handles:
            handle.remove()
