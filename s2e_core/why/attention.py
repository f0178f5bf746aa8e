"""Where one head looks on a text, and under the edit: one matrix, computed without keeping those of other heads.

Knows how attention modules return their weights; no metric. Fused kernels never form the matrix, so that the model
computes attention step by step while it is watched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from s2e_core.errors import S2EError, SettingsError
from s2e_core.generation import apply_variants
from s2e_core.measure import encode_text
from s2e_core.model import LoadedModel
from s2e_core.spec import Component
from s2e_core.values import Edited, Example, Original, Variant, WeightEdit

from .resuming import Reached
from .tokens import token_texts


@dataclass(frozen=True, eq=False)
class HeadAttention:
    """Where one head looks: row = token that asks, column = token that is read; every row adds up to 1."""

    tokens: tuple[str, ...]
    """Text of every token: (T,)."""
    original: Tensor
    """Attention of the untouched model: (T, T)."""
    edited: Tensor | None
    """Attention under the edit: (T, T); None without an edit."""


def head_attention(
    loaded: LoadedModel, component: Component, text: str | Example, edit: WeightEdit | None = None
) -> HeadAttention:
    """The attention of one head on a text, and under an edit, from one pass up to its layer.

    Raises SettingsError if the component is no single head, S2EError if the model does not tell its attention or the
    text is too short or too long.
    """
    site = loaded.spec.sites[component.site]
    if site.kind != "heads" or site.experts:
        raise SettingsError("Only an attention head outside of experts has attention. Choose a head.")
    ids = encode_text(loaded, text).ids
    variants: list[Variant] = [Original(), *([] if edit is None else [Edited(edit)])]
    found: list[Tensor] = []

    def take(index: int, weights: Tensor) -> None:
        found.append(weights[:, component.index].float().cpu())  # (B, T, T)
        raise Reached

    batch = torch.tensor([ids] * len(variants), device=loaded.device)
    with watch_attention(loaded, [component.site], take):
        with apply_variants(loaded, variants, range(len(variants))):
            run_to_the_end(loaded, batch, torch.ones_like(batch))
    if not found:
        raise unknown_attention(loaded)
    matrices = found[0]
    return HeadAttention(token_texts(loaded, ids), matrices[0], matrices[1] if edit is not None else None)


def unknown_attention(loaded: LoadedModel) -> S2EError:
    """The sentence for models whose attention modules return no weights."""
    return S2EError(
        f"A {loaded.spec.model_type} model does not return where its heads look, so that this part of the card is "
        "missing. The other parts do not need it."
    )


def run_to_the_end(loaded: LoadedModel, ids: Tensor, mask: Tensor) -> None:
    """One pass without the language-model head, which ends early if a hook raises `Reached`."""
    with suppress(Reached):
        loaded.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)


@contextmanager
def watch_attention(loaded: LoadedModel, sites: Collection[int], take: Callable[[int, Tensor], None]) -> Iterator[None]:
    """While the context lasts, call take(site, attention (B, H, T, T)) in every pass; it holds `loaded.lock`."""
    with ExitStack() as stack:
        stack.enter_context(loaded.lock)
        stack.enter_context(torch.inference_mode())
        stack.enter_context(_step_by_step(loaded))
        for index in sites:
            hook = _AttentionHook(index, loaded.spec.sites[index].n_components, take)
            for module in _around(loaded.model, loaded.spec.sites[index].name):
                stack.callback(module.register_forward_hook(hook).remove)
        yield


@contextmanager
def _step_by_step(loaded: LoadedModel) -> Iterator[None]:
    """Attention without fused kernels."""
    usual = loaded.model.config._attn_implementation
    try:
        loaded.model.set_attn_implementation("eager")
        yield
    finally:
        loaded.model.set_attn_implementation(usual)


def _around(model: nn.Module, name: str) -> list[nn.Module]:
    """The modules around a projection, inside its layer, the innermost first."""
    parts = name.split(".")
    last = max((n for n, part in enumerate(parts) if part.isdigit()), default=0)
    return [model.get_submodule(".".join(parts[:n])) for n in range(len(parts) - 1, last + 1, -1)]


class _AttentionHook:
    """Forward hook that looks for attention weights among what a module returns, once a pass."""

    def __init__(self, site: int, n_heads: int, take: Callable[[int, Tensor], None]) -> None:
        self.site, self.n_heads, self.take = site, n_heads, take
        self.seen: Tensor | None = None

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        for value in output if isinstance(output, tuple | list) else ():
            if isinstance(value, Tensor) and self._are_weights(value) and value is not self.seen:
                self.seen = value  # the module around may return the same
                self.take(self.site, value)
                return

    def _are_weights(self, value: Tensor) -> bool:
        return value.dim() == 4 and value.shape[1] == self.n_heads and value.shape[2] == value.shape[3]
