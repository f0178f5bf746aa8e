"""Fused experts: MLPs whose matrices are stacked in one parameter, and of which every token runs through a few.

A hook on such a module sees the tokens before they are sent to experts, and the sums of what those wrote. This file
knows how transformers calls these modules, and recomputes from a call what every expert's output projection received.
Knows no whole model, no edit and no average.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.hooks import RemovableHandle

from s2e_core.spec import Site

from .placement import brought_in


@dataclass(frozen=True, eq=False)
class Stack:
    """The output projections of all experts of a module, in one parameter."""

    parameter: str
    """Its path inside the module."""
    experts: int
    n_inputs: int
    """Of one expert."""
    transposed: bool
    """Every matrix is stored (n_inputs, d)."""
    writes_more: bool
    """Than its inputs give, and not the same for every token: biases, or the token itself, times the routing weight."""


@dataclass(frozen=True, eq=False)
class Routed:
    """One expert's part in one call of its module."""

    expert: int
    tokens: Tensor
    """(n,) the tokens that it was given, as positions among all B * T"""
    rows: Tensor
    """(n,) where it writes for them: rows of the module's output, seen as (rows, d)"""
    inputs: Tensor
    """(n, n_inputs) what its projection received, times the routing weight where the module itself applies that"""
    later: Tensor | None = None
    """(n, 1) the routing weight that the output is multiplied by after the module"""
    more: Tensor | None = None
    """(n, d) what it wrote beside its projection of the inputs"""

    @property
    def weighed(self) -> Tensor:
        """(n, n_inputs), fp32: the inputs times the routing weight, whoever applies that."""
        return self.inputs.float() if self.later is None else self.inputs.float() * self.later.float()


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a fused experts module."""

    n_tokens: int
    """B * T"""
    receivers: Tensor
    """(m,) What is added to the first m rows of the output reaches these tokens, every token once in all."""
    parts: Callable[[Tensor], Iterator[Routed]]
    """The experts that got some of the wanted tokens, (B * T,) bool, and what they did with those."""


def stack_of(module: nn.Module) -> Stack | None:
    """The stacked output projections that a module holds; None where it is no fused experts module."""
    down = module._parameters.get("down_proj")
    if down is not None and down.dim() == 3:
        transposed = bool(getattr(module, "is_transposed", _call_reader(module) is _sorted_by_expert))
        more = bool(getattr(module, "has_bias", False)) or bool(getattr(module, "zero_expert_num", 0))
        return Stack("down_proj", len(down), down.shape[1 if transposed else 2], transposed, more)
    if _call_reader(module) is _chosen and hasattr(getattr(module, "mlp", None), "w2"):  # DBRX
        return Stack("mlp.w2", module.num_experts, module.ffn_hidden_size, True, False)
    if _call_reader(module) is _grouped:  # JetMoe
        return Stack("weight", module.num_experts, module.input_size, False, False)
    return None


def hindrance(module: nn.Module) -> str | None:
    """Why the neurons of a fused experts module cannot be told apart, as the rest of a sentence; None if they can."""
    if _call_reader(module) is None:
        return "are called in a way that is not known"
    if getattr(module, "has_post_expert_norm", False):
        return "end in a norm, so that what they write is no sum over neurons"
    if getattr(module, "_is_expert_parallel", False):
        return "are spread over several devices (expert parallel); load the model without that"
    return None


def watch(model: nn.Module, site: Site, react: Callable[[Call, Tensor], Tensor | None]) -> list[RemovableHandle]:
    """Hooks that hand each call of a site's fused experts and its output to `react`; what that returns replaces it."""
    module = model.get_submodule(site.name)
    read, stack, signature = _call_reader(module), stack_of(module), _signature(module)
    sent: list[Any] = []  # the last output of the router
    if read is None or stack is None:
        raise ValueError(f"{site.name} is called in an unknown way: find_sites refuses such experts")

    def keep(_: nn.Module, args: Any, output: Any) -> None:
        sent[:] = [output]

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> Tensor | None:
        values = list(signature.bind(module, *args, **kwargs).arguments.values())[1:]
        with brought_in(module):
            return react(read(module, stack, *values, *sent), output)

    handles = [module.register_forward_hook(hook, with_kwargs=True)]
    if read is _grouped:
        around = model.get_submodule(site.name.rpartition(".")[0])
        handles.append(around.router.register_forward_hook(keep))
    return handles


def _chosen(module: nn.Module, stack: Stack, hidden: Tensor, index: Tensor, weights: Tensor) -> Call:
    """The usual way: tokens (B * T, d), and of each the experts that were chosen and their weights, (B * T, k)."""
    hidden = hidden.flatten(0, -2)
    return Call(len(hidden), _all(hidden), partial(_parts_of_chosen, module, stack, hidden, index, weights))


