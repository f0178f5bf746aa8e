"""Run the untouched model as if it were edited or steered, every batch row as its own variant.

Knows how to add factors to the output of a projection: y + (a . x) u for an edit, y + gamma v for steering. Weights are
never written, so any number of people can hold different edits of one model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .errors import S2EError
from .spec import ModelSpec
from .types import Edited, LoadedModel, Steered, Variant


@contextmanager
def intervening(loaded: LoadedModel, variants: Sequence[Variant], rows: Sequence[int]) -> Iterator[None]:
    """While the context lasts, row b of every batch runs `variants[rows[b]]`. The caller holds `loaded.lock`.

    All batches run inside must have len(rows) rows. Raises S2EError for a variant that was made for another model.
    """
    for variant in variants:
        _check_fits(loaded.spec, variant)
    handles = []
    try:
        for index, site in enumerate(loaded.spec.sites):
            factors = _site_factors(loaded, variants, index)
            if factors is not None:
                hook = _SiteHook(*(factor[list(rows)] for factor in factors))
                handles.append(loaded.model.get_submodule(site.name).register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def preview_logits(loaded: LoadedModel, variant: Variant, input_ids: Tensor) -> Tensor:
    """Logits (B, T, vocabulary), fp32 on the CPU, of unpadded `input_ids` (B, T) under one variant."""
    rows = [0] * len(input_ids)
    with loaded.lock, torch.inference_mode(), intervening(loaded, [variant], rows):
        return loaded.model(input_ids=input_ids.to(loaded.device), use_cache=False).logits.float().cpu()


class _SiteHook:
    """Forward hook of one projection with one pair of factors and one offset per batch row."""

    def __init__(self, left: Tensor, right: Tensor, offset: Tensor) -> None:
        self.left, self.right = left, right  # (B, d), (B, n_inputs)
        self.offset = offset if offset.any() else None  # (B, d)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        n_rows = len(self.left)
        x = inputs[0].reshape(n_rows, -1, inputs[0].shape[-1])  # some MLPs see (B * T, n_inputs)
        y = output.reshape(n_rows, -1, output.shape[-1])
        along = torch.einsum("btn,bn->bt", x.float(), self.right)  # a . x
        changed = torch.addcmul(y.float(), along.unsqueeze(2), self.left.unsqueeze(1))
        if self.offset is not None:
            changed += self.offset.unsqueeze(1)
        return changed.to(output.dtype).reshape(output.shape)


def _site_factors(loaded: LoadedModel, variants: Sequence[Variant], site: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """left (V, d), right (V, n_inputs) and offset (V, d) of one site; None where no variant changes it."""
    left = torch.zeros(len(variants), loaded.spec.d_model)
    right = torch.zeros(len(variants), loaded.spec.sites[site].n_inputs)
    offset = torch.zeros_like(left)
    for v, variant in enumerate(variants):
        if isinstance(variant, Edited):
            left[v], right[v] = variant.edit.left[site], variant.edit.right[site]
        elif isinstance(variant, Steered):
            offset[v] = _steering_offset(variant, site)
    if not (right.any() or offset.any()):
        return None
    return left.to(loaded.device), right.to(loaded.device), offset.to(loaded.device)


def _steering_offset(variant: Steered, site: int) -> Tensor:
    """gamma * v, with the raw v and not the unit vector (method, activation steering)."""
    return variant.gamma * variant.directions.norm[site] * variant.directions.unit[site]


def _check_fits(spec: ModelSpec, variant: Variant) -> None:
    if isinstance(variant, Edited):
        other = variant.edit.spec
    elif isinstance(variant, Steered):
        other = variant.directions.spec
    else:
        return
    if [(s.name, s.n_inputs) for s in other.sites] != [(s.name, s.n_inputs) for s in spec.sites]:
        raise S2EError(
            f"This edit was made for a {other.model_type} model of {other.n_layers} layers; the loaded model "
            f"({spec.model_type}, {spec.n_layers} layers) has other heads and neurons. Load the edit's own base model."
        )
