"""Where the heads and neurons of a model are, and how values per site become a grid of layers.

Symbols: L layers, H query heads, D head width, d residual width, F MLP width. Knows no formula, no file and no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Kind = Literal["heads", "neurons"]
KINDS: tuple[Kind, ...] = ("heads", "neurons")


class Component(NamedTuple):
    """One head or one neuron: its site's index in `ModelSpec.sites` and its own index within that site."""

    site: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which has no use here


@dataclass(frozen=True, eq=False)
class Site:
    """One projection of one layer that writes to the residual stream."""

    layer: int
    kind: Kind
    name: str
    """Module path in the loaded model."""
    n_components: int
    """Number of components: H for an attention output projection, F for an MLP down projection."""
    width: int
    """Number of projection inputs per component: D for a head, 1 for a neuron."""
    transposed: bool = False
    """True if the weight is stored as (in, out), as in GPT-2's Conv1D."""
    post_norm: bool = False
    """True if a norm follows the projection before the residual addition, so that strong edits saturate."""
    runs: int = 1
    """Number of runs in one forward pass, all `places` together; more than 1 if layers repeat or share the weight."""
    parameter: str = "weight"
    """Path of the weight inside the module."""
    experts: int = 0
    """Number of experts, 0 for a plain projection. Component e * n + i is the i-th of expert e, where
    n = n_components / experts."""
    has_extra_output: bool = False
    """True if the module adds something that is not W x (expert biases, which depend on the routing)."""
    also_at: tuple[str, ...] = ()
    """Paths of the modules in later layers that share the weight, so that an edit changes them as well."""

    @property
    def places(self) -> tuple[str, ...]:
        """Paths of all modules that use the weight."""
        return (self.name, *self.also_at)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the projection."""
        return self.n_components * self.width


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """Where the heads and neurons of a model are; verified once at load."""

    model_type: str
    n_layers: int
    d_model: int
    sites: tuple[Site, ...]
    unreachable: tuple[str, ...] = ()
    """Sentences that say what cannot be edited, and why."""

    def of_kind(self, kind: Kind) -> tuple[int, ...]:
        """Indices in `sites` of all sites of one kind, in layer order."""
        return tuple(i for i, site in enumerate(self.sites) if site.kind == kind)

    def n_components(self, kind: Kind) -> int:
        """Number of components of one kind in the whole model."""
        return sum(self.sites[i].n_components for i in self.of_kind(kind))

    def same_sites(self, other: ModelSpec) -> bool:
        """Whether values per site of one model fit the other: the same modules, components and residual width.

        How a model stores its weights, and what a norm does behind them, may differ.
        """
        return _layout(self) == _layout(other)


def layer_grid(spec: ModelSpec, kind: Kind, values: tuple[Tensor, ...]) -> Tensor:
    """Values per site as (L, widest layer), the sites of a layer side by side, the rest of a row NaN."""
    rows = [torch.cat([torch.empty(0), *(values[i] for i in _in_layer(spec, kind, n))]) for n in range(spec.n_layers)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=float("nan"))


def grid_component(spec: ModelSpec, kind: Kind, layer: int, column: int) -> Component | None:
    """The component at (layer, column) of the grid of one kind; None if the cell is empty."""
    for i in _in_layer(spec, kind, layer):
        if column < spec.sites[i].n_components:
            return Component(i, column)
        column -= spec.sites[i].n_components
    return None


def _in_layer(spec: ModelSpec, kind: Kind, layer: int) -> Iterator[int]:
    return (i for i, site in enumerate(spec.sites) if site.kind == kind and site.layer == layer)


def _layout(spec: ModelSpec) -> tuple[int, list[tuple[str, int, int]]]:
    return spec.d_model, [(site.name, site.n_components, site.width) for site in spec.sites]


def check_shapes(name: str, tensors: tuple[Tensor, ...], shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise ValueError with both shapes if a tuple of tensors does not fit its sites."""
    actual = [tuple(tensor.shape) for tensor in tensors]
    if actual != list(shapes):
        wrong = [(i, a, s) for i, (a, s) in enumerate(zip(actual, shapes, strict=False)) if a != s]
        counts = f"got {len(actual)} entries, expected {len(shapes)}"
        detail = "entry {}: got {}, expected {}".format(*wrong[0]) if wrong else counts
        raise ValueError(f"{name} does not fit the model: {detail}")


def check_finite(name: str, tensors: Iterable[Tensor]) -> None:
    """Raise ValueError for a NaN or an infinity: the scores computed from it would be 0, as for an idle component."""
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise ValueError(f"{name} has a value that is not finite (NaN or infinity)")
