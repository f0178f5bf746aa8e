"""Finds the heads and neurons of a causal language model by one small rule, and checks the finding by a forward pass.

The rule reads module names and sizes: no table of models. It covers decoders whose layers have one attention output
projection and one MLP down projection, each a plain matrix; a layer that mixes tokens by other means has no heads, and
`unreachable` says so. Everything else is refused with a sentence. What names cannot promise, `verify_sites` measures.
Knows no tokenizer and no file.
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

from .decoder_layer import (
    CROSS_ATTENTION,
    WIDTH_KEYS,
    Unfit,
    head_count,
    inside,
    is_for_images,
    kind_of,
    mixers_of,
    number,
    out_features,
    plain_inputs,
    refuse_experts,
    the_projection,
)
from .errors import UnsupportedModelError
from .spec import KINDS, ModelSpec, Site

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NOT_TEXT = re.compile(r"vision|visual|image|audio|speech", re.IGNORECASE)
DEPTH_KEYS = ("num_decoder_layers", "decoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")

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
    Heads may be missing where another mixer of tokens was found, and layers that a prompt of text alone skips are left
    out; at least one layer must have heads.
    """
    config = model.config.get_text_config()
    with _naming(model):
        path, layers = _decoder_layers(model, {depth for key in DEPTH_KEYS if (depth := number(config, (key,)))})
        sites: list[Site] = []
        for index, layer in enumerate(layers):
            refuse_experts(index, layer)
            for kind in () if is_for_images(layer) else KINDS:
                found = the_projection(index, layer, kind, number(config, WIDTH_KEYS))
                if found is None:
                    continue
                name, module = found
                n_inputs, transposed = plain_inputs(f"{path}.{index}.{name}", module)
                count = n_inputs if kind == "neurons" else head_count(config, index, layer, name, n_inputs)
                sites.append(Site(index, kind, f"{path}.{index}.{name}", count, n_inputs // count, transposed))
        _refuse_if_headless(sites, layers)
        _refuse_shared_weights(model, sites)
    d_model = out_features(model.get_submodule(sites[0].name))
    return ModelSpec(model.config.model_type, len(layers), d_model, tuple(sites), _out_of_reach(model, path, layers))


def verify_sites(model: PreTrainedModel, spec: ModelSpec) -> ModelSpec:
    """Run a few tokens through the model and check that its sites do what an edit assumes; fills `post_norm`.

    Each site must be called exactly once, and the sum over its components of W[:, block] @ x[block], plus the bias,
    must equal its output (method, "Components"). A site has `post_norm` when a norm receives its very output tensor.
    Raises UnsupportedModelError where that does not hold. The model is left without hooks and unchanged.
    """
    probes = [_Probe(site, model.get_submodule(site.name)) for site in spec.sites]
    vocabulary = number(model.config.get_text_config(), ("vocab_size",)) or PROBE_TOKENS
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
            raise Unfit(f"a forward pass over {PROBE_TOKENS} token ids fails ({error})") from error
        for probe in probes:
            probe.check()
    return replace(spec, sites=tuple(replace(probe.site, post_norm=probe.post_norm) for probe in probes))


@contextmanager
def _naming(model: PreTrainedModel) -> Iterator[None]:
    try:
        yield
    except Unfit as reason:
        raise UnsupportedModelError(
            f"This {model.config.model_type} model cannot be edited: {reason}. Supported are decoders with "
            "attention heads and one plain MLP a layer, such as Llama, Qwen, Mistral, Gemma, Phi, OPT or GPT-2."
        ) from reason


def _decoder_layers(model: PreTrainedModel, depths: set[int]) -> tuple[str, nn.ModuleList]:
    """The outermost list of as many modules as the configuration has layers; of several, the one with most weights."""
    outer = {name: layers for name, layers in _outer_lists(model).items() if not NOT_TEXT.search(name)}
    fitting = [name for name, layers in outer.items() if len(layers) in depths]
    if not fitting:
        found = " and ".join(f"{name} with {len(layers)}" for name, layers in outer.items()) or "no list of layers"
        wanted = " or ".join(map(str, sorted(depths))) or "an unstated number of"
        raise Unfit(f"a list of {wanted} decoder layers was looked for, and {found} was found")
    path = max(fitting, key=lambda name: sum(p.numel() for p in outer[name].parameters()))
    kinds = {type(layer) for layer in outer[path]}
    twins = [n for n, layers in outer.items() if n != path and kinds & {type(layer) for layer in layers}]
    if twins:
        raise Unfit(f"it runs several stacks of the same layers, {path} and {' and '.join(twins)}")
    return path, outer[path]


def _outer_lists(model: PreTrainedModel) -> dict[str, nn.ModuleList]:
    """The lists of modules that are not inside another list, by path."""
    lists = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)}
    return {name: m for name, m in lists.items() if not any(name.startswith(f"{other}.") for other in lists)}


