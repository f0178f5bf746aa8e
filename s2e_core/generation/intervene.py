"""Hooks that run the untouched model as if it were edited or steered, with one variant per batch row.

An edit turns the output y of a projection into y + (a . x) u, with a = the lambda_i k_i side by side, and further edits
add theirs; steering turns it into y + gamma v. In fused experts, each token gets the change of its batch row. Weights
are never written, so any number of people can use different edits of one model.
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
def apply_variants(loaded: LoadedModel, variants: Sequence[Variant], rows: Sequence[int]) -> Iterator[None]:
    """While the context lasts, row b of every batch runs `variants[rows[b]]`. The caller holds `loaded.lock`.

    Every batch inside the context must have len(rows) rows. Raises S2EError if a variant was made for another model.
    """
    for variant in variants:
        _check_model(loaded.spec, variant)
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
                modules = map(loaded.model.get_submodule, site.places)
                handles += [module.register_forward_hook(hook) for module in modules]
        yield
    finally:
        for handle in handles:
            handle.remove()


def preview_logits(loaded: LoadedModel, variant: Variant, input_ids: Tensor) -> Tensor:
    """Logits (B, T, vocabulary), fp32 on the CPU, of `input_ids` (B, T), without padding, under one variant."""
    rows = [0] * len(input_ids)
    with loaded.lock, torch.inference_mode(), apply_variants(loaded, [variant], rows):
        return loaded.model(input_ids=input_ids.to(loaded.device), use_cache=False).logits.float().cpu()


@dataclass(frozen=True, eq=False)
class _Factors:
    """Change of one site's output, per variant (V) or per batch row (B instead of V).

    A variant has R edits, most often one; where others have more, its further ones are zero.
    """

    left: Tensor
    """Unit direction u of every edit: (R, V, d)"""
    right: Tensor
    """Vector a of every edit, the lambda_i k_i side by side: (R, V, n_inputs)"""
    offset: Tensor
    """Steering vector gamma v: (V, d)"""

    def select(self, rows: Sequence[int]) -> _Factors:
        return _Factors(self.left[:, rows], self.right[:, rows], self.offset[rows])

    def to(self, device: torch.device) -> _Factors:
        return _Factors(self.left.to(device), self.right.to(device), self.offset.to(device))


class _SiteHook:
    """Forward hook of one plain projection that adds the factors of every batch row."""

    def __init__(self, factors: _Factors, rows: Sequence[int]) -> None:
        self.factors = factors.select(list(rows))
        self.has_offset = bool(factors.offset.any())

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        factors = self.factors = self.factors.to(output.device)  # layers may be on different devices
        n_rows = len(factors.offset)
        x = inputs[0].reshape(n_rows, -1, inputs[0].shape[-1])  # some MLPs see (B * T, n_inputs)
        y = output.reshape(n_rows, -1, output.shape[-1])
        result = y.float()
        for left, right in zip(factors.left, factors.right, strict=True):
            product = torch.einsum("btn,bn->bt", x.float(), right)  # a . x
            result = torch.addcmul(result, product.unsqueeze(2), left.unsqueeze(1))
        if self.has_offset:
            result += factors.offset.unsqueeze(1)
        return result.to(output.dtype).reshape(output.shape)


class _ExpertsHook:
    """Callback of `watch` for one site of fused experts: every token gets the factors of its batch row."""

    def __init__(self, factors: _Factors, rows: Sequence[int], site: Site) -> None:
        self.factors, self.rows, self.experts = factors, torch.tensor(list(rows)), site.experts
        self.has_edit, self.has_offset = factors.right.any(dim=2), bool(factors.offset.any())

    def __call__(self, call: Call, output: Tensor) -> Tensor:
        factors = self.factors = self.factors.to(output.device)
        variant = self.rows.repeat_interleave(call.n_tokens // len(self.rows)).to(output.device)  # (B * T,)
        result = output.reshape(-1, output.shape[-1]).to(torch.float32, copy=True)  # (rows, d)
        for left, flat, has_edit in zip(factors.left, factors.right, self.has_edit.to(output.device), strict=True):
            right = flat.unflatten(1, (self.experts, -1))  # (V, experts, n)
            for part in call.parts(has_edit[variant]):
                v = variant[part.tokens]
                product = (part.inputs.float() @ right[:, part.expert].T).gather(1, v.unsqueeze(1))  # (n, 1): a_e . x
                result.index_add_(0, part.rows, product * left[v])
        if self.has_offset:
            result[: len(call.receivers)] += factors.offset[variant[call.receivers]]
        return result.to(output.dtype).reshape(output.shape)


def _site_factors(spec: ModelSpec, variants: Sequence[Variant], site: int) -> _Factors | None:
    """Factors of one site under all variants; None if no variant changes it."""
    rank = max((len(variant.parts) for variant in variants if isinstance(variant, Edited)), default=1)
    left = torch.zeros(rank, len(variants), spec.d_model)
    right = torch.zeros(rank, len(variants), spec.sites[site].n_inputs)
    offset = torch.zeros(len(variants), spec.d_model)
    for v, variant in enumerate(variants):
        if isinstance(variant, Edited):
            for r, edit in enumerate(variant.parts):
                left[r, v], right[r, v] = edit.left[site], edit.right[site]
        elif isinstance(variant, Steered):
            offset[v] = _steering_offset(variant, site)
    if not (right.any() or offset.any()):
        return None
    return _Factors(left, right, offset)


def _steering_offset(variant: Steered, site: int) -> Tensor:
    """gamma * v (d,), with the direction v itself and not the unit direction u."""
    return variant.gamma * variant.directions.norm[site] * variant.directions.unit[site]


def _check_model(spec: ModelSpec, variant: Variant) -> None:
    others: list[ModelSpec] = []
    if isinstance(variant, Edited):
        others = [edit.spec for edit in variant.parts]
    elif isinstance(variant, Steered):
        others = [variant.directions.spec]
    for other in others:
        if other.same_sites(spec):
            continue
        raise S2EError(
            f"This edit was made for a {other.model_type} model of {other.n_layers} layers; the loaded model "
            f"({spec.model_type}, {spec.n_layers} layers) has other heads and neurons. Load the edit's own base model."
        )
