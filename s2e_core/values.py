"""The values that pass between the stages, from contrast set to weight edit, and the loaded model.

Every value is frozen and compared by identity; change one with `dataclasses.replace`. Tensors are fp32 on the CPU
unless stated otherwise. Symbols: L layers, H query heads, D head width, d residual width, F MLP width. A tuple with one
entry per site is aligned with `ModelSpec.sites`. This file knows no formula, no file and no forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Literal, Protocol

import torch
from torch import Tensor

from .errors import SettingsError
from .settings import EditSettings
from .spec import Kind, ModelSpec, check_finite, check_shapes, layer_grid
from .token_inputs import TokenInputs

Turn = tuple[Literal["user", "assistant"], str]
"""Speaker and text."""


@dataclass(frozen=True, eq=False)
class Example:
    """One prompt with the response that shows, or lacks, the behaviour."""

    prompt: str
    response: str
    system: str | None = None
    earlier: tuple[Turn, ...] = ()
    """Turns of the chat before the prompt, alternately the user's and the assistant's."""
    row: int | None = None
    """Number of the row in its file, for messages; not part of the content."""


@dataclass(frozen=True, eq=False)
class ContrastSet:
    """Examples of the wanted behaviour (positive) and of its opposite (negative); the sides need no pairing."""

    positive: tuple[Example, ...]
    negative: tuple[Example, ...]
    name: str = "contrast set"
    notes: tuple[str, ...] = ()
    """Sentences about what was skipped or looks odd (empty responses, examples on both sides, ...)."""
    content_hash: str = ""
    """SHA-256 of the examples in order, in hexadecimal."""


@dataclass(frozen=True, eq=False)
class Provenance:
    """The model and the examples that a value was computed from; every file we write contains it."""

    model_id: str
    revision: str | None
    fingerprint: str
    """Fingerprint of the weights at the sites; see `loading.fingerprint`."""
    contrast_name: str
    contrast_hash: str
    harmless: str = ""
    """Which harmless texts an edit was fitted on; empty if it needed none."""
    template: str = ""
    """What the chat template was rendered with beside the texts, as JSON; empty if nothing."""

    def to_json(self) -> dict[str, str | None]:
        """Every field by its name; those with a default only if set: files of the paper's edit stay as they were."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("harmless", "template")}


Outliers = Literal["keep", "leave out", "weigh down"]
"""What becomes of positions whose residual norm is an outlier (README, massive activations); "keep" is the paper's."""
OUTLIERS: Outliers = "keep"
"""The default: neither of the others was better on both behaviours that were measured (README, massive activations)."""


@dataclass(frozen=True, eq=False)
class ActivationMeans:
    """Mean projection inputs over the response span, each example with the same weight (README, step 1: direction)."""

    spec: ModelSpec
    positive: tuple[Tensor, ...]
    """Per site: (n_components * width,)."""
    negative: tuple[Tensor, ...]
    """Per site: (n_components * width,)."""
    n_positive: int
    n_negative: int
    n_tokens: int
    """Number of response tokens in the means, both sides together."""
    provenance: Provenance
    more: Mapping[int, Tensor] = field(default_factory=dict)
    """Mean extra output (`Site.has_extra_output`), positive minus negative side: (d,), by index in `spec.sites`."""
    outliers: Outliers = "keep"
    """What became of positions whose residual norm is an outlier."""
    n_outliers: int = 0
    """Number of these positions, among the `n_tokens`, also if they were kept."""

    def __post_init__(self) -> None:
        sizes = [(site.n_inputs,) for site in self.spec.sites]
        check_shapes("ActivationMeans.positive", self.positive, sizes)
        check_shapes("ActivationMeans.negative", self.negative, sizes)
        check_finite("ActivationMeans", (*self.positive, *self.negative, *self.more.values()))

    @property
    def mean(self) -> tuple[Tensor, ...]:
        """xbar, the mean of the two sides' means. Per site: (n_components * width,)."""
        return tuple((p + n) / 2 for p, n in zip(self.positive, self.negative, strict=True))