def _refuse_if_headless(sites: list[Site], layers: nn.ModuleList) -> None:
    if not any(site.kind == "heads" for site in sites):
        kinds = {f"{name} ({type(module).__name__})" for layer in layers for name, module in mixers_of(layer).items()}
        found = " and ".join(sorted(kinds)) or "nothing that is known"
        raise Unfit(f"none of its layers has attention heads; tokens are mixed by {found}")


def _refuse_shared_weights(model: PreTrainedModel, sites: list[Site]) -> None:
    """An edit of a matrix that is used at two places would change both."""
    wanted = {f"{site.name}.weight" for site in sites}
    owners: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        other = owners.setdefault(parameter.data_ptr(), name)
        if other != name and {name, other} & wanted:
            raise Unfit(f"{other} and {name} are one and the same weight")


def _out_of_reach(model: PreTrainedModel, path: str, layers: nn.ModuleList) -> tuple[str, ...]:
    """What a person will miss on the heatmaps, one sentence per kind of layer and per other part."""
    kinds: dict[str, list[int]] = {}
    for index, layer in enumerate(layers):
        for sentence in _missing(layer):
            kinds.setdefault(sentence, []).append(index)
    sentences = [sentence.format(_numbers(indices)) for sentence, indices in kinds.items()]
    text = {
        f"{i}.{name}": m
        for i, layer in enumerate(layers)
        if not is_for_images(layer)
        for name, m in layer.named_modules()
    }
    cross = [name for name, module in text.items() if CROSS_ATTENTION.search(name) and out_features(module)]
    sentences += [f"{path}.{name} is cross-attention, which a plain prompt does not use." for name in cross[:1]]
    apart = [name for name in _outer_lists(model) if NOT_TEXT.search(name)]
    return (*sentences, *(f"{name} is not part of the text decoder." for name in apart))


def _missing(layer: nn.Module) -> Iterator[str]:
    """Sentences with a place for the numbers of all layers of this kind."""
    if is_for_images(layer):
        yield "Nothing to edit in {}: it attends to images alone and does not run on text."
        return
    mixers = mixers_of(layer)
    own = {kind_of(name) for name, _ in layer.named_modules() if not inside(name, mixers)}
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


def _numbers(indices: list[int]) -> str:
    """Layers for a person, runs of them shortened: 'layers 0 to 2, 4'."""
    starts = [i for i in indices if i - 1 not in indices]
    ends = [i for i in indices if i + 1 not in indices]
    runs = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))
    return f"layer{'s' if len(indices) > 1 else ''} {runs}"


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
            raise Unfit(f"{self.site.name} ran {self.calls} times in one forward pass, where once was expected")
        if self.positions != PROBE_TOKENS:
            raise Unfit(f"{self.site.name} sees {self.positions} positions where {PROBE_TOKENS} tokens were given")
        tolerance = TOLERANCE[self.module.weight.dtype]
        if not self.error <= tolerance:  # also when the error is NaN
            wrong = f"off by {self.error:.2g} where {tolerance:g} is allowed"
            raise Unfit(f"{self.site.name} does not output its weight times its input: it is {wrong}")


def _norm_watcher(probes: list[_Probe]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook that marks the site whose output the norm receives.

    An addition in place keeps the address and changes the content: that is the residual stream, and no post-norm.
    """

    def watch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for x, probe in itertools.product(inputs[:1], (probe for probe in probes if probe.calls)):
            y, before = probe.outputs
            probe.post_norm |= y.shape == x.shape and y.data_ptr() == x.data_ptr() and torch.equal(x, before)

    return watch
