"""Hooks that reduce the inputs of every projection to weighted sums over positions while the model runs.

Knows forward passes of one batch; no example and no side. No activation is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from s2e_core.errors import UnsupportedModelError
from s2e_core.model import Call, LoadedModel, watch
from s2e_core.spec import Site


@contextmanager
def watch_inputs(loaded: LoadedModel, weights: Tensor, take: Callable[[int, Tensor], None]) -> Iterator[None]:
    """While the context lasts, call take(site, weighted sums of its inputs); `weights` is (R, B * T)."""
    handles: list[RemovableHandle] = []
    used = weights.any(dim=0).nonzero().squeeze(1)  # positions inside a span
    shares = weights[:, used]
    try:
        for index, site in enumerate(loaded.spec.sites):
            if site.experts:
                handles += watch(loaded.model, site, _experts_hook(weights, site, partial(take, index)))
            else:
                hook = _input_hook(shares, used, weights.shape[1], partial(take, index))
                modules = map(loaded.model.get_submodule, site.places)
                handles += [module.register_forward_pre_hook(hook) for module in modules]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _input_hook(shares: Tensor, used: Tensor, n_positions: int, take: Callable[[Tensor], None]) -> Any:
    def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].reshape(-1, inputs[0].shape[-1])  # (B * T, n_inputs)
        _check_positions(len(x), n_positions)
        take(shares.to(x.device) @ x[used.to(x.device)].float())

    return add


def _experts_hook(weights: Tensor, site: Site, take: Callable[[Tensor], None]) -> Callable[[Call, Tensor], None]:
    """One expert at a time over its own tokens: the inputs of all experts for all tokens never exist together."""
    n = site.n_inputs // site.experts

    def add(call: Call, output: Tensor) -> None:
        _check_positions(call.n_tokens, weights.shape[1])
        shares = weights.to(output.device)
        inputs = shares.new_zeros(len(shares), site.n_inputs)
        more = shares.new_zeros(len(shares), output.shape[-1] if site.has_extra_output else 0)
        for part in call.parts(shares.any(dim=0)):
            share = shares[:, part.tokens]  # (R, n)
            inputs[:, part.expert * n : (part.expert + 1) * n] += share @ part.weighted_inputs
            if part.more is not None:
                more += share @ part.more.float()
        take(torch.cat([inputs, more], dim=1))

    return add


def _check_positions(n_positions: int, n_tokens: int) -> None:
    if n_positions != n_tokens:  # block-wise attention that fills its last block would shift the spans
        raise UnsupportedModelError(
            f"This model processes {n_positions} positions for {n_tokens} tokens, so the responses cannot be "
            "distinguished from the prompts. Use shorter examples, or another model."
        )
