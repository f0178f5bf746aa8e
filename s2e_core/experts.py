"""Fused experts: MLPs whose matrices are stacked in one parameter, of which every token runs through a few.

Knows how transformers calls such modules, and recomputes from a call what every expert handed to its down projection:
no hook of a module sees that. Knows no whole model, no edit and no average.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


@dataclass(frozen=True, eq=False)
class Stack:
    """The down projections of one module's experts."""

    parameter: str
    """The stacked matrices' path inside the module."""
    experts: int
    n_inputs: int
    """Of one expert."""
    transposed: bool
    """Each is stored (n_inputs, d)."""


@dataclass(frozen=True, eq=False)
class Routed:
    """One expert during one call of its module."""

    expert: int
    tokens: Tensor
    """(n,) the tokens that were sent to it, as positions among all B * T"""
    rows: Tensor
    """(n,) where it writes for them: rows of the module's output seen as (rows, d)"""
    x: Tensor
    """(n, n_inputs) what its down projection received, times the routing weight"""
    rest: Tensor | None
    """(n, d) what it wrote beside that projection: a bias, times the routing weight; None where nothing"""


def stack_of(module: nn.Module) -> Stack | None:
    """The stacked down projections that a module holds itself; None where it is no fused experts module."""
    down = module._parameters.get("down_proj")
    if down is None or down.dim() != 3:
        return None
    transposed = bool(getattr(module, "is_transposed", False))
    return Stack("down_proj", down.shape[0], down.shape[1 if transposed else 2], transposed)


def routed(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], wanted: Tensor) -> Iterator[Routed]:
    """What every expert did for the `wanted` tokens, (B * T,) bool, during one call of its module.

    The experts that saw none of them are left out.
    """
    values = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
    hidden, index, weights = list(values.values())[1:4]
    return _chosen(module, hidden.reshape(-1, hidden.shape[-1]), index, weights, wanted)


def _chosen(module: nn.Module, hidden: Tensor, index: Tensor, weights: Tensor, wanted: Tensor) -> Iterator[Routed]:
    """The usual call: `hidden` (tokens, d), then every token's chosen experts and their weights, each (tokens, k)."""
    n_experts = len(module.down_proj)
    for expert in index[wanted].unique().tolist():
        if expert >= n_experts:
            continue
        tokens, place = torch.where((index == expert) & wanted.unsqueeze(1))
        share = weights[tokens, place].unsqueeze(1)
        x = _activated(module, expert, hidden[tokens]) * share
        yield Routed(expert, tokens, tokens, x, module.down_proj_bias[expert] * share if module.has_bias else None)


def _activated(module: nn.Module, expert: int, hidden: Tensor) -> Tensor:
    """The up half of one expert, (n, n_inputs)."""
    name = "gate_up_proj" if module.has_gate else "up_proj"
    weight = getattr(module, name)[expert]
    y = hidden @ weight if module.is_transposed else linear(hidden, weight)
    if module.has_bias:
        y = y + getattr(module, f"{name}_bias")[expert]
    return module._apply_gate(y) if module.has_gate else module.act_fn(y)
