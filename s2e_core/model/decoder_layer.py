"""What one decoder layer holds: its attention heads, its MLP, and whatever else mixes tokens there.

The rule reads names, classes and sizes of the layer's modules. Knows no whole model, no forward pass and no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from s2e_core.spec import Kind

from .experts import Stack, hindrance, stack_of
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
LOOKED_FOR = {
    "heads": "attention output projection (self_attn.o_proj, attn.c_proj, attention.dense or the like)",
    "neurons": "MLP down projection (mlp.down_proj, fc2, mlp.c_proj or the like)",
}

# The decoder's own number comes first: under the general name some families keep their encoder's.
HEAD_COUNT_KEYS = ("num_decoder_attention_heads", "decoder_attention_heads", "num_attention_heads", "num_heads")
HEAD_SIZE_KEYS = ("v_head_dim", "head_dim", "attention_head_size")
WIDTH_KEYS = ("hidden_size", "d_model")


class Unfit(Exception):
    """Why a model cannot be edited; whoever knows the model puts its name in front."""


def stacks_in(layer: nn.Module) -> dict[str, tuple[Kind, Stack]]:
    """The stacked output projections of a layer's fused experts, by the path of their module."""
    found = {}
    for name, module in layer.named_modules():
        stack = stack_of(module)
        path = stack and f"{name}.{stack.parameter}".removesuffix(".weight")
        if stack and path and MLP_DOWN.search(path):
            kind: Kind = "heads" if IN_ATTENTION.search(path) else "neurons"
            found[name] = (kind, stack)
    return found


def refuse_other_experts(index: int, layer: nn.Module) -> None:
    """Raise Unfit where a layer has experts whose neurons cannot be told apart."""
    found = stacks_in(layer)
    for name in found:
        if reason := hindrance(layer.get_submodule(name)):
            raise Unfit(f"the experts of layer {index} ({name}) {reason}")
    for name, parameter in layer.named_parameters():
        stacked = parameter.dim() > 2 and MLP_DOWN.search(name.removesuffix(".weight"))
        if (stacked or (not found and EXPERTS.search(name))) and not inside(name, found):
            what = f"{name}, of shape {tuple(parameter.shape)}"
            raise Unfit(f"the MLP of layer {index} is a mixture of experts of an unknown form ({what})")


def projections(index: int, layer: nn.Module, kind: Kind, d_model: int | None) -> list[tuple[str, nn.Module]]:
    """The modules of a layer that are named and sized like the projection of this kind: one, or several of one name.

    Beside experts, which need no other MLP, there may be any number. None also where the layer mixes tokens by other
    means than heads, or is but one branch: a mixer, attention or an MLP.
    """
    stacked = {of_kind for of_kind, _ in stacks_in(layer).values()}
    mixers = mixers_of(layer)
    found = {name: kind_of(name) for name, _ in layer.named_modules() if not inside(name, mixers)}
    named = {name: layer.get_submodule(name) for name in found if found[name] == kind}
    fitting = [(name, module) for name, module in named.items() if out_features(module) == d_model]
    numbered = {re.sub(r"\d+", "", name) for name, _ in fitting}
    if len(numbered) == 1 or kind in stacked:
        return fitting
    branches = [name for name, _ in layer.named_children() if not INSIDE_NORM.search(f"{name}.")]
    if not named and (mixers and kind == "heads" or len(branches) == 1 and (mixers or stacked or any(found.values()))):
        return []
    leaves = {name: module for name, module in layer.named_modules() if not list(module.children())}
    listed = ", ".join(f"{name} ({type(module).__name__})" for name, module in (named or leaves).items())
    missing = f"{'more than one' if fitting else 'no'} {LOOKED_FOR[kind]} that is a linear layer with {d_model} outputs"
    raise Unfit(f"layer {index} ({type(layer).__name__}) has {missing}; it has {listed}")


def mixers_of(layer: nn.Module) -> dict[str, nn.Module]:
    """The outermost modules of a layer that mix tokens by other means than attention heads."""
    found: dict[str, nn.Module] = {}
    for name, module in layer.named_modules():
        other = OTHER_MIXER.search(name) or (name and OTHER_MIXER_CLASS.search(type(module).__name__))
        if other and not inside(name, found):
            found[name] = module
    return found


def kinds_in(layer: nn.Module, mixers: Iterable[str]) -> set[Kind]:
    """The kinds of components of which something outside the mixers is named like a projection."""
    plain = {kind_of(name) for name, _ in layer.named_modules() if not inside(name, mixers)}
    return {kind for kind in plain if kind} | {kind for kind, _ in stacks_in(layer).values()}


def inside(name: str, modules: Iterable[str]) -> bool:
    return any(name == outer or name.startswith(f"{outer}.") for outer in modules)