@dataclass(frozen=True, eq=False)
class MeanInputs:
    """Mean projection inputs without sides: what scores need in addition to a direction from elsewhere.

    They give no direction of their own; `ActivationMeans` gives both.
    """

    spec: ModelSpec
    mean: tuple[Tensor, ...]
    """Mean input xbar. Per site: (n_components * width,)."""
    n_examples: int | None
    """None if the means were computed elsewhere."""
    provenance: Provenance

    def __post_init__(self) -> None:
        check_shapes("MeanInputs.mean", self.mean, [(site.n_inputs,) for site in self.spec.sites])
        check_finite("MeanInputs", self.mean)


@dataclass(frozen=True, eq=False)
class SteeringDirections:
    """v = mean output (positive) - mean output (negative) of every projection, as unit direction u and length.

    See README, step 1: direction.
    """

    spec: ModelSpec
    unit: tuple[Tensor, ...]
    """Unit direction u. Per site: (d,); zero if both sides have the same mean."""
    norm: Tensor
    """Length of v: (sites,)."""
    provenance: Provenance

    def __post_init__(self) -> None:
        check_shapes("SteeringDirections.unit", self.unit, [(self.spec.d_model,)] * len(self.spec.sites))
        check_shapes("SteeringDirections.norm", (self.norm,), [(len(self.spec.sites),)])
        check_finite("SteeringDirections", (*self.unit, self.norm))


@dataclass(frozen=True, eq=False)
class ComponentScores:
    """How much every component writes along its site's direction (README, step 2: alignment and step 3: key)."""

    spec: ModelSpec
    g: tuple[Tensor, ...]
    """Alignment, a cosine in [-1, 1]. Per site: (n_components,)."""
    keys: tuple[Tensor, ...]
    """Key k as unit rows; +1, -1 or 0 for a neuron. Per site: (n_components, width)."""
    weight_norms: tuple[Tensor, ...]
    """Frobenius norm of the component's weight block. Per site: (n_components,)."""
    contributions: tuple[Tensor, ...]
    """Mean output of the component along the direction, u . W_i xbar_i. Per site: (n_components,)."""
    provenance: Provenance

    def __post_init__(self) -> None:
        counts = [(site.n_components,) for site in self.spec.sites]
        check_shapes("ComponentScores.g", self.g, counts)
        check_shapes("ComponentScores.keys", self.keys, [(s.n_components, s.width) for s in self.spec.sites])
        check_shapes("ComponentScores.weight_norms", self.weight_norms, counts)
        check_shapes("ComponentScores.contributions", self.contributions, counts)

    def grid(self, kind: Kind) -> Tensor:
        """The heatmap: g as (L, widest layer), NaN for components that a layer does not have."""
        return layer_grid(self.spec, kind, self.g)


@dataclass(frozen=True, eq=False)
class Extraction:
    """Everything that one model and one contrast set give, computed once: from here on a dial needs no model."""

    means: ActivationMeans | MeanInputs
    """Mean projection inputs; without sides if the directions come from elsewhere."""
    directions: SteeringDirections
    scores: ComponentScores
    token_inputs: TokenInputs | None = None
    """What baked and gated steering are fitted on; None if there are only examples, which are enough for the paper."""

    @property
    def spec(self) -> ModelSpec:
        return self.scores.spec

    @property
    def provenance(self) -> Provenance:
        return self.scores.provenance

    @property
    def outliers(self) -> Outliers:
        """What became of outliers among the positions of the examples; "keep" also if there are none."""
        means = self.means
        return means.outliers if isinstance(means, ActivationMeans) and means.n_outliers else "keep"


