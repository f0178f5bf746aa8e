"""Finds the heads and neurons of a causal language model from module names and sizes.

Each layer needs one attention output projection and one MLP down projection, as a plain matrix or as fused experts;
`unreachable` lists the layers that mix tokens without heads, and every other model is refused with a reason. Names
prove nothing: `verify_sites` checks the sites in a forward pass. Knows no tokenizer and no file.
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
    component_kinds,
    describe_layer_gaps,
    expert_stacks,
    first_positive_int,
    head_count,
    input_layout,
    is_for_images,
    other_mixers,
    out_features,
    projections,
    refuse_other_experts,
    refuse_other_weights,
    stack_component_width,
)
from .names import format_layers
from .placement import weight_identities
from .weights import stored_weight

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NOT_TEXT = re.compile(r"vision|visual|image|audio|speech", re.IGNORECASE)
DEPTH_KEYS = ("num_decoder_layers", "decoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")
LAYER_STACKS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"hrm_text": {"model.L_module.layers": ("H_cycles", "L_cycles"), "model.H_module.layers": ("H_cycles",)}}
)
"""Model types that alternate between several stacks of layers, and the settings whose product is each stack's runs."""
LAYER_HALVES: Mapping[str, tuple[str, ...]] = MappingProxyType({"xlm": ("transformer.attentions", "transformer.ffns")})
"""Model types that store the two halves of their layers in separate lists."""

UNSUPPORTED_TYPES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("gemma4_assistant", "gemma4_unified_assistant"),
            "it drafts tokens for a larger model and cannot read text without that model's states",
        ),
        **dict.fromkeys(
            ("musicgen", "musicgen_decoder", "musicgen_melody", "musicgen_melody_decoder"),
            "it generates sound: its tokens belong to an audio codec and are not text",
        ),
        "blt": "its stacks of layers have different widths and run over bytes or over patches of several bytes, so it "
        "has no single residual stream with a position for every token",
        "prophetnet": "what transformers computes for a token changes with the number of tokens after it, because its "
        "predicting streams mix up their positions, so no position of a text predicts the next token",
        "xlnet": "it reads ahead, in an order of its own, and its heads write through a bare parameter instead of a "
        "linear layer",
    }
)
"""Model types that are always refused, with the reason."""


def find_sites(model: PreTrainedModel) -> ModelSpec:
    """Find every projection through which a head or a neuron writes to the residual stream; heads first in each layer.

    Every layer must have exactly one attention output projection (d, H * D) and one MLP down projection (d, F) with a
    plain float weight. Fused experts are one site per module, in addition to those of other MLPs. Heads may be missing
    from a layer with another token mixer, but not from all layers; layers that text does not run through are skipped.
    Raises UnsupportedModelError, with the layer, the expected module and the actual ones, if a layer is different.
    """
    names = {module: name for name, module in model.named_modules()}
    refuse_by_name(model.config.model_type)
    with report_unfit(model.config.model_type):
        layers = _decoder_layers(model)
        _refuse_if_headless([layer for layer, _ in layers])
        sites = [
            site
            for index, (layer, runs) in enumerate(layers)
            for site in (() if is_for_images(layer) else _layer_sites(model, index, layer, runs, names))
        ]
        merged = _merge_shared(sites, _shared_names(model))
    d_model = stored_weight(model, sites[0]).shape[-1 if sites[0].transposed else -2]
    unreachable = (*_describe_sharing(merged, sites), *_describe_gaps(model, [layer for layer, _ in layers], names))
    return ModelSpec(model.config.model_type, len(layers), d_model, tuple(merged), unreachable)