def is_for_images(layer: nn.Module) -> bool:
    """Whether the layer attends to something else alone; a prompt of text skips it."""
    attending = [name for name, _ in layer.named_modules() if ATTENTION_OUT.search(name)]
    return bool(attending) and all(CROSS_ATTENTION.search(name) for name in attending)


def what_it_lacks(layer: nn.Module) -> Iterator[str]:
    """Sentences with a place for the numbers of all layers of this kind."""
    if is_for_images(layer):
        yield "Nothing to edit in {}: it attends to images alone and does not run on text."
        return
    mixers = mixers_of(layer)
    own = kinds_in(layer, mixers)
    for name, module in mixers.items():
        mixer = f"{name} ({type(module).__name__}), which is not edited"
        if "heads" in own:
            yield f"Beside the heads of {{}}, tokens are also mixed by {mixer}."
        else:
            yield f"No attention heads in {{}}: tokens are mixed by {mixer}."
    if not mixers and "heads" not in own:
        yield "No attention in {}, only an MLP."
    if "neurons" not in own:
        yield "No MLP in {}."


def kind_of(name: str) -> Kind | None:
    if CROSS_ATTENTION.search(name) or INSIDE_NORM.search(name):
        return None
    if ATTENTION_OUT.search(name):
        return "heads"
    return "neurons" if MLP_DOWN.search(name) else None


def out_features(module: nn.Module) -> int:
    """0 for a module that is not linear."""
    if isinstance(module, Conv1D):
        return module.nf
    return module.out_features if isinstance(module, nn.Linear) else 0


def plain_inputs(name: str, module: nn.Module) -> tuple[int, bool]:
    """Number of inputs and whether the weight is stored (in, out); refuses what is no matrix of numbers.

    A quantised weight counts where its library can turn it back.
    """
    if is_quantized(module.weight) and can_be_read(module.weight) and isinstance(module, nn.Linear):
        return module.in_features, False
    if is_absent(module, "weight"):
        raise Unfit(f"the weight of {name} is not in memory, and no file of it is known")
    refuse_other_weights(name, module.weight, dims=(2,))
    transposed = isinstance(module, Conv1D)
    return module.weight.shape[0 if transposed else 1], transposed


def refuse_other_weights(name: str, weight: Tensor, *, dims: tuple[int, ...]) -> None:
    """Raise Unfit for a weight that is no plain matrix, or stack of matrices, in memory.

    Quantised weights report a float dtype and a matrix shape in some libraries: only the exact type tells.
    """
    if type(weight) is not nn.Parameter or weight.dtype not in FLOAT_DTYPES or weight.dim() not in dims:
        what = f"{type(weight).__name__} of {weight.dtype} and shape {tuple(weight.shape)}"
        raise Unfit(f"the weight of {name} is no plain float matrix but a {what}; load the model unquantised")


def stacked_width(index: int, layer: nn.Module, name: str, kind: Kind, stack: Stack) -> int:
    """Inputs per component of fused experts: of a head, by the head size that the attention module keeps."""
    sizes = [1] if kind == "neurons" else [number(parent, HEAD_SIZE_KEYS) for parent in _around(layer, name)]
    width = next(filter(None, sizes), None)
    if width is None or stack.n_inputs % width:
        raise Unfit(f"{name} of layer {index} has {stack.n_inputs} inputs, which are not heads of size {width}")
    return width


def head_count(config: PreTrainedConfig, index: int, layer: nn.Module, name: str, n_inputs: int) -> int:
    """Query heads at a projection's input: by the head size the attention module keeps and by the head count.

    Both must agree where both are known, since nothing in a forward pass would show a wrong split.
    """
    parents = _around(layer, name)
    size = next((size for parent in parents if (size := number(parent, HEAD_SIZE_KEYS))), None)
    count = next((count for owner in (*parents, config) if (count := number(owner, HEAD_COUNT_KEYS))), None)
    found = count or n_inputs // (size or n_inputs + 1)
    if found == 0 or found * (size or n_inputs // found) != n_inputs:
        heads = f"{count or 'an unknown number of'} heads of size {size or 'unknown'}"
        raise Unfit(f"{name} of layer {index} has {n_inputs} inputs, which are not {heads}")
    return found


def _around(layer: nn.Module, name: str) -> list[nn.Module]:
    """The modules of a layer that a module is inside of, from the outside."""
    return [layer.get_submodule(name[:i]) for i, letter in enumerate(name) if letter == "."]


def number(owner: object, keys: tuple[str, ...]) -> int | None:
    """The first of the attributes that is a positive whole number.

    Configurations whose layers differ raise RuntimeError for an attribute that is not the same in all layers.
    """
    for key in keys:
        try:
            value = getattr(owner, key, None)
        except RuntimeError:
            continue
        if isinstance(value, int) and value > 0:
            return value
    return None
