"""The values that pass between the stages, from contrast set to weight edit.

Every value is frozen and compared by identity; a change is `dataclasses.replace`. Tensors are fp32 on the CPU unless
said otherwise. Symbols: L layers, H query heads, D head width, d residual width, F MLP width. Everything known per site
is a tuple aligned with `ModelSpec.sites`. This file knows no formula, no file and no forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from .errors import SettingsError
from .settings import EditSettings
from .spec import Kind, ModelSpec, check_finite, check_shapes, layer_grid

if TYPE_CHECKING:
    pass


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
    more: Mapping[int, Tensor] = field(default_factory=dict)
    """Of the sites that write more than their inputs give, by position in `spec.sites`: (d,), how much more of it they
    write on the positive side than on the negative one."""

    def __post_init__(self) -> None:
        sizes = [(site.n_inputs,) for site in self.spec.sites]
        check_shapes("ActivationMeans.positive", self.positive, sizes)
        check_shapes("ActivationMeans.negative", self.negative, sizes)
        check_finite("ActivationMeans", (*self.positive, *self.negative, *self.more.values()))

    @property
    def mean(self) -> tuple[Tensor, ...]:
        """xbar, the mean of both sides' means: per site (n_components * width,)."""
        return tuple((p + n) / 2 for p, n in zip(self.positive, self.negative, strict=True))


@dataclass(frozen=True, eq=False)
class MeanInputs:
    """Mean projection inputs, sides not told apart: all that scores need beside a direction from elsewhere.

    Without sides there is no direction to be had of them; `ActivationMeans` has both.
    """

    spec: ModelSpec
    mean: tuple[Tensor, ...]
    """xbar: per site (n_components * width,)"""
    n_examples: int | None
    """None where they were computed elsewhere."""
    provenance: Provenance

    def __post_init__(self) -> None:
        check_shapes("MeanInputs.mean", self.mean, [(site.n_inputs,) for site in self.spec.sites])
        check_finite("MeanInputs", self.mean)


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
        check_finite("SteeringDirections", (*self.unit, self.norm))


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
class Extraction:
    """Everything that one model and one contrast set give, computed once: from here on a dial needs no model."""

    means: ActivationMeans | MeanInputs
    """Mean projection inputs; without sides if the directions come from elsewhere."""
    directions: SteeringDirections
    scores: ComponentScores

    @property
    def spec(self) -> ModelSpec:
        return self.scores.spec

    @property
    def provenance(self) -> Provenance:
        return self.scores.provenance


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

    def __post_init__(self) -> None:
        if not isfinite(self.gamma):
            raise SettingsError(f"The steering strength gamma is {self.gamma}; it must be a finite number.")


Variant = Original | Edited | Steered


class WeightSource(Protocol):
    """Anything that knows its sites and can hand out their weights one at a time."""

    @property
    def spec(self) -> ModelSpec: ...

    def weight(self, site: int) -> Tensor:
        """(d, n_components * width), fp32: the projection's weight in (out, in) order, on a device of the model."""
        ...

    def blocks(self, site: int) -> Iterator[Tensor]:
        """The same weight in pieces (d, n), side by side: whole components, few enough of fused experts at a time."""
        ...
