"""Finds the heads and neurons of a causal language model by one small rule.

The rule reads module names and sizes; a few model types have a line of their own. It covers decoders whose layers have
one attention output projection and one MLP down projection, each a plain matrix, or fused experts, with or without
other MLPs beside them; a layer that mixes tokens by other means has no heads, and `unreachable` says so. Everything
else is refused with a sentence. What names cannot promise, `verify_sites` measures. Knows no tokenizer and no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING

from torch import nn

from s2e_core.errors import UnsupportedModelError
from s2e_core.spec import KINDS, ModelSpec, Site

from .decoder_layer import (
    CROSS_ATTENTION,
    WIDTH_KEYS,
    Unfit,
    head_count,
    is_for_images,
    kinds_in,
    mixers_of,
    number,
    out_features,
    plain_inputs,
    projections,
    refuse_other_experts,
    refuse_other_weights,
    stacked_width,
    stacks_in,
    what_it_lacks,
)
from .names import layers_named
from .placement import weight_identities
from .weights import held_weight

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NOT_TEXT = re.compile(r"vision|visual|image|audio|speech", re.IGNORECASE)
DEPTH_KEYS = ("num_decoder_layers", "decoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")
STACKS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"hrm_text": {"model.L_module.layers": ("H_cycles", "L_cycles"), "model.H_module.layers": ("H_cycles",)}}
)
"""Model types that run several stacks of layers in turns, and the settings whose product is how often each runs."""
HALVES: Mapping[str, tuple[str, ...]] = MappingProxyType({"xlm": ("transformer.attentions", "transformer.ffns")})
"""Model types that keep the halves of their layers in lists of their own."""

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("gemma4_assistant", "gemma4_unified_assistant"),
            "it drafts tokens for a larger model, whose states it needs, and reads no text by itself",
        ),
        **dict.fromkeys(
            ("musicgen", "musicgen_decoder", "musicgen_melody", "musicgen_melody_decoder"),
            "it writes sound: its tokens are those of an audio codec, and no text",
        ),
        "blt": "its stacks of layers are of several widths and run over bytes, or over patches of several bytes: there "
        "is no one residual stream with a position for every token",
        "prophetnet": "what transformers computes for a token changes with the number of tokens behind it, as its "
        "predicting streams mix up their positions: no position of a text predicts the next token",
        "xlnet": "it reads ahead, in an order of its own, and its heads write through a bare parameter that is no "
        "linear layer",
    }
)
"""Model types for which no rule helps, and why."""


def find_sites(model: PreTrainedModel) -> ModelSpec:
    """Every projection through which a head or a neuron writes to the residual stream, heads before neurons in a layer.

    Raises UnsupportedModelError, naming the layer, what was looked for and what was found, unless every layer has
    exactly one attention output projection (d, H * D) and one MLP down projection (d, F) with a plain float weight, or
    fused experts: one site for all of a module, beside those of other MLPs.
    Heads may be missing where another mixer of tokens was found, and layers that a prompt of text alone skips are left
    out; at least one layer must have heads.
    """
    names = {module: name for name, module in model.named_modules()}
    refuse_by_name(model.config.model_type)
    with naming(model.config.model_type):
        layers = _decoder_layers(model)
        _refuse_if_headless([layer for layer, _ in layers])
        sites = [
            site
            for index, (layer, runs) in enumerate(layers)
            for site in (() if is_for_images(layer) else _layer_sites(model, index, layer, runs, names))
        ]
        shared = _with_all_places(sites, _users(model))
    d_model = held_weight(model, sites[0]).shape[-1 if sites[0].transposed else -2]
    unreachable = (*_shown_elsewhere(shared, sites), *_out_of_reach(model, [layer for layer, _ in layers], names))
    return ModelSpec(model.config.model_type, len(layers), d_model, tuple(shared), unreachable)


def _layer_sites(
    model: PreTrainedModel, index: int, layer: nn.Module, runs: int, names: Mapping[nn.Module, str]
) -> Iterator[Site]:
    """The sites of one layer: heads before neurons, plain projections before experts."""
    config = model.config.get_text_config()
    refuse_other_experts(index, layer)
    for kind in KINDS:
        for name, module in projections(index, layer, kind, number(config, WIDTH_KEYS)):
            n_inputs, transposed = plain_inputs(names[module], module)
            count = n_inputs if kind == "neurons" else head_count(config, index, layer, name, n_inputs)
            yield Site(index, kind, names[module], count, n_inputs // count, transposed, runs=runs)
        for name, (of_kind, stack) in stacks_in(layer).items():
            if of_kind == kind:
                path, width = names[layer.get_submodule(name)], stacked_width(index, layer, name, kind, stack)
                refuse_other_weights(path, layer.get_submodule(name).get_parameter(stack.parameter), dims=(2, 3))
                site = Site(index, kind, path, stack.experts * stack.n_inputs // width, width, stack.transposed)
                yield replace(
                    site, runs=runs, parameter=stack.parameter, experts=stack.experts, writes_more=stack.writes_more
                )


def refuse_by_name(model_type: str) -> None:
    """Raise UnsupportedModelError, with the reason, for a model type for which no rule helps."""
    with naming(model_type):
        if reason := REFUSED.get(model_type):
            raise Unfit(reason)


@contextmanager
def naming(model_type: str) -> Iterator[None]:
    """Put the model's name before the reason why it is unfit, and raise that as UnsupportedModelError."""
    try:
        yield
    except Unfit as reason:
        raise UnsupportedModelError(
            f"This {model_type} model cannot be edited: {reason}. Supported are decoders with attention heads and an "
            "MLP or experts in each layer, such as Llama, Qwen, Mistral, Mixtral, Gemma, Phi, OPT or GPT-2."
        ) from reason


