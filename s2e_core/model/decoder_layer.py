"""What one decoder layer contains: attention heads, MLPs, experts and other modules that mix tokens.

It reads names, classes and sizes of the layer's modules. Knows no whole model, no forward pass and no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from s2e_core.spec import Kind

from .experts import Stack, stack_of, unsupported_reason
from .placement import can_be_read, is_absent, is_quantized

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

ATTENTION_OUT = re.compile(
    r"(^|\.)o_proj(\.linear)?$|att\w*\.(\w+\.)*(out_proj|out_lin|c_proj|dense|Wo|attention_out)$"
)
MLP_DOWN = re.compile(
    r"(^|[._])(down_proj|c_proj|fc2|fc_out|w2|Wo|w_out|lin2|dense_4h_to_h|output_linear|output\.dense"
    r"|ffn\.2|feed_forward\.output)$"
)
CROSS_ATTENTION = re.compile(r"cross|encoder_att", re.IGNORECASE)
INSIDE_NORM = re.compile(r"(?<!norm_attn_)norm\.", re.IGNORECASE)  # DBRX has its attention inside norm_attn_norm
IN_ATTENTION = re.compile(r"att\w*\.")
EXPERTS = re.compile(r"expert|moe", re.IGNORECASE)
OTHER_MIXER = re.compile(r"mamba|(^|[._])ssm|linear_att|lstm|rwkv|delta_net|(^|\.)conv(\.|$)", re.IGNORECASE)
OTHER_MIXER_CLASS = re.compile(r"(Mixer|RecurrentBlock|ShortConv|DeltaNet)$")
FLOAT_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
EXPECTED_MODULES = {
    "heads": "attention output projection (self_attn.o_proj, attn.c_proj, attention.dense or the like)",
    "neurons": "MLP down projection (mlp.down_proj, fc2, mlp.c_proj or the like)",
}

# The decoder's own number comes first: some families store the encoder's under the general name.
HEAD_COUNT_KEYS = ("num_decoder_attention_heads", "decoder_attention_heads", "num_attention_heads", "num_heads")
HEAD_SIZE_KEYS = ("v_head_dim", "head_dim", "attention_head_size")
WIDTH_KEYS = ("hidden_size", "d_model")


class Unfit(Exception):
    """Why a model cannot be edited, as a clause; `architecture.report_unfit` adds the model's name."""


def expert_stacks(layer: nn.Module) -> dict[str, tuple[Kind, Stack]]:
    """Stacked output projections of a layer's fused experts, by the path of their module."""
    stacks = {}
    for name, module in layer.named_modules():
        stack = stack_of(module)
        path = stack and f"{name}.{stack.parameter}".removesuffix(".weight")
        if stack and path and MLP_DOWN.search(path):
            kind: Kind = "heads" if IN_ATTENTION.search(path) else "neurons"
            stacks[name] = (kind, stack)
    return stacks


def refuse_other_experts(index: int, layer: nn.Module) -> None:
    """Raise Unfit if a layer has experts whose neurons cannot be distinguished."""
    stacks = expert_stacks(layer)
    for name in stacks:
        if reason := unsupported_reason(layer.get_submodule(name)):
            raise Unfit(f"the experts of layer {index} ({name}) {reason}")
    for name, parameter in layer.named_parameters():
        is_stack = parameter.dim() > 2 and MLP_DOWN.search(name.removesuffix(".weight"))
        if (is_stack or (not stacks and EXPERTS.search(name))) and not is_inside(name, stacks):
            label = f"{name}, of shape {tuple(parameter.shape)}"
            raise Unfit(f"the MLP of layer {index} is a mixture of experts of an unknown form ({label})")


