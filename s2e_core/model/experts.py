"""Fused experts: the inputs of each expert's output projection, recomputed from calls of the module.

Fused experts stack their matrices in one parameter, and each token runs through a few of them. A hook on the module
sees only the tokens before routing and the summed outputs. This file knows how transformers calls these modules; it
knows no whole model, no edit and no average.
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

from .placement import weights_in_memory


@dataclass(frozen=True, eq=False)
class Stack:
    """The output projections of all experts of a module, in one parameter."""

    parameter: str
    """Path of the parameter inside the module."""
    experts: int
    """Number of experts."""
    n_inputs: int
    """Number of inputs of one expert's output projection."""
    transposed: bool
    """True if every matrix is stored as (n_inputs, d)."""
    has_extra_output: bool
    """True if the module adds something that is not W x: biases, or the token itself, times the routing weight."""


@dataclass(frozen=True, eq=False)
class ExpertPart:
    """One expert's part in one call of its module."""

    expert: int
    tokens: Tensor
    """Indices of the expert's tokens among all B * T: (n,)."""
    rows: Tensor
    """Rows of the module's output, as (rows, d), that the expert writes to for these tokens: (n,)."""
    inputs: Tensor
    """Inputs of the expert's projection, times the routing weight if the module itself applies it: (n, n_inputs)."""
    late_weight: Tensor | None = None
    """Routing weight that multiplies the output after the module: (n, 1); None if the module itself applies it."""
    more: Tensor | None = None
    """Extra output, in addition to the projection of the inputs: (n, d)."""

    @property
    def weighted_inputs(self) -> Tensor:
        """Inputs times routing weight, fp32: (n, n_inputs)."""
        return self.inputs.float() if self.late_weight is None else self.inputs.float() * self.late_weight.float()


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a fused experts module."""

    n_tokens: int
    """Number of tokens, B * T."""
    receivers: Tensor
    """Tokens that anything added to the first m rows of the output reaches, each token exactly once: (m,)."""
    parts: Callable[[Tensor], Iterator[ExpertPart]]
    """Function from a token mask, (B * T,) bool, to the parts of all experts that received some of these tokens."""


def stack_of(module: nn.Module) -> Stack | None:
    """The stacked output projections of a module; None if it is not a module of fused experts."""
    down = module._parameters.get("down_proj")
    if down is not None and down.dim() == 3:
        transposed = bool(getattr(module, "is_transposed", _call_reader(module) is _read_by_expert))
        extra = bool(getattr(module, "has_bias", False)) or bool(getattr(module, "zero_expert_num", 0))
        return Stack("down_proj", len(down), down.shape[1 if transposed else 2], transposed, extra)
    if _call_reader(module) is _read_top_k and hasattr(getattr(module, "mlp", None), "w2"):  # DBRX
        return Stack("mlp.w2", module.num_experts, module.ffn_hidden_size, True, False)
    if _call_reader(module) is _read_grouped:  # JetMoe
        return Stack("weight", module.num_experts, module.input_size, False, False)
    return None


def unsupported_reason(module: nn.Module) -> str | None:
    """Why the neurons of a fused experts module cannot be distinguished, as a predicate; None if they can."""
    if _call_reader(module) is None:
        return "are called in an unknown way"
    if getattr(module, "has_post_expert_norm", False):
        return "end in a norm, so their output is not a sum over neurons"
    if getattr(module, "_is_expert_parallel", False):
        return "are spread over several devices (expert parallel); load the model without that"
    return None


def watch(model: nn.Module, site: Site, react: Callable[[Call, Tensor], Tensor | None]) -> list[RemovableHandle]:
    """Add hooks that pass each call of a site's fused experts and its output to `react`.

    If `react` returns a tensor, it replaces the output. Raises ValueError for experts that `find_sites` refuses.
    """
    module = model.get_submodule(site.name)
    read, stack, signature = _call_reader(module), stack_of(module), _signature(module)
    routing: list[Any] = []  # the last output of the router
    if read is None or stack is None:
        raise ValueError(f"{site.name} is called in an unknown way: find_sites refuses such experts")

    def keep(_: nn.Module, args: Any, output: Any) -> None:
        routing[:] = [output]

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> Tensor | None:
        values = list(signature.bind(module, *args, **kwargs).arguments.values())[1:]
        with weights_in_memory(module):
            return react(read(module, stack, *values, *routing), output)

    handles = [module.register_forward_hook(hook, with_kwargs=True)]
    if read is _read_grouped:
        parent = model.get_submodule(site.name.rpartition(".")[0])
        handles.append(parent.router.register_forward_hook(keep))
    return handles


def _read_top_k(module: nn.Module, stack: Stack, hidden: Tensor, index: Tensor, weights: Tensor) -> Call:
    """The usual call: tokens (B * T, d), with the indices and the weights of each token's experts, (B * T, k)."""
    hidden = hidden.flatten(0, -2)
    return Call(len(hidden), _all_tokens(hidden), partial(_top_k_parts, module, stack, hidden, index, weights))


