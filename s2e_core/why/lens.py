"""The final norm and the unembedding of a model: what a vector of the residual stream says in words.

Knows how a model turns its last hidden state into logits; no component and no text. The final norm is found by what it
does, not by its name: it is the module whose output is what the unembedding reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from s2e_core.errors import S2EError
from s2e_core.model import LoadedModel, is_quantized

from .tokens import token_texts

TOP = 10
"""Number of tokens that are named on each side."""


@dataclass(frozen=True, eq=False)
class Words:
    """The tokens that a vector makes likelier and less likely, and by how much, against the mean over all tokens."""

    up: tuple[tuple[str, float], ...]
    """Tokens with the largest logits, the largest first."""
    down: tuple[tuple[str, float], ...]
    """Tokens with the smallest logits, the smallest first."""


@dataclass(frozen=True, eq=False)
class Lens:
    """The last two steps of a model (logit lens: nostalgebraist 2020)."""

    loaded: LoadedModel
    norm: nn.Module
    head: nn.Module

    def logits(self, vectors: Tensor) -> Tensor:
        """Logits (n, vocabulary) that vectors (n, d) add on their own, centred: a constant changes no probability."""
        device = self.loaded.device
        with self.loaded.lock, torch.inference_mode():
            x = vectors.to(device=device, dtype=self.loaded.dtype)
            rows = torch.cat([x, torch.zeros_like(x[:1])])  # biases, of a norm too, are in both and cancel
            logits = self.head(self.norm(rows)).float().cpu()
        return centred(logits[:-1] - logits[-1])

    def words(self, logits: Tensor, count: int = TOP) -> Words:
        """The tokens at both ends of logits (vocabulary,)."""
        return words(self.loaded, logits, count)


def words(loaded: LoadedModel, logits: Tensor, count: int = TOP) -> Words:
    """The tokens at both ends of logits (vocabulary,), of those that the tokenizer has."""
    known = logits[: len(loaded.tokenizer)]
    count = min(count, len(known))
    sides = (known.topk(count), known.topk(count, largest=False))
    return Words(*(_named(loaded, values, indices) for values, indices in sides))


def centred(logits: Tensor) -> Tensor:
    """Logits minus their mean over the vocabulary, the last dimension."""
    return logits - logits.mean(dim=-1, keepdim=True)


def find_lens(loaded: LoadedModel) -> Lens:
    """The final norm and the unembedding. Raises S2EError if the model has no such last steps."""
    model = loaded.model
    head = model.get_output_embeddings()
    outputs: list[tuple[nn.Module, Tensor]] = []
    read: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 3:
            outputs[:] = [(module, output)]  # only the last one is needed

    def keep_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read[:] = [inputs[0]]

    norms = [m for m in model.modules() if not list(m.children()) and "norm" in type(m).__name__.lower()]
    handles = [norm.register_forward_hook(keep) for norm in norms]
    if head is not None:
        handles.append(head.register_forward_pre_hook(keep_input))
    try:
        with loaded.lock, torch.inference_mode():
            model(input_ids=torch.tensor([[1, 2, 3]], device=loaded.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    if head is None or not outputs or not read or not torch.equal(outputs[0][1], read[0]):
        raise S2EError(
            f"A {loaded.spec.model_type} model does not end in a norm and an unembedding, so that the logit lens "
            "cannot be read. The other parts of the card do not need it."
        )
    return Lens(loaded, outputs[0][0], head)


def has_exact_derivatives(loaded: LoadedModel) -> bool:
    """Whether forward derivatives can be computed: not through quantised weights."""
    return not any(is_quantized(parameter) for parameter in loaded.model.parameters())


def _named(loaded: LoadedModel, values: Tensor, indices: Tensor) -> tuple[tuple[str, float], ...]:
    texts = token_texts(loaded, indices.tolist())
    return tuple(zip(texts, values.tolist(), strict=True))
