"""The values that pass between the stages, from contrast set to weight edit.

Every value is frozen and compared by identity; a change is `dataclasses.replace`. Tensors are fp32 on the CPU unless
said otherwise. Symbols: L layers, H query heads, D head width, d residual width, F MLP width. Everything known per site
is a tuple aligned with `ModelSpec.sites`. This file knows no formula, no file and no forward pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from .errors import SettingsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Kind = Literal["heads", "neurons"]
KINDS: tuple[Kind, ...] = ("heads", "neurons")
Progress = Callable[[int, int], None]
"""Called with (done, total) while a long stage runs; raising `Cancelled` in it stops the stage."""


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


@dataclass(frozen=True, eq=False)
class Example:
    """One prompt with the response that shows, or lacks, the behaviour."""

    prompt: str
    response: str
    system: str | None = None


@dataclass(frozen=True, eq=False)
class ContrastSet:
    """Examples of the wanted behaviour (positive) and of its opposite (negative); the sides need no pairing."""

    positive: tuple[Example, ...]
    negative: tuple[Example, ...]
    name: str = "contrast set"
    notes: tuple[str, ...] = ()
    """What was skipped or looks odd (empty responses, examples on both sides, ...), as sentences."""
    content_hash: str = ""
    """SHA-256 of the examples in order, hexadecimal."""


@dataclass(frozen=True, eq=False)
class Provenance:
    """From which model and which examples a value was computed; travels down the chain into every file we write."""

    model_id: str
    revision: str | None
    fingerprint: str
    """Of the weights at the sites; see `loading.fingerprint`."""
    contrast_name: str
    contrast_hash: str


@dataclass(frozen=True, eq=False)
class ActivationMeans:
    """Mean projection inputs over the response span, every example weighing the same (method, step 0)."""

    spec: ModelSpec
    positive: tuple[Tensor, ...]
    """per site (n_components * width,)"""
    negative: tuple[Tensor, ...]
    """per site (n_components * width,)"""
    n_positive: int
    n_negative: int
    n_tokens: int
    """Response tokens averaged, both sides together."""
    provenance: Provenance

    def __post_init__(self) -> None:
        sizes = [(site.n_inputs,) for site in self.spec.sites]
        check_shapes("ActivationMeans.positive", self.positive, sizes)
        check_shapes("ActivationMeans.negative", self.negative, sizes)


@dataclass(frozen=True, eq=False)
class SteeringDirections:
    """v = mean output (positive) - mean output (negative) of every projection, split into direction and length."""

    spec: ModelSpec
    unit: tuple[Tensor, ...]
    """per site (d,); zero where both sides have the same mean"""
    norm: Tensor
    """(sites,)"""
    provenance: Provenance

    def __post_init__(self) -> None:
        check_shapes("SteeringDirections.unit", self.unit, [(self.spec.d_model,)] * len(self.spec.sites))
        check_shapes("SteeringDirections.norm", (self.norm,), [(len(self.spec.sites),)])


@dataclass(frozen=True, eq=False)
class ComponentScores:
    """How much every component writes along its site's steering direction (method, steps 2 and 3)."""

    spec: ModelSpec
    g: tuple[Tensor, ...]
    """per site (n_components,), cosine in [-1, 1]"""
    keys: tuple[Tensor, ...]
    """per site (n_components, width): unit rows; +1, -1 or 0 for a neuron"""
    weight_norms: tuple[Tensor, ...]
    """per site (n_components,): Frobenius norm of the component's weight block"""
    contributions: tuple[Tensor, ...]
    """per site (n_components,): u . W_i xbar_i, what the component writes along the direction on average"""
    provenance: Provenance

    def __post_init__(self) -> None:
        counts = [(site.n_components,) for site in self.spec.sites]
        check_shapes("ComponentScores.g", self.g, counts)
        check_shapes("ComponentScores.keys", self.keys, [(s.n_components, s.width) for s in self.spec.sites])
        check_shapes("ComponentScores.weight_norms", self.weight_norms, counts)
        check_shapes("ComponentScores.contributions", self.contributions, counts)

    def grid(self, kind: Kind) -> Tensor:
        """g as (L, widest layer), NaN where a layer has no such component: the heatmap."""
        return layer_grid(self.spec, kind, self.g)


@dataclass(frozen=True, eq=False)
class Selection:
    """Which components an edit may touch. By default every one whose |g| is above the threshold rho * alpha."""

    only: frozenset[Component] | None = None
    """Restrict the components above the threshold to these; None restricts nothing."""
    included: frozenset[Component] = frozenset()
    """Chosen by hand: the threshold is waived, lambda = g / (rho * (1 - alpha))."""
    excluded: frozenset[Component] = frozenset()
    """Left alone whatever their score."""
    layers: tuple[int, int] | None = None
    """First and last layer, inclusive, for the components above the threshold; None means all."""