def _parts_of_chosen(
    module: nn.Module, stack: Stack, hidden: Tensor, index: Tensor, weights: Tensor, wanted: Tensor
) -> Iterator[Routed]:
    for expert in index[wanted].unique().tolist():
        if expert >= stack.experts and not stack.writes_more:  # transformers leaves out what is sent to no expert
            continue
        tokens, place = torch.where((index == expert) & wanted.unsqueeze(1))
        share, given = weights[tokens, place].unsqueeze(1), hidden[tokens]
        if expert >= stack.experts:  # LongCat's further experts hand their token on as it is
            nothing = given.new_zeros(len(tokens), stack.n_inputs)
            yield Routed(0, tokens, tokens, nothing, more=given * share)
        else:
            more = module.down_proj_bias[expert] * share if getattr(module, "has_bias", False) else None
            yield Routed(expert, tokens, tokens, _activated(module, stack, expert, given) * share, more=more)


def _sorted_by_expert(module: nn.Module, stack: Stack, hidden: Tensor) -> Call:
    """Llama 4's way: all tokens once for every expert, (E * B * T, d), times the routing weight, which is mostly 0."""
    by_expert = hidden.unflatten(0, (stack.experts, -1))  # (E, B * T, d)

    def parts(wanted: Tensor) -> Iterator[Routed]:
        for expert, given in enumerate(by_expert):
            (tokens,) = torch.where(given.any(dim=1) & wanted)
            yield Routed(expert, tokens, expert * len(given) + tokens, _activated(module, stack, expert, given[tokens]))

    return Call(by_expert.shape[1], _all(by_expert[0]), parts)


def _shared(module: nn.Module, stack: Stack, hidden: Tensor, gammas: Tensor) -> Call:
    """Inkling's shared experts: every token goes to all of them, each with its weight, (B * T, E)."""
    hidden, gammas = hidden.flatten(0, -2), gammas.flatten(0, -2)
    index = torch.arange(stack.experts, device=hidden.device).expand(len(hidden), -1)
    return Call(len(hidden), _all(hidden), partial(_parts_of_chosen, module, stack, hidden, index, gammas))


def _grouped(module: nn.Module, stack: Stack, inputs: Tensor, sizes: list[int], sent: tuple[Any, ...]) -> Call:
    """JetMoe's way: the experts' inputs one below the other; their tokens and weights are known to the router alone."""
    _, tokens, weights, _, logits = sent

    def parts(wanted: Tensor) -> Iterator[Routed]:
        for expert, rows in enumerate(torch.arange(len(inputs), device=inputs.device).split(sizes)):
            rows = rows[wanted[tokens[rows]]]
            yield Routed(expert, tokens[rows], rows, inputs[rows], later=weights[rows].unsqueeze(1))

    return Call(len(logits), tokens, parts)


def _activated(module: nn.Module, stack: Stack, expert: int, hidden: Tensor) -> Tensor:
    """What one expert's output projection receives for tokens (n, d): (n, n_inputs)."""
    if hasattr(module, "mlp"):  # DBRX
        gate, up = (weight.unflatten(0, (stack.experts, -1))[expert] for weight in (module.mlp.w1, module.mlp.v1))
        return module.mlp.activation_fn(linear(hidden, gate)) * linear(hidden, up)
    if hasattr(module, "gate_proj"):
        return module.act_fn(linear(hidden, module.gate_proj[expert])) * linear(hidden, module.up_proj[expert])
    name = "gate_up_proj" if hasattr(module, "gate_up_proj") else "up_proj"
    weight = getattr(module, name)[expert]
    made = linear(hidden.to(weight.dtype), weight.T if stack.transposed else weight)
    if getattr(module, "has_bias", False):
        made = made + getattr(module, f"{name}_bias")[expert]
    if name == "up_proj":
        return module.act_fn(made)
    if hasattr(module, "_apply_gate"):
        return module._apply_gate(made)
    gate, up = made.chunk(2, dim=-1)
    return module.act_fn(gate) * up


def _all(hidden: Tensor) -> Tensor:
    return torch.arange(len(hidden), device=hidden.device)


CALLS: Mapping[tuple[str, ...], Callable[..., Call]] = MappingProxyType(
    {
        ("hidden_states", "top_k_index", "top_k_weights"): _chosen,
        ("hidden_states", "router_indices", "routing_weights"): _chosen,
        ("hidden_states",): _sorted_by_expert,
        ("hidden_states", "gammas"): _shared,
        ("inputs", "expert_size"): _grouped,
    }
)
"""How experts are called, by the names of their forward method's arguments."""


def _signature(module: nn.Module) -> inspect.Signature:
    """Of `forward` as its class defines it, `self` included; one that accelerate put before it hides the arguments."""
    return inspect.signature(type(module).forward)


def _call_reader(module: nn.Module) -> Callable[..., Call] | None:
    return CALLS.get(tuple(_signature(module).parameters)[1:])
