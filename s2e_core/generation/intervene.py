"""Run the untouched model as if it were edited or steered, every batch row as its own variant.

Knows how to add factors to the output of a projection: y + (a . x) u for an edit, y + gamma v for steering; of fused
experts, each token gets those of its row wherever it is sent. Weights are never written, so any number of people can
hold different edits of one model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from s2e_core.errors import S2EError
from s2e_core.model import Call, LoadedModel, watch
from s2e_core.spec import ModelSpec, Site
from s2e_core.values import Edited, Steered, Variant


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
            factors = _site_factors(loaded.spec, variants, index)
            if factors is None:
                continue
            if site.experts:
                handles += watch(loaded.model, site, _ExpertsHook(factors, rows, site))
            else:
                hook = _SiteHook(factors, rows)
                places = map(loaded.model.get_submodule, site.places)
                handles += [place.register_forward_hook(hook) for place in places]
        yield
    finally:
        for handle in handles:
            handle.remove()


def preview_logits(loaded: LoadedModel, variant: Variant, input_ids: Tensor) -> Tensor:
    """Logits (B, T, vocabulary), fp32 on the CPU, of unpadded `input_ids` (B, T) under one variant."""
    rows = [0] * len(input_ids)
    with loaded.lock, torch.inference_mode(), intervening(loaded, [variant], rows):
        return loaded.model(input_ids=input_ids.to(loaded.device), use_cache=False).logits.float().cpu()


@dataclass(frozen=True, eq=False)
class _Factors:
    """What one site adds under each of V variants, or in each of B batch rows."""

    left: Tensor
    """(V, d)"""
    right: Tensor
    """(V, n_inputs)"""
    offset: Tensor
    """(V, d)"""

    def of(self, rows: Sequence[int]) -> _Factors:
        return _Factors(self.left[rows], self.right[rows], self.offset[rows])

    def to(self, device: torch.device) -> _Factors:
        return _Factors(self.left.to(device), self.right.to(device), self.offset.to(device))


class _SiteHook:
    """Forward hook of one plain projection, with the factors of every batch row."""

    def __init__(self, factors: _Factors, rows: Sequence[int]) -> None:
        self.factors = factors.of(list(rows))
        self.shifts = bool(factors.offset.any())

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        factors = self.factors = self.factors.to(output.device)  # layers may sit on different devices
        n_rows = len(factors.left)
        x = inputs[0].reshape(n_rows, -1, inputs[0].shape[-1])  # some MLPs see (B * T, n_inputs)
        y = output.reshape(n_rows, -1, output.shape[-1])
        along = torch.einsum("btn,bn->bt", x.float(), factors.right)  # a . x
        changed = torch.addcmul(y.float(), along.unsqueeze(2), factors.left.unsqueeze(1))
        if self.shifts:
            changed += factors.offset.unsqueeze(1)
        return changed.to(output.dtype).reshape(output.shape)


class _ExpertsHook:
    """What `watch` calls for one site of fused experts: every token has the factors of its batch row."""

    def __init__(self, factors: _Factors, rows: Sequence[int], site: Site) -> None:
        self.factors, self.rows, self.experts = factors, torch.tensor(list(rows)), site.experts
        self.edits, self.shifts = factors.right.any(dim=1), bool(factors.offset.any())

    def __call__(self, call: Call, output: Tensor) -> Tensor:
        factors = self.factors = self.factors.to(output.device)
        variant = self.rows.repeat_interleave(call.n_tokens // len(self.rows)).to(output.device)  # (B * T,)
        right = factors.right.unflatten(1, (self.experts, -1))  # (V, experts, n)
        changed = output.reshape(-1, output.shape[-1]).to(torch.float32, copy=True)  # (rows, d)
        for part in call.parts(self.edits.to(output.device)[variant]):
            of = variant[part.tokens]
            along = (part.inputs.float() @ right[:, part.expert].T).gather(1, of.unsqueeze(1))  # (n, 1): a_e . x
            changed.index_add_(0, part.rows, along * factors.left[of])
        if self.shifts:
            changed[: len(call.receivers)] += factors.offset[variant[call.receivers]]
        return changed.to(output.dtype).reshape(output.shape)


def _site_factors(spec: ModelSpec, variants: Sequence[Variant], site: int) -> _Factors | None:
    """The factors of one site under all variants; None where no variant changes it."""
    left = torch.zeros(len(variants), spec.d_model)
    right = torch.zeros(len(variants), spec.sites[site].n_inputs)
    offset = torch.zeros_like(left)
    for v, variant in enumerate(variants):
        if isinstance(variant, Edited):
            left[v], right[v] = variant.edit.left[site], variant.edit.right[site]
        elif isinstance(variant, Steered):
            offset[v] = _steering_offset(variant, site)
    if not (right.any() or offset.any()):
        return None
    return _Factors(left, right, offset)


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
    if not other.same_sites(spec):
        raise S2EError(
            f"This edit was made for a {other.model_type} model of {other.n_layers} layers; the loaded model "
            f"({spec.model_type}, {spec.n_layers} layers) has other heads and neurons. Load the edit's own base model."
        )
