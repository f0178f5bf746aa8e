"""When one component acts: its activation at every token of a text, and on every example of the contrast set.

Knows one component at a time. The activation of a neuron is its input to the down projection; that of a head is what it
writes along the unit direction u, (W_i^T u) . x_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from s2e_core.generation import apply_variants
from s2e_core.measure import encode_text
from s2e_core.model import Call, LoadedModel, watch
from s2e_core.spec import Component
from s2e_core.values import Edited, Example, Original, SteeringDirections, Variant, WeightEdit, WeightSource

from .attention import run_to_the_end
from .example_means import ExampleMeans
from .interventions import component_weight
from .tokens import token_texts

BINS = 20
DECILES = 10


@dataclass(frozen=True, eq=False)
class TokenActivations:
    """The activation of one component at every token of a text."""

    tokens: tuple[str, ...]
    original: tuple[float, ...]
    edited: tuple[float, ...] | None
    """Activations under the edit; None without an edit."""


@dataclass(frozen=True, eq=False)
class ExampleActivations:
    """The mean activation of one component over the response of every example."""

    examples: tuple[Example, ...]
    values: tuple[float, ...]
    n_positive: int
    """Number of positive examples, which come first."""

    def histogram(self, bins: int = BINS) -> tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...]]:
        """Edges (bins + 1), and the number of positive and of negative examples in every bin."""
        values = torch.tensor(self.values, dtype=torch.float64)
        low, high = float(values.min()), float(values.max())
        high = high if high > low else low + 1.0
        edges = torch.linspace(low, high, bins + 1, dtype=torch.float64)
        places = ((values - low) / (high - low) * bins).long().clamp(max=bins - 1)
        counts = [torch.bincount(side, minlength=bins) for side in places.split(self._sizes)]
        return tuple(edges.tolist()), tuple(counts[0].tolist()), tuple(counts[1].tolist())

    def deciles(self) -> tuple[int, ...]:
        """Index of the example in the middle of each tenth of the examples, the weakest tenth first."""
        order = sorted(range(len(self.values)), key=lambda n: self.values[n])
        return tuple(order[int((k + 0.5) * len(order) / DECILES)] for k in range(DECILES))

    @property
    def _sizes(self) -> list[int]:
        return [self.n_positive, len(self.values) - self.n_positive]


def token_activations(
    loaded: LoadedModel,
    directions: SteeringDirections,
    component: Component,
    texts: Sequence[str | Example],
    edit: WeightEdit | None = None,
) -> tuple[TokenActivations, ...]:
    """The activation at every token of every text, and under an edit; an expert that is not chosen has 0.

    Raises S2EError for a text that the model cannot read.
    """
    rows = [encode_text(loaded, text).ids for text in texts]
    variants: list[Variant] = [Original(), *([] if edit is None else [Edited(edit)])]
    length, n = max(map(len, rows), default=0), len(rows)
    padded = [[*ids, *[0] * (length - len(ids))] for ids in rows]
    mask = [[1] * len(ids) + [0] * (length - len(ids)) for ids in rows]
    reader = _Reader(loaded, directions, component, n * len(variants))
    batch = torch.tensor(padded * len(variants), device=loaded.device)
    with loaded.lock, torch.inference_mode():
        with apply_variants(loaded, variants, [v for v in range(len(variants)) for _ in rows]), reader:
            run_to_the_end(loaded, batch, torch.tensor(mask * len(variants), device=loaded.device))
    values = reader.values.unflatten(0, (len(variants), n))  # (variants, texts, T)
    return tuple(
        TokenActivations(
            token_texts(loaded, ids),
            tuple(values[0, k, : len(ids)].tolist()),
            tuple(values[1, k, : len(ids)].tolist()) if edit is not None else None,
        )
        for k, ids in enumerate(rows)
    )


def example_activations(
    loaded: WeightSource, directions: SteeringDirections, component: Component, means: ExampleMeans
) -> ExampleActivations:
    """The mean activation on every example, from their kept mean inputs: no pass of the model."""
    width = means.spec.sites[component.site].width
    columns = slice(component.index * width, (component.index + 1) * width)
    values = means.inputs[component.site][:, columns] @ reading_vector(loaded, directions, component)
    return ExampleActivations(means.examples, tuple(values.tolist()), means.n_positive)


def reading_vector(loaded: WeightSource, directions: SteeringDirections, component: Component) -> Tensor:
    """The vector whose product with a component's input is its activation: W_i^T u, and 1 for a neuron: (width,)."""
    if loaded.spec.sites[component.site].width == 1:
        return torch.ones(1)
    return component_weight(loaded, component).T @ directions.unit[component.site]


class _Reader:
    """While the context lasts, adds up the activation of one component at every token: (rows, T) on the CPU."""

    def __init__(self, loaded: LoadedModel, directions: SteeringDirections, component: Component, n_rows: int) -> None:
        self.loaded, self.n_rows = loaded, n_rows
        self.site = loaded.spec.sites[component.site]
        self.vector = reading_vector(loaded, directions, component)
        self.first = component.index * self.site.width
        self.values = torch.zeros(n_rows, 0)
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        if self.site.experts:
            self.handles = watch(self.loaded.model, self.site, self._read_experts)
        else:
            modules = map(self.loaded.model.get_submodule, self.site.places)
            self.handles = [module.register_forward_pre_hook(self._read) for module in modules]

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _read(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].reshape(self.n_rows, -1, inputs[0].shape[-1])[:, :, self.first : self.first + self.site.width]
        self._add(x.float().cpu() @ self.vector)

    def _read_experts(self, call: Call, output: Tensor) -> None:
        expert, first = divmod(self.first, self.site.n_inputs // self.site.experts)
        values = torch.zeros(call.n_tokens)
        for part in call.parts(torch.ones(call.n_tokens, dtype=torch.bool, device=output.device)):
            if part.expert == expert:
                x = part.weighted_inputs[:, first : first + self.site.width].cpu()
                values.index_add_(0, part.tokens.cpu(), x @ self.vector)
        self._add(values.reshape(self.n_rows, -1))

    def _add(self, values: Tensor) -> None:
        values = values / self.site.runs
        self.values = self.values + values if self.values.shape == values.shape else values
