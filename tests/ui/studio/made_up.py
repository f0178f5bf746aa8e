"""Extractions of models that do not exist, with all that makes an elastic net hard: ties, zeros, dead components.

Knows the core's values; no model, no page.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from components.shared.choices import strongest_few
from components.shared.session import Scored, Session
from s2e_core import ComponentScores, ContrastSet, Extraction, SteeringDirections
from s2e_core.spec import ModelSpec, Site
from s2e_core.values import MeanInputs, Provenance

HERE = Provenance("made up", None, "0", "made up", "0")
HEAD_WIDTH = 4


def plain_spec(
    n_layers: int = 5, n_heads: int = 6, n_neurons: int = 24, *, without_heads: tuple[int, ...] = ()
) -> ModelSpec:
    """Heads and one MLP in every layer, but for layers without attention."""
    sites = []
    for layer in range(n_layers):
        if layer not in without_heads:
            sites.append(Site(layer, "heads", f"layers.{layer}.o", n_heads, HEAD_WIDTH))
        sites.append(Site(layer, "neurons", f"layers.{layer}.mlp.down", n_neurons, 1))
    return ModelSpec("made up", n_layers, 64, tuple(sites))


def experts_spec(n_layers: int = 3) -> ModelSpec:
    """Two projections of attention, a shared MLP and experts side by side in every layer."""
    sites = []
    for layer in range(n_layers):
        sites += [
            Site(layer, "heads", f"layers.{layer}.attention.o", 4, HEAD_WIDTH),
            Site(layer, "heads", f"layers.{layer}.linear.o", 3, HEAD_WIDTH),
            Site(layer, "neurons", f"layers.{layer}.mlp.shared.down", 5, 1),
            Site(layer, "neurons", f"layers.{layer}.mlp.experts.down", 12, 1, experts=3),
        ]
    return ModelSpec("made up", n_layers, 48, tuple(sites))


def heads_alone_spec() -> ModelSpec:
    return ModelSpec("made up", 2, 16, tuple(Site(layer, "heads", f"{layer}.o", 5, HEAD_WIDTH) for layer in range(2)))


def made_up(spec: ModelSpec, seed: int = 0, *, ties: bool = True) -> Extraction:
    """Mostly chance and a few components that matter; with `ties` some tie, some are exactly 0, some have no weight."""
    draw = torch.Generator().manual_seed(seed)
    columns: tuple[list[Tensor], ...] = ([], [], [], [])
    for site in spec.sites:
        chance = torch.randn(site.n_components, generator=draw) * (0.05 + 0.1 * site.layer / spec.n_layers)
        rare = torch.rand(site.n_components, generator=draw) < 0.15
        values = (chance * torch.where(rare, 4.0, 1.0)).clamp(-1, 1)
        key = normalize(torch.randn(site.n_components, site.width, generator=draw), dim=1)
        norm = torch.rand(site.n_components, generator=draw) * 3 + 0.1
        if ties and site.n_components > 3:  # nothing is read along v, or there is no weight at all
            values[-1] = -values[0]
            values[1] = values[2] = 0
            key[1] = key[2] = 0
            norm[2] = 0
        for column, value in zip(columns, (values, key, norm, values * norm), strict=True):
            column.append(value)
    g, keys, norms, contributions = (tuple(column) for column in columns)
    scores = ComponentScores(spec, g, keys, norms, contributions, HERE)
    unit = tuple(normalize(torch.randn(spec.d_model, generator=draw), dim=0) for _ in spec.sites)
    directions = SteeringDirections(spec, unit, torch.ones(len(spec.sites)), HERE)
    return Extraction(MeanInputs(spec, _zeros(spec), None, HERE), directions, scores)


def _zeros(spec: ModelSpec) -> tuple[Tensor, ...]:
    return tuple(torch.zeros(site.n_inputs) for site in spec.sites)


def session_on(extraction: Extraction) -> Session:
    """A session as after directions from a file: no suggestions, no texts."""
    scored = Scored(ContrastSet((), ()), extraction, key=f"made up {id(extraction)}")
    return Session.start("made up", "own", scored, strongest_few(scored))