@dataclass(frozen=True, eq=False)
class EditSettings:
    """The dials of the edit: threshold rho * alpha and gain 1 / (rho * (1 - alpha)) per kind, and multipliers."""

    rho_attn: float | None
    """Budget of the attention heads, > 0; None leaves all heads alone."""
    rho_mlp: float | None
    """Budget of the MLP neurons, > 0; None leaves all neurons alone."""
    alpha: float
    """Share of the L1 part in the budget, 0 <= alpha < 1."""
    strength: float = 1.0
    """Multiplies every lambda, >= 0; 1 is the paper's edit."""
    selection: Selection = Selection()
    strengths: Mapping[Component, float] = field(default_factory=lambda: MappingProxyType({}))
    """Further multiplier of single components, >= 0."""

    def __post_init__(self) -> None:
        for name, rho in (("rho_attn", self.rho_attn), ("rho_mlp", self.rho_mlp)):
            if rho is not None and not 0 < rho < float("inf"):
                raise SettingsError(f"{name} is {rho}; it must be a positive number, or off to leave that kind alone.")
        if not 0 <= self.alpha < 1:
            raise SettingsError(f"alpha is {self.alpha}; it must be at least 0 and below 1.")
        for value in (self.strength, *self.strengths.values()):
            if not 0 <= value < float("inf"):
                raise SettingsError(
                    f"A strength is {value}; strengths start at 0. For the opposite behaviour, swap the two sides."
                )

    def rho(self, kind: Kind) -> float | None:
        return self.rho_attn if kind == "heads" else self.rho_mlp


@dataclass(frozen=True, eq=False)
class WeightEdit:
    """The whole edit: the change of a site's weight, in (out, in) order, is outer(left, right)."""

    spec: ModelSpec
    left: tuple[Tensor, ...]
    """per site (d,): u, the unit steering direction"""
    right: tuple[Tensor, ...]
    """per site (n_components * width,): the lambda_i * k_i side by side"""
    strength: tuple[Tensor, ...]
    """per site (n_components,): lambda_i, all multipliers included"""
    settings: EditSettings
    provenance: Provenance

    def __post_init__(self) -> None:
        sites = self.spec.sites
        check_shapes("WeightEdit.left", self.left, [(self.spec.d_model,)] * len(sites))
        check_shapes("WeightEdit.right", self.right, [(site.n_inputs,) for site in sites])
        check_shapes("WeightEdit.strength", self.strength, [(site.n_components,) for site in sites])

    def grid(self, kind: Kind) -> Tensor:
        """lambda as (L, widest layer), NaN where a layer has no such component."""
        return layer_grid(self.spec, kind, self.strength)

    def edited_sites(self) -> tuple[int, ...]:
        """Positions in `spec.sites` of the projections whose weight changes."""
        return tuple(i for i, right in enumerate(self.right) if bool(right.any()) and bool(self.left[i].any()))

    def count(self, kind: Kind) -> int:
        """Number of components of one kind with a lambda other than zero."""
        return sum(int(self.strength[i].count_nonzero()) for i in self.spec.of_kind(kind))

    @property
    def is_empty(self) -> bool:
        return not self.edited_sites()


@dataclass(frozen=True, eq=False)
class Original:
    """Run the model as it was loaded."""


@dataclass(frozen=True, eq=False)
class Edited:
    """Run the model as if the edit were in its weights."""

    edit: WeightEdit


@dataclass(frozen=True, eq=False)
class Steered:
    """Activation steering, the baseline: add gamma * v to the output of every projection, at every position."""

    directions: SteeringDirections
    gamma: float


Variant = Original | Edited | Steered


class WeightSource(Protocol):
    """Anything that knows its sites and can hand out their weights one at a time."""

    @property
    def spec(self) -> ModelSpec: ...

    def weight(self, site: int) -> Tensor:
        """(d, n_components * width), fp32: the projection's weight in (out, in) order, on the model's device."""
        ...


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model, read-only and shared by everybody; owned by whoever loaded it, never kept in a visitor's session."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    spec: ModelSpec
    model_id: str
    revision: str | None
    source: Path
    """Folder with the checkpoint that was loaded: what an export reads."""
    fingerprint: str
    warnings: tuple[str, ...] = ()
    """What a person should know about this model, as sentences."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the model runs: hooks of two visitors must not be on the model together."""

    def weight(self, site: int) -> Tensor:
        """(d, n_components * width), fp32: see `WeightSource.weight`. A view where the model is fp32: never write."""
        module = self.model.get_submodule(self.spec.sites[site].name)
        weight = module.weight.detach()
        return (weight.T if self.spec.sites[site].transposed else weight).float()

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype


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