def projections(index: int, layer: nn.Module, kind: Kind, d_model: int | None) -> list[tuple[str, nn.Module]]:
    """(path, module) of a layer's projections of one kind: one module, or several whose names differ by numbers.

    The list may also have any length if experts provide the kind. It is empty if another mixer takes the place of the
    heads, or if the layer has a single branch that is of another kind (a mixer, attention or an MLP).
    Raises Unfit if no module, or modules of several names, have the name and the `d_model` outputs of this projection.
    """
    stack_kinds = {stack_kind for stack_kind, _ in expert_stacks(layer).values()}
    mixers = other_mixers(layer)
    kinds = {name: projection_kind(name) for name, _ in layer.named_modules() if not is_inside(name, mixers)}
    candidates = {name: layer.get_submodule(name) for name in kinds if kinds[name] == kind}
    fitting = [(name, module) for name, module in candidates.items() if out_features(module) == d_model]
    distinct_names = {re.sub(r"\d+", "", name) for name, _ in fitting}
    if len(distinct_names) == 1 or kind in stack_kinds:
        return fitting
    branches = [name for name, _ in layer.named_children() if not INSIDE_NORM.search(f"{name}.")]
    is_other_branch = len(branches) == 1 and (mixers or stack_kinds or any(kinds.values()))
    if not candidates and (mixers and kind == "heads" or is_other_branch):
        return []
    leaves = {name: module for name, module in layer.named_modules() if not list(module.children())}
    actual = ", ".join(f"{name} ({type(module).__name__})" for name, module in (candidates or leaves).items())
    count = "more than one" if fitting else "no"
    missing = f"{count} {EXPECTED_MODULES[kind]} that is a linear layer with {d_model} outputs"
    raise Unfit(f"layer {index} ({type(layer).__name__}) has {missing}; it has {actual}")


def other_mixers(layer: nn.Module) -> dict[str, nn.Module]:
    """Outermost modules of a layer that mix tokens without attention heads, by path."""
    mixers: dict[str, nn.Module] = {}
    for name, module in layer.named_modules():
        is_mixer = OTHER_MIXER.search(name) or (name and OTHER_MIXER_CLASS.search(type(module).__name__))
        if is_mixer and not is_inside(name, mixers):
            mixers[name] = module
    return mixers


def component_kinds(layer: nn.Module, mixers: Iterable[str]) -> set[Kind]:
    """Kinds of components for which the layer has experts, or a module outside the mixers with a projection's name."""
    plain = {projection_kind(name) for name, _ in layer.named_modules() if not is_inside(name, mixers)}
    return {kind for kind in plain if kind} | {kind for kind, _ in expert_stacks(layer).values()}


def is_inside(name: str, modules: Iterable[str]) -> bool:
    """Whether a path is one of the modules or inside one of them."""
    return any(name == outer or name.startswith(f"{outer}.") for outer in modules)


def is_for_images(layer: nn.Module) -> bool:
    """Whether the layer has cross-attention only; text does not run through it."""
    attention = [name for name, _ in layer.named_modules() if ATTENTION_OUT.search(name)]
    return bool(attention) and all(CROSS_ATTENTION.search(name) for name in attention)


def describe_layer_gaps(layer: nn.Module) -> Iterator[str]:
    """Sentences about what cannot be edited in a layer, with {} for the numbers of all such layers."""
    if is_for_images(layer):
        yield "Nothing to edit in {}: it only attends to images and does not run on text."
        return
    mixers = other_mixers(layer)
    kinds = component_kinds(layer, mixers)
    for name, module in mixers.items():
        mixer = f"{name} ({type(module).__name__}), which is not edited"
        if "heads" in kinds:
            yield f"Besides the heads of {{}}, tokens are also mixed by {mixer}."
        else:
            yield f"No attention heads in {{}}: tokens are mixed by {mixer}."
    if not mixers and "heads" not in kinds:
        yield "No attention in {}, only an MLP."
    if "neurons" not in kinds:
        yield "No MLP in {}."


