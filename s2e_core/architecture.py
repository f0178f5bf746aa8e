"""Finds the heads and neurons of a causal language model by one small rule, and checks the finding by a forward pass.

The rule reads module names and sizes: no table of models. It covers decoders in which every layer has one attention
output projection and one MLP down projection, each a plain matrix; everything else is refused with a sentence. What
names cannot promise, `verify_sites` measures. Knows no tokenizer and no file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from .errors import UnsupportedModelError
from .spec import KINDS, Kind, ModelSpec, Site

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

ATTENTION_OUT = re.compile(r"(^|\.)o_proj(\.linear)?$|att\w*\.(\w+\.)*(out_proj|c_proj|dense|Wo|attention_out)$")
MLP_DOWN = re.compile(
    r"(^|[._])(down_proj|c_proj|fc2|fc_out|w2|Wo|w_out|dense_4h_to_h|output_linear|output\.dense"
    r"|ffn\.2|feed_forward\.output)$"
)
CROSS_ATTENTION = re.compile(r"cross|encoder_att", re.IGNORECASE)
INSIDE_NORM = re.compile(r"norm\.", re.IGNORECASE)
EXPERTS = re.compile(r"expert|moe", re.IGNORECASE)
OTHER_MIXER = re.compile(r"mamba|(^|[._])ssm|linear_att|recurrent|lstm|rwkv|delta_net|(^|\.)conv(\.|$)", re.IGNORECASE)
NOT_TEXT = re.compile(r"vision|visual|image|audio|speech", re.IGNORECASE)
LOOKED_FOR = {
    "heads": "attention output projection (self_attn.o_proj, attn.c_proj, attention.dense or the like)",
    "neurons": "MLP down projection (mlp.down_proj, fc2, mlp.c_proj or the like)",
}

DEPTH_KEYS = ("num_decoder_layers", "decoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")
# The decoder's own number comes first: under the general name some families keep their encoder's.
HEAD_COUNT_KEYS = ("num_decoder_attention_heads", "decoder_attention_heads", "num_attention_heads", "num_heads")
HEAD_SIZE_KEYS = ("v_head_dim", "head_dim", "attention_head_size")
WIDTH_KEYS = ("hidden_size", "d_model")

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}
"""Largest error of the decomposition, relative to max(1, max |output|): half precision rounds every output."""
PROBE_TOKENS = 8
COLUMNS_AT_ONCE = 2048  # of a weight in fp32: a whole copy of it is never made
FORWARD_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)
"""What a model raises that needs more than token ids to run: that is its nature, so the person gets a sentence."""


def find_sites(model: PreTrainedModel) -> ModelSpec:
    """Every projection through which a head or a neuron writes to the residual stream, heads before neurons in a layer.

    Raises UnsupportedModelError, naming the layer, what was looked for and what was found, unless every layer has
    exactly one attention output projection (d, H * D) and one MLP down projection (d, F) with a plain float weight.
    """
    config = model.config.get_text_config()
    with _naming(model):
        path, layers = _decoder_layers(model, {depth for key in DEPTH_KEYS if (depth := _number(config, (key,)))})
        sites: list[Site] = []
        for index, layer in enumerate(layers):
            _refuse_experts_and_mixers(index, layer)
            for kind in KINDS:
                name, module = _the_projection(index, layer, kind, _number(config, WIDTH_KEYS))
                n_inputs, transposed = _plain_inputs(f"{path}.{index}.{name}", module)
                count = n_inputs if kind == "neurons" else _head_count(config, index, layer, name, n_inputs)
                sites.append(Site(index, kind, f"{path}.{index}.{name}", count, n_inputs // count, transposed))
        _refuse_shared_weights(model, sites)
    d_model = _out_features(model.get_submodule(sites[0].name))
    return ModelSpec(model.config.model_type, len(layers), d_model, tuple(sites), _out_of_reach(model, path, layers))


def verify_sites(model: PreTrainedModel, spec: ModelSpec) -> ModelSpec:
    """Run a few tokens through the model and check that its sites do what an edit assumes; fills `post_norm`.

    Each site must be called exactly once, and the sum over its components of W[:, block] @ x[block], plus the bias,
    must equal its output (method, "Components"). A site has `post_norm` when a norm receives its very output tensor.
    Raises UnsupportedModelError where that does not hold. The model is left without hooks and unchanged.
    """
    probes = [_Probe(site, model.get_submodule(site.name)) for site in spec.sites]
    vocabulary = _number(model.config.get_text_config(), ("vocab_size",)) or PROBE_TOKENS
    ids = torch.arange(3, 3 + PROBE_TOKENS, device=model.device)[None] % vocabulary  # (1, tokens)
    with ExitStack() as hooks, torch.inference_mode(), _naming(model):
        for probe in probes:
            hooks.callback(probe.module.register_forward_hook(probe.record).remove)
        for module in model.modules():
            if "norm" in type(module).__name__.lower():
                hooks.callback(module.register_forward_pre_hook(_norm_watcher(probes)).remove)
        try:
            model(input_ids=ids)
        except FORWARD_ERRORS as error:
            raise _Unfit(f"a forward pass over {PROBE_TOKENS} token ids fails ({error})") from error
        for probe in probes:
            probe.check()
    return replace(spec, sites=tuple(replace(probe.site, post_norm=probe.post_norm) for probe in probes))


class _Unfit(Exception):
    """Why a model cannot be edited; `_naming` puts the model in front."""


@contextmanager
def _naming(model: PreTrainedModel) -> Iterator[None]:
    try:
        yield
    except _Unfit as reason:
        raise UnsupportedModelError(
            f"This {model.config.model_type} model cannot be edited: {reason}. Supported are decoders in which every "
            "layer has attention heads and one plain MLP, such as Llama, Qwen, Mistral, Gemma, Phi, OPT or GPT-2."
        ) from reason


def _decoder_layers(model: PreTrainedModel, depths: set[int]) -> tuple[str, nn.ModuleList]:
    """The outermost list of as many modules as the configuration has layers; of several, the one with most weights."""
    outer = {name: layers for name, layers in _outer_lists(model).items() if not NOT_TEXT.search(name)}
    fitting = [name for name, layers in outer.items() if len(layers) in depths]
    if not fitting:
        found = " and ".join(f"{name} with {len(layers)}" for name, layers in outer.items()) or "no list of layers"
        wanted = " or ".join(map(str, sorted(depths))) or "an unstated number of"
        raise _Unfit(f"a list of {wanted} decoder layers was looked for, and {found} was found")
    path = max(fitting, key=lambda name: sum(p.numel() for p in outer[name].parameters()))
    kinds = {type(layer) for layer in outer[path]}
    twins = [n for n, layers in outer.items() if n != path and kinds & {type(layer) for layer in layers}]
    if twins:
        raise _Unfit(f"it runs several stacks of the same layers, {path} and {' and '.join(twins)}")
    return path, outer[path]


def _outer_lists(model: PreTrainedModel) -> dict[str, nn.ModuleList]:
    """The lists of modules that are not inside another list, by path."""
    lists = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)}
    return {name: m for name, m in lists.items() if not any(name.startswith(f"{other}.") for other in lists)}


def _refuse_experts_and_mixers(index: int, layer: nn.Module) -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()}
    stacks = [name for name, shape in shapes.items() if len(shape) > 2]
    stacks = [name for name in stacks if MLP_DOWN.search(name.removesuffix(".weight"))]
    if experts := stacks + [name for name in shapes if EXPERTS.search(name)]:
        found = f"{experts[0]}, of shape {shapes[experts[0]]}"
        raise _Unfit(f"the MLP of layer {index} is a mixture of experts ({found})")
    if mixers := [name for name in shapes if OTHER_MIXER.search(name)]:
        found = f"{mixers[0]}, of shape {shapes[mixers[0]]}"
        raise _Unfit(f"layer {index} mixes tokens by something other than attention heads ({found})")


def _the_projection(index: int, layer: nn.Module, kind: Kind, d_model: int | None) -> tuple[str, nn.Module]:
    """The one module of a layer that is named and sized like the projection of this kind."""
    named = {name: module for name, module in layer.named_modules() if _kind(name) == kind}
    fitting = [(name, module) for name, module in named.items() if _out_features(module) == d_model]
    if len(fitting) == 1:
        return fitting[0]
    leaves = {name: module for name, module in layer.named_modules() if not list(module.children())}
    found = ", ".join(f"{name} ({type(module).__name__})" for name, module in (named or leaves).items())
    missing = f"{'more than one' if fitting else 'no'} {LOOKED_FOR[kind]} that is a linear layer with {d_model} outputs"
    raise _Unfit(f"layer {index} ({type(layer).__name__}) has {missing}; it has {found}")


def _kind(name: str) -> Kind | None:
    if CROSS_ATTENTION.search(name) or INSIDE_NORM.search(name):
        return None
    if ATTENTION_OUT.search(name):
        return "heads"
    return "neurons" if MLP_DOWN.search(name) else None


def _out_features(module: nn.Module) -> int:
    """0 for a module that is not linear."""
    if isinstance(module, Conv1D):
        return module.nf
    return module.out_features if isinstance(module, nn.Linear) else 0


def _plain_inputs(name: str, module: nn.Module) -> tuple[int, bool]:
    """Number of inputs and whether the weight is stored (in, out); refuses what is no plain matrix in memory.

    Quantised weights report a float dtype and a matrix shape in some libraries: only the exact type tells.
    """
    weight = module.weight
    if type(weight) is not nn.Parameter or weight.dtype not in TOLERANCE or weight.dim() != 2:
        what = f"{type(weight).__name__} of {weight.dtype} and shape {tuple(weight.shape)}"
        raise _Unfit(f"the weight of {name} is no plain float matrix but a {what}; load the model unquantised")
    if weight.is_meta:
        raise _Unfit(f"the weight of {name} is not in memory (offloaded); load the whole model on one device")
    transposed = isinstance(module, Conv1D)
    return weight.shape[0 if transposed else 1], transposed


def _head_count(config: PreTrainedConfig, index: int, layer: nn.Module, name: str, n_inputs: int) -> int:
    """Query heads at a projection's input: by the head size the attention module keeps and by the head count.

    Both must agree where both are known, since nothing in a forward pass would show a wrong split.
    """
    parents = [layer.get_submodule(name[:i]) for i, letter in enumerate(name) if letter == "."]
    size = next((size for parent in parents if (size := _number(parent, HEAD_SIZE_KEYS))), None)
    count = next((count for owner in (*parents, config) if (count := _number(owner, HEAD_COUNT_KEYS))), None)
    found = count or n_inputs // (size or n_inputs + 1)
    if found == 0 or found * (size or n_inputs // found) != n_inputs:
        heads = f"{count or 'an unknown number of'} heads of size {size or 'unknown'}"
        raise _Unfit(f"{name} of layer {index} has {n_inputs} inputs, which are not {heads}")
    return found


def _refuse_shared_weights(model: PreTrainedModel, sites: list[Site]) -> None:
    """An edit of a matrix that is used at two places would change both."""
    wanted = {f"{site.name}.weight" for site in sites}
    owners: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        other = owners.setdefault(parameter.data_ptr(), name)
        if other != name and {name, other} & wanted:
            raise _Unfit(f"{other} and {name} are one and the same weight")


def _out_of_reach(model: PreTrainedModel, path: str, layers: nn.ModuleList) -> tuple[str, ...]:
    cross = [name for name, m in layers.named_modules() if CROSS_ATTENTION.search(name) and _out_features(m)]
    sentences = [f"{path}.{name} is cross-attention, which a plain prompt does not use." for name in cross[:1]]
    apart = [name for name in _outer_lists(model) if NOT_TEXT.search(name)]
    return (*sentences, *(f"{name} is not part of the text decoder." for name in apart))


def _number(owner: object, keys: tuple[str, ...]) -> int | None:
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


@dataclass(eq=False)
class _Probe:
    """What one site did during the forward pass; keeps its output so that no later tensor gets the same address."""

    site: Site
    module: nn.Module
    calls: int = 0
    positions: int = 0
    error: float = 0.0
    post_norm: bool = False
    outputs: tuple[Tensor, ...] = ()
    """The output tensor and a copy of it."""

    def record(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.calls, self.outputs = self.calls + 1, (output, output.clone())
        x = inputs[0].reshape(-1, self.site.n_inputs)  # (tokens, n_inputs)
        y = output.reshape(-1, output.shape[-1]).float()  # (tokens, d)
        self.positions = len(x)
        bias = getattr(module, "bias", None)
        written = sum(self._written(x), torch.zeros_like(y) if bias is None else bias.float())  # (tokens, d)
        self.error = float((y - written).abs().max() / y.abs().max().clamp_min(1))

    def _written(self, x: Tensor) -> Iterator[Tensor]:
        """What the components write, (tokens, d), some of them at a time."""
        weight = self.module.weight.T if self.site.transposed else self.module.weight
        step = self.site.width * max(1, COLUMNS_AT_ONCE // self.site.width)
        for start in range(0, self.site.n_inputs, step):
            block = slice(start, start + step)
            yield x[:, block].float() @ weight[:, block].float().T

    def check(self) -> None:
        if self.calls != 1:
            raise _Unfit(f"{self.site.name} ran {self.calls} times in one forward pass, where once was expected")
        if self.positions != PROBE_TOKENS:
            raise _Unfit(f"{self.site.name} sees {self.positions} positions where {PROBE_TOKENS} tokens were given")
        tolerance = TOLERANCE[self.module.weight.dtype]
        if not self.error <= tolerance:  # also when the error is NaN
            wrong = f"off by {self.error:.2g} where {tolerance:g} is allowed"
            raise _Unfit(f"{self.site.name} does not output its weight times its input: it is {wrong}")


def _norm_watcher(probes: list[_Probe]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook that marks the site whose output the norm receives.

    An addition in place keeps the address and changes the content: that is the residual stream, and no post-norm.
    """

    def watch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for x, probe in itertools.product(inputs[:1], (probe for probe in probes if probe.calls)):
            y, before = probe.outputs
            probe.post_norm |= y.shape == x.shape and y.data_ptr() == x.data_ptr() and torch.equal(x, before)

    return watch