@dataclass(frozen=True, eq=False)
class WeightEdit:
    """The whole edit: a site's weight, in (out, in) order, changes by outer(left, right) (README, step 5: edit)."""

    spec: ModelSpec
    left: tuple[Tensor, ...]
    """Unit direction u. Per site: (d,)."""
    right: tuple[Tensor, ...]
    """The vector a, for the elastic net all lambda_i * k_i side by side. Per site: (n_components * width,)."""
    strength: tuple[Tensor, ...]
    """Strength lambda_i = +|a_i| or -|a_i| with all multipliers, + if a_i . k_i >= 0. Per site: (n_components,)."""
    settings: EditSettings
    provenance: Provenance
    also: tuple[WeightEdit, ...] = ()
    """Edits laid on top of this one: the changes of a weight are added up, so that its rank grows with each direction.

    All of them are of the same sites; the other fields are of this edit alone.
    """

    def __post_init__(self) -> None:
        sites = self.spec.sites
        check_shapes("WeightEdit.left", self.left, [(self.spec.d_model,)] * len(sites))
        check_shapes("WeightEdit.right", self.right, [(site.n_inputs,) for site in sites])
        check_shapes("WeightEdit.strength", self.strength, [(site.n_components,) for site in sites])

    def grid(self, kind: Kind) -> Tensor:
        """lambda as (L, widest layer), NaN for components that a layer does not have."""
        return layer_grid(self.spec, kind, self.strength)

    @property
    def parts(self) -> tuple[WeightEdit, ...]:
        """This edit and those on top of it, each alone."""
        return (self, *(part for edit in self.also for part in edit.parts))

    def edited_sites(self) -> tuple[int, ...]:
        """Indices in `spec.sites` of the projections whose weight changes."""
        return tuple(
            i
            for i in range(len(self.spec.sites))
            if any(bool(part.right[i].any()) and bool(part.left[i].any()) for part in self.parts)
        )

    def count(self, kind: Kind) -> int:
        """Number of components of one kind whose lambda is not zero, in any of the edits."""
        return sum(
            int(torch.stack([part.strength[i] for part in self.parts]).any(0).sum()) for i in self.spec.of_kind(kind)
        )

    @property
    def is_empty(self) -> bool:
        return not self.edited_sites()


@dataclass(frozen=True, eq=False)
class Original:
    """Run the untouched model."""


@dataclass(frozen=True, eq=False)
class Edited:
    """Run the model as if the edit were in its weights, and any further edits on top of it."""

    edit: WeightEdit
    also: tuple[WeightEdit, ...] = ()
    """Edits of other behaviours: the changes of a weight are added up, so that its rank grows with every direction."""

    @property
    def parts(self) -> tuple[WeightEdit, ...]:
        """All edits that run, each alone."""
        return tuple(part for edit in (self.edit, *self.also) for part in edit.parts)


@dataclass(frozen=True, eq=False)
class Steered:
    """Activation steering, the baseline: add gamma * v to the output of every projection at every position.

    Raises SettingsError if gamma is not finite.
    """

    directions: SteeringDirections
    gamma: float

    def __post_init__(self) -> None:
        if not isfinite(self.gamma):
            raise SettingsError(f"The steering strength gamma is {self.gamma}; it must be a finite number.")


@dataclass(frozen=True, eq=False)
class Prompted:
    """Run the untouched model with a system prompt before every prompt: what needs no edit at all."""

    system: str


Variant = Original | Edited | Steered | Prompted


def with_system(variant: Variant, system: str | None) -> str | None:
    """The system prompt that a variant reads: its own before that of the question."""
    if not isinstance(variant, Prompted):
        return system
    return f"{variant.system}\n\n{system}" if system else variant.system


class WeightSource(Protocol):
    """Anything that knows its sites and returns their weights one at a time."""

    @property
    def spec(self) -> ModelSpec: ...

    def weight(self, site: int) -> Tensor:
        """The projection's weight (d, n_components * width), fp32, in (out, in) order, on a device of the model."""
        ...

    def blocks(self, site: int) -> Iterator[Tensor]:
        """The same weight as consecutive blocks of columns (d, n): one per fused expert, else a single one."""
        ...