def projection_kind(name: str) -> Kind | None:
    """Kind of the components that write through a module, by its path; None if it is no such projection."""
    if CROSS_ATTENTION.search(name) or INSIDE_NORM.search(name):
        return None
    if ATTENTION_OUT.search(name):
        return "heads"
    return "neurons" if MLP_DOWN.search(name) else None


def out_features(module: nn.Module) -> int:
    """Number of outputs of a linear module, else 0."""
    if isinstance(module, Conv1D):
        return module.nf
    return module.out_features if isinstance(module, nn.Linear) else 0


def input_layout(name: str, module: nn.Module) -> tuple[int, bool]:
    """(number of inputs, whether the weight is stored as (in, out)).

    Raises Unfit unless the weight is a matrix of floats, or quantised by a library that can dequantise it.
    """
    if is_quantized(module.weight) and can_be_read(module.weight) and isinstance(module, nn.Linear):
        return module.in_features, False
    if is_absent(module, "weight"):
        raise Unfit(f"the weight of {name} is neither in memory nor offloaded")
    refuse_other_weights(name, module.weight, dims=(2,))
    transposed = isinstance(module, Conv1D)
    return module.weight.shape[0 if transposed else 1], transposed


def refuse_other_weights(name: str, weight: Tensor, *, dims: tuple[int, ...]) -> None:
    """Raise Unfit unless a weight is a plain float parameter with one of these numbers of dimensions.

    Only the exact type reveals a quantised weight: some libraries report a float dtype and a matrix's shape for it.
    """
    if type(weight) is not nn.Parameter or weight.dtype not in FLOAT_DTYPES or weight.dim() not in dims:
        actual = f"{type(weight).__name__} of {weight.dtype} and shape {tuple(weight.shape)}"
        raise Unfit(f"the weight of {name} is not a plain float matrix but a {actual}; load the model unquantised")


def stack_component_width(index: int, layer: nn.Module, name: str, kind: Kind, stack: Stack) -> int:
    """Inputs per component of fused experts: 1 for a neuron, the attention module's head size for a head.

    Raises Unfit if the inputs of an expert are not whole heads.
    """
    sizes = [1] if kind == "neurons" else [first_positive_int(p, HEAD_SIZE_KEYS) for p in _parents(layer, name)]
    width = next(filter(None, sizes), None)
    if width is None or stack.n_inputs % width:
        raise Unfit(f"{name} of layer {index} has {stack.n_inputs} inputs, which are not heads of size {width}")
    return width


def head_count(config: PreTrainedConfig, index: int, layer: nn.Module, name: str, n_inputs: int) -> int:
    """Number of query heads at a projection's input, from the attention module's head size and the head count.

    Raises Unfit if the two disagree: no forward pass would reveal a wrong split.
    """
    parents = _parents(layer, name)
    size = next((size for parent in parents if (size := first_positive_int(parent, HEAD_SIZE_KEYS))), None)
    owners = (*parents, config)
    stated = next((count for owner in owners if (count := first_positive_int(owner, HEAD_COUNT_KEYS))), None)
    count = stated or n_inputs // (size or n_inputs + 1)
    if count == 0 or count * (size or n_inputs // count) != n_inputs:
        heads = f"{stated or 'an unknown number of'} heads of size {size or 'unknown'}"
        raise Unfit(f"{name} of layer {index} has {n_inputs} inputs, which are not {heads}")
    return count


def _parents(layer: nn.Module, name: str) -> list[nn.Module]:
    """Modules of a layer that contain a module, from the outside in."""
    return [layer.get_submodule(name[:i]) for i, letter in enumerate(name) if letter == "."]


def first_positive_int(owner: object, keys: tuple[str, ...]) -> int | None:
    """The first of the attributes that is a positive integer; None without one."""
    for key in keys:
        try:
            value = getattr(owner, key, None)
        except RuntimeError:  # raised by a configuration for an attribute that differs between layers
            continue
        if isinstance(value, int) and value > 0:
            return value
    return None