def _decoder_layers(model: PreTrainedModel) -> list[tuple[nn.Module, int]]:
    """Every decoder layer in order, with how often it runs in one forward pass."""
    model_type, config = model.config.model_type, model.config
    if model_type in STACKS:
        runs = {path: prod(getattr(config, key) for key in keys) for path, keys in STACKS[model_type].items()}
        return [(layer, n) for path, n in runs.items() for layer in model.get_submodule(path).children()]
    if model_type in HALVES:
        halves = HALVES[model_type]
        layers = zip(*(model.get_submodule(path).children() for path in halves), strict=True)
        keys = [path.rsplit(".", 1)[-1] for path in halves]
        return [(nn.ModuleDict(dict(zip(keys, parts, strict=True))), 1) for parts in layers]
    return [(layer, 1) for layer in _the_list(model)]


def _the_list(model: PreTrainedModel) -> nn.ModuleList:
    """The outermost list of as many modules as the configuration has layers; of several, the one with most weights."""
    config = model.config.get_text_config()
    depths = {depth for key in DEPTH_KEYS if (depth := number(config, (key,)))}
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
    return outer[path]


def _outer_lists(model: PreTrainedModel) -> dict[str, nn.ModuleList]:
    """The lists of modules that are not inside another list, by path."""
    lists = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)}
    return {name: m for name, m in lists.items() if not any(name.startswith(f"{other}.") for other in lists)}


def _refuse_if_headless(layers: list[nn.Module]) -> None:
    mixers = [(layer, mixers_of(layer)) for layer in layers]
    heads = any("heads" in kinds_in(layer, found) for layer, found in mixers)
    kinds = {f"{name} ({type(module).__name__})" for _, found in mixers for name, module in found.items()}
    if kinds and not heads:
        raise Unfit(f"none of its layers has attention heads; tokens are mixed by {' and '.join(sorted(kinds))}")


def _users(model: PreTrainedModel) -> dict[str, tuple[str, ...]]:
    """All names of the parameter that each name stands for, in the order of the modules."""
    users: dict[object, list[str]] = {}
    for name, weight in weight_identities(model).items():
        users.setdefault(weight, []).append(name)
    return {name: tuple(names) for names in users.values() for name in names}


def _with_all_places(sites: list[Site], users: Mapping[str, tuple[str, ...]]) -> list[Site]:
    """One site for each weight, at the first layer that uses it; several layers may use one, but nothing else.

    An edit of a weight that has another use as well would change that, too.
    """
    by_weight = {f"{site.name}.{site.parameter}": site for site in sites}
    found: dict[tuple[str, ...], Site] = {}
    for weight, site in by_weight.items():
        names = users[weight]
        using = [by_weight[name] for name in names if name in by_weight]
        alike = {(s.kind, s.n_components, s.transposed) for s in using}
        if len(using) < len(names) or len(alike) > 1 or (len(using) > 1 and site.experts):
            raise Unfit(f"{' and '.join(names[:2])} are one and the same weight")
        others = tuple(other.name for other in using if other is not site)
        found.setdefault(names, replace(site, runs=sum(s.runs for s in using), also_at=others))
    return list(found.values())


def _shown_elsewhere(shared: list[Site], sites: list[Site]) -> list[str]:
    """A sentence for every layer whose weights later layers use as well."""
    layer_of = {site.name: site.layer for site in sites}
    later = {site.layer: sorted({layer_of[name] for name in site.also_at}) for site in shared if site.also_at}
    return [
        f"In {layers_named(indices)} the weights of layer {first} run again: an edit there changes them all."
        for first, indices in later.items()
    ]


def _out_of_reach(model: PreTrainedModel, layers: list[nn.Module], names: Mapping[nn.Module, str]) -> tuple[str, ...]:
    """What a person will miss on the heatmaps, one sentence per kind of layer and per other part."""
    kinds: dict[str, list[int]] = {}
    for index, layer in enumerate(layers):
        for sentence in what_it_lacks(layer):
            kinds.setdefault(sentence, []).append(index)
    sentences = [sentence.format(layers_named(indices)) for sentence, indices in kinds.items()]
    inside_text = [item for layer in layers if not is_for_images(layer) for item in layer.named_modules()]
    cross = [names[module] for name, module in inside_text if CROSS_ATTENTION.search(name) and out_features(module)]
    sentences += [f"{name} is cross-attention, which a plain prompt does not use." for name in cross[:1]]
    apart = [name for name in _outer_lists(model) if NOT_TEXT.search(name)]
    return (*sentences, *(f"{name} is not part of the text decoder." for name in apart))