def _layer_sites(
    model: PreTrainedModel, index: int, layer: nn.Module, runs: int, names: Mapping[nn.Module, str]
) -> Iterator[Site]:
    """Sites of one layer: heads before neurons, plain projections before experts."""
    config = model.config.get_text_config()
    refuse_other_experts(index, layer)
    for kind in KINDS:
        for name, module in projections(index, layer, kind, first_positive_int(config, WIDTH_KEYS)):
            n_inputs, transposed = input_layout(names[module], module)
            count = n_inputs if kind == "neurons" else head_count(config, index, layer, name, n_inputs)
            yield Site(index, kind, names[module], count, n_inputs // count, transposed, runs=runs)
        for name, (stack_kind, stack) in expert_stacks(layer).items():
            if stack_kind == kind:
                path, width = names[layer.get_submodule(name)], stack_component_width(index, layer, name, kind, stack)
                refuse_other_weights(path, layer.get_submodule(name).get_parameter(stack.parameter), dims=(2, 3))
                site = Site(index, kind, path, stack.experts * stack.n_inputs // width, width, stack.transposed)
                yield replace(
                    site,
                    runs=runs,
                    parameter=stack.parameter,
                    experts=stack.experts,
                    has_extra_output=stack.has_extra_output,
                )


def refuse_by_name(model_type: str) -> None:
    """Raise UnsupportedModelError, with the reason, if a model type is always refused."""
    with report_unfit(model_type):
        if reason := UNSUPPORTED_TYPES.get(model_type):
            raise Unfit(reason)


@contextmanager
def report_unfit(model_type: str) -> Iterator[None]:
    """Turn an `Unfit` raised inside into an UnsupportedModelError that names the model type."""
    try:
        yield
    except Unfit as reason:
        raise UnsupportedModelError(
            f"This {model_type} model cannot be edited: {reason}. Use a decoder with attention heads and an MLP or "
            "experts in each layer, such as Llama, Qwen, Mistral, Mixtral, Gemma, Phi, OPT or GPT-2."
        ) from reason


def _decoder_layers(model: PreTrainedModel) -> list[tuple[nn.Module, int]]:
    """All decoder layers in order, each with its number of runs in one forward pass."""
    model_type, config = model.config.model_type, model.config
    if model_type in LAYER_STACKS:
        runs = {path: prod(getattr(config, key) for key in keys) for path, keys in LAYER_STACKS[model_type].items()}
        return [(layer, n) for path, n in runs.items() for layer in model.get_submodule(path).children()]
    if model_type in LAYER_HALVES:
        halves = LAYER_HALVES[model_type]
        layers = zip(*(model.get_submodule(path).children() for path in halves), strict=True)
        keys = [path.rsplit(".", 1)[-1] for path in halves]
        return [(nn.ModuleDict(dict(zip(keys, parts, strict=True))), 1) for parts in layers]
    return [(layer, 1) for layer in _layer_list(model)]


def _layer_list(model: PreTrainedModel) -> nn.ModuleList:
    """The outermost list with as many modules as the model has layers; if several fit, the one with most weights."""
    config = model.config.get_text_config()
    depths = {depth for key in DEPTH_KEYS if (depth := first_positive_int(config, (key,)))}
    outer = {name: layers for name, layers in _outer_lists(model).items() if not NOT_TEXT.search(name)}
    fitting = [name for name, layers in outer.items() if len(layers) in depths]
    if not fitting:
        actual = " and ".join(f"{name} with {len(layers)}" for name, layers in outer.items()) or "no list of layers"
        expected = " or ".join(map(str, sorted(depths))) or "an unstated number of"
        raise Unfit(f"it should have a list of {expected} decoder layers, but it has {actual}")
    path = max(fitting, key=lambda name: sum(p.numel() for p in outer[name].parameters()))
    kinds = {type(layer) for layer in outer[path]}
    twins = [n for n, layers in outer.items() if n != path and kinds & {type(layer) for layer in layers}]
    if twins:
        raise Unfit(f"it runs several stacks of the same layers: {path} and {' and '.join(twins)}")
    return outer[path]


def _outer_lists(model: PreTrainedModel) -> dict[str, nn.ModuleList]:
    """Lists of modules that are not inside another list, by path."""
    lists = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)}
    return {name: m for name, m in lists.items() if not any(name.startswith(f"{other}.") for other in lists)}


def _refuse_if_headless(layers: list[nn.Module]) -> None:
    mixers = [(layer, other_mixers(layer)) for layer in layers]
    has_heads = any("heads" in component_kinds(layer, others) for layer, others in mixers)
    labels = {f"{name} ({type(module).__name__})" for _, others in mixers for name, module in others.items()}
    if labels and not has_heads:
        raise Unfit(f"none of its layers has attention heads; tokens are mixed by {' and '.join(sorted(labels))}")


def _shared_names(model: PreTrainedModel) -> dict[str, tuple[str, ...]]:
    """For each parameter name, all names of the same parameter in module order, itself included."""
    names_of: dict[object, list[str]] = {}
    for name, weight in weight_identities(model).items():
        names_of.setdefault(weight, []).append(name)
    return {name: tuple(names) for names in names_of.values() for name in names}


def _merge_shared(sites: list[Site], shared_names: Mapping[str, tuple[str, ...]]) -> list[Site]:
    """One site per weight, at the first layer that uses it. Raises Unfit if anything but alike layers uses the weight.

    An edit would change that other use as well.
    """
    by_weight = {f"{site.name}.{site.parameter}": site for site in sites}
    merged: dict[tuple[str, ...], Site] = {}
    for weight, site in by_weight.items():
        names = shared_names[weight]
        using = [by_weight[name] for name in names if name in by_weight]
        alike = {(s.kind, s.n_components, s.transposed) for s in using}
        if len(using) < len(names) or len(alike) > 1 or (len(using) > 1 and site.experts):
            raise Unfit(f"{' and '.join(names[:2])} are one and the same weight")
        others = tuple(other.name for other in using if other is not site)
        merged.setdefault(names, replace(site, runs=sum(s.runs for s in using), also_at=others))
    return list(merged.values())


def _describe_sharing(merged: list[Site], sites: list[Site]) -> list[str]:
    """One sentence for every layer whose weights later layers use as well."""
    layer_of = {site.name: site.layer for site in sites}
    later = {site.layer: sorted({layer_of[name] for name in site.also_at}) for site in merged if site.also_at}
    return [
        f"Layer {first} shares its weights with {format_layers(indices)}: an edit of it changes all of them."
        for first, indices in later.items()
    ]


def _describe_gaps(model: PreTrainedModel, layers: list[nn.Module], names: Mapping[nn.Module, str]) -> tuple[str, ...]:
    """What the heatmaps do not show: one sentence per kind of gap in the layers and per other part of the model."""
    layers_with: dict[str, list[int]] = {}
    for index, layer in enumerate(layers):
        for sentence in describe_layer_gaps(layer):
            layers_with.setdefault(sentence, []).append(index)
    sentences = [sentence.format(format_layers(indices)) for sentence, indices in layers_with.items()]
    inside_text = [item for layer in layers if not is_for_images(layer) for item in layer.named_modules()]
    cross = [names[module] for name, module in inside_text if CROSS_ATTENTION.search(name) and out_features(module)]
    sentences += [f"{name} is cross-attention, which a plain prompt does not use." for name in cross[:1]]
    other_lists = [name for name in _outer_lists(model) if NOT_TEXT.search(name)]
    return (*sentences, *(f"{name} is not part of the text decoder." for name in other_lists))