def _top_k_parts(
    module: nn.Module, stack: Stack, hidden: Tensor, index: Tensor, weights: Tensor, mask: Tensor
) -> Iterator[ExpertPart]:
    for expert in index[mask].unique().tolist():
        if expert >= stack.experts and not stack.has_extra_output:  # transformers skips tokens that no expert receives
            continue
        tokens, slots = torch.where((index == expert) & mask.unsqueeze(1))
        share, states = weights[tokens, slots].unsqueeze(1), hidden[tokens]
        if expert >= stack.experts:  # LongCat's additional experts return their token unchanged
            no_inputs = states.new_zeros(len(tokens), stack.n_inputs)
            yield ExpertPart(0, tokens, tokens, no_inputs, more=states * share)
        else:
            bias = module.down_proj_bias[expert] * share if getattr(module, "has_bias", False) else None
            inputs = _projection_inputs(module, stack, expert, states) * share
            yield ExpertPart(expert, tokens, tokens, inputs, more=bias)


def _read_by_expert(module: nn.Module, stack: Stack, hidden: Tensor) -> Call:
    """Llama 4's call: all tokens once per expert, (E * B * T, d), times the routing weight, which is mostly 0."""
    by_expert = hidden.unflatten(0, (stack.experts, -1))  # (E, B * T, d)

    def parts(mask: Tensor) -> Iterator[ExpertPart]:
        for expert, states in enumerate(by_expert):
            (tokens,) = torch.where(states.any(dim=1) & mask)
            inputs = _projection_inputs(module, stack, expert, states[tokens])
            yield ExpertPart(expert, tokens, expert * len(states) + tokens, inputs)

    return Call(by_expert.shape[1], _all_tokens(by_expert[0]), parts)


def _read_shared(module: nn.Module, stack: Stack, hidden: Tensor, gammas: Tensor) -> Call:
    """Inkling's shared experts: every token runs through all of them, with weights (B * T, E)."""
    hidden, gammas = hidden.flatten(0, -2), gammas.flatten(0, -2)
    index = torch.arange(stack.experts, device=hidden.device).expand(len(hidden), -1)
    return Call(len(hidden), _all_tokens(hidden), partial(_top_k_parts, module, stack, hidden, index, gammas))


def _read_grouped(module: nn.Module, stack: Stack, inputs: Tensor, sizes: list[int], routing: tuple[Any, ...]) -> Call:
    """JetMoe's call: the inputs of all experts below one another; only the router knows their tokens and weights."""
    _, tokens, weights, _, logits = routing

    def parts(mask: Tensor) -> Iterator[ExpertPart]:
        for expert, rows in enumerate(torch.arange(len(inputs), device=inputs.device).split(sizes)):
            rows = rows[mask[tokens[rows]]]
            yield ExpertPart(expert, tokens[rows], rows, inputs[rows], late_weight=weights[rows].unsqueeze(1))

    return Call(len(logits), tokens, parts)


def _projection_inputs(module: nn.Module, stack: Stack, expert: int, hidden: Tensor) -> Tensor:
    """Inputs (n, n_inputs) of one expert's output projection for tokens (n, d)."""
    if hasattr(module, "mlp"):  # DBRX
        gate, up = (weight.unflatten(0, (stack.experts, -1))[expert] for weight in (module.mlp.w1, module.mlp.v1))
        return module.mlp.activation_fn(linear(hidden, gate)) * linear(hidden, up)
    if hasattr(module, "gate_proj"):
        return module.act_fn(linear(hidden, module.gate_proj[expert])) * linear(hidden, module.up_proj[expert])
    name = "gate_up_proj" if hasattr(module, "gate_up_proj") else "up_proj"
    weight = getattr(module, name)[expert]
    projected = linear(hidden.to(weight.dtype), weight.T if stack.transposed else weight)
    if getattr(module, "has_bias", False):
        projected = projected + getattr(module, f"{name}_bias")[expert]
    if name == "up_proj":
        return module.act_fn(projected)
    if hasattr(module, "_apply_gate"):
        return module._apply_gate(projected)
    gate, up = projected.chunk(2, dim=-1)
    return module.act_fn(gate) * up


def _all_tokens(hidden: Tensor) -> Tensor:
    return torch.arange(len(hidden), device=hidden.device)


CALLS: Mapping[tuple[str, ...], Callable[..., Call]] = MappingProxyType(
    {
        ("hidden_states", "top_k_index", "top_k_weights"): _read_top_k,
        ("hidden_states", "router_indices", "routing_weights"): _read_top_k,
        ("hidden_states",): _read_by_expert,
        ("hidden_states", "gammas"): _read_shared,
        ("inputs", "expert_size"): _read_grouped,
    }
)
"""Functions that read a call, by the names of the arguments of the experts' forward method."""


def _signature(module: nn.Module) -> inspect.Signature:
    """Signature of the class's own `forward`, `self` included: accelerate's wrapper of it hides the arguments."""
    return inspect.signature(type(module).forward)


def _call_reader(module: nn.Module) -> Callable[..., Call] | None:
    return CALLS.get(tuple(_signature(module).parameters)[1:])
