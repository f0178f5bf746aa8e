"""Positions whose residual norm is an outlier: found while a batch runs, and left out of its means or weighed down.

Knows norms and weights of positions. Many chat models write massive activations at a few tokens that have little to do
with the behaviour (Sun et al. 2024, arXiv 2402.17762); a mean over twenty tokens is then mostly that one token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from s2e_core.model import LoadedModel
from s2e_core.values import ActivationMeans, MeanInputs, Outliers

FACTOR = 5.0
"""Multiple of the median norm of its example, at any layer's output, above which a position is an outlier."""
_LAYER = re.compile(r"^(.*?\.\d+)\.")
"""Path of the layer in the path of a projection inside it."""


@contextmanager
def watch_ratios(loaded: LoadedModel, mask: Tensor) -> Iterator[Tensor]:
    """While the context lasts, keep each position's largest ratio of residual norm to the median of its example.

    `mask` is (B, T), 1 at tokens and 0 at padding; so is the tensor that the context gives, fp32 on the CPU, 0 until
    the model has run. The residual stream is read between the layers, so the last layer's output does not count. A
    model that passes it on in another form than one vector a token has no outliers.
    """
    largest = torch.zeros(mask.shape)
    handles: list[RemovableHandle] = []

    def read(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        stream = _residual_stream((*args, *kwargs.values()), mask.numel(), loaded.spec.d_model)
        if stream is not None:
            norms = stream.float().norm(dim=-1).reshape(mask.shape).cpu()
            torch.maximum(largest, _ratios(norms, mask), out=largest)

    try:
        for name in _layers(loaded)[1:]:
            handles.append(loaded.model.get_submodule(name).register_forward_pre_hook(read, with_kwargs=True))
        yield largest
    finally:
        for handle in handles:
            handle.remove()


def reweigh(weights: Tensor, ratios: Tensor, outliers: Outliers) -> tuple[Tensor, int]:
    """Weights of the positions of each example, (B, T), with less for the outliers, and how many these are.

    "leave out" gives them none, "weigh down" 1 / ratio of their weight, and "keep" all; the sum of a row stays 1. An
    example whose span has nothing but outliers has none that count. Rows without any keep their weights to the bit.
    """
    inside = weights > 0
    extreme = inside & (ratios > FACTOR)
    extreme &= (inside & ~extreme).any(dim=1, keepdim=True)
    if outliers == "keep":
        return weights, int(extreme.sum())
    less = weights / ratios.clamp(min=1) if outliers == "weigh down" else torch.zeros_like(weights)
    reduced = torch.where(extreme, less, weights)
    normed = reduced / reduced.sum(dim=1, keepdim=True)
    return torch.where(extreme.any(dim=1, keepdim=True), normed, weights), int(extreme.sum())


def outlier_sentence(means: ActivationMeans | MeanInputs) -> str:
    """How many positions are outliers, and what became of them; empty if there are none."""
    if not isinstance(means, ActivationMeans) or not means.n_outliers:
        return ""
    fate = {
        "keep": "kept, as in the paper; --outliers leave-out averages without them",
        "leave out": "left out; the paper keeps them (--outliers keep)",
        "weigh down": "weighed down; the paper keeps them (--outliers keep)",
    }
    have, were = ("position has", "was") if means.n_outliers == 1 else ("positions have", "were")
    return (
        f"{means.n_outliers:,} of {means.n_tokens:,} {have} a residual norm of more than {FACTOR:g} times the median "
        f"of the example and {were} {fate[means.outliers]}."
    )


def _layers(loaded: LoadedModel) -> list[str]:
    """Paths of the modules that contain the projections, in the order of the sites."""
    places = (place for site in loaded.spec.sites for place in site.places)
    return list(dict.fromkeys(found[1] for place in places if (found := _LAYER.match(place))))


def _residual_stream(values: tuple[Any, ...], n_positions: int, d_model: int) -> Tensor | None:
    """The first input of a layer that has one vector of the residual width for each position."""
    for value in values:
        if isinstance(value, Tensor) and value.is_floating_point() and value.shape[-1:] == (d_model,):
            return value if value.numel() == n_positions * d_model else None
    return None


def _ratios(norms: Tensor, mask: Tensor) -> Tensor:
    """Norms over the median of their row's tokens: (B, T); 0 at padding and for a median of 0."""
    medians = norms.masked_fill(mask == 0, float("nan")).nanmedian(dim=1, keepdim=True).values
    return torch.where((mask != 0) & (medians > 0), norms / medians, 0.0)
