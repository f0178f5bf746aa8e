"""Where the heads and neurons of a model are, and how values known per site become a grid of layers.

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
    """One head or one neuron: its site's position in `ModelSpec.sites` and its index within that site."""

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
    """H for an attention output projection, F for an MLP down projection."""
    width: int
    """Projection inputs per component: D for a head, 1 for a neuron."""
    transposed: bool = False
    """The weight is stored (in, out), as in GPT-2's Conv1D."""
    post_norm: bool = False
    """A norm follows the projection before the residual addition, so that strong edits saturate."""
    runs: int = 1
    """How often it runs in one forward pass, at all its places: in stacks of layers that take turns, more than once."""
    parameter: str = "weight"
    """The weight's path inside the module."""
    experts: int = 0
    """Number of experts whose components stand side by side, expert-major: component e * n + i is the i-th of expert e,
    n = n_components / experts. 0 for a plain projection."""
    writes_more: bool = False
    """Than its inputs give, and not the same for every token, as experts with biases do."""
    also_at: tuple[str, ...] = ()
    """Paths of the modules of later layers that share its weight: an edit changes what they do as well."""

    @property
    def places(self) -> tuple[str, ...]:
        return (self.name, *self.also_at)

    @property
    def n_inputs(self) -> int:
        return self.n_components * self.width


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """Where the heads and neurons of a model are; verified once at load."""

    model_type: str
    n_layers: int
    d_model: int
    sites: tuple[Site, ...]
    unreachable: tuple[str, ...] = ()
    """What cannot be edited, each with its reason, as sentences."""

    def of_kind(self, kind: Kind) -> tuple[int, ...]:
        """Positions in `sites` of all sites of one kind, in layer order."""
        return tuple(i for i, site in enumerate(self.sites) if site.kind == kind)

    def n_components(self, kind: Kind) -> int:
        return sum(self.sites[i].n_components for i in self.of_kind(kind))


def layer_grid(spec: ModelSpec, kind: Kind, values: tuple[Tensor, ...]) -> Tensor:
    """Per-site values as (L, widest layer), NaN where a layer has no component; sites of a layer stand side by side."""
    rows = [torch.cat([torch.empty(0), *(values[i] for i in _in_layer(spec, kind, n))]) for n in range(spec.n_layers)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=float("nan"))


def grid_component(spec: ModelSpec, kind: Kind, layer: int, column: int) -> Component | None:
    """The component shown at (layer, column) of a grid of `kind`; None where there is none."""
    for i in _in_layer(spec, kind, layer):
        if column < spec.sites[i].n_components:
            return Component(i, column)
        column -= spec.sites[i].n_components
    return None


def _in_layer(spec: ModelSpec, kind: Kind, layer: int) -> Iterator[int]:
    return (i for i, site in enumerate(spec.sites) if site.kind == kind and site.layer == layer)


def check_shapes(name: str, tensors: tuple[Tensor, ...], shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise ValueError with both shapes where a tuple of tensors does not fit its sites."""
    found = [tuple(tensor.shape) for tensor in tensors]
    if found != list(shapes):
        wrong = [(i, f, s) for i, (f, s) in enumerate(zip(found, shapes, strict=False)) if f != s]
        counts = f"got {len(found)} entries, expected {len(shapes)}"
        detail = "entry {}: got {}, expected {}".format(*wrong[0]) if wrong else counts
        raise ValueError(f"{name} does not fit the model: {detail}")


def check_finite(name: str, tensors: Iterable[Tensor]) -> None:
    """Raise ValueError for a NaN or an infinity: the scores that follow would be 0, as of a component without any."""
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise ValueError(f"{name} hold a value that is not finite (NaN or infinity)")
