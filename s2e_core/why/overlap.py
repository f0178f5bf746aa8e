"""Two edits of one model beside each other: which components both change, and whether they pull the same way.

Knows edits, whose change of a component is u a_i^T; no model. The inner product of two such changes is (u . u') (a_i .
a'_i): their cosine says how far one does what the other does, whatever the signs of lambda. The same cosine with a
direction alone says what an edit writes besides what it was made for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.errors import SettingsError
from s2e_core.spec import KINDS, Component, Kind, ModelSpec
from s2e_core.values import SteeringDirections, WeightEdit

CLEAR = 0.1
"""Least |cosine| of two changes that pull clearly together or clearly against each other."""


@dataclass(frozen=True, eq=False)
class Shared:
    """A component that both edits change."""

    component: Component
    kind: Kind
    strengths: tuple[float, float]
    """Strengths lambda in the first and in the second edit."""
    cosine: float
    """Cosine of the two changes of its weights; -1: each undoes the other."""
    weight: float
    """Product of the norms of the two changes: how much their agreement or conflict matters."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """Where two edits meet."""

    spec: ModelSpec
    counts: tuple[dict[Kind, int], dict[Kind, int]]
    """Number of components that the first and the second edit change, by kind."""
    shared: tuple[Shared, ...]
    """Components that both change, those where most is at stake (|cosine| times weight) first."""
    expected: dict[Kind, float]
    """Number of shared components of two edits of as many components that are drawn at random, by kind."""
    cosine: float
    """Cosine of the two edits as a whole, <dW, dW'> / (|dW| |dW'|) over all sites."""
    size: float
    """Norm |dW + dW'| relative to two edits of their sizes that have nothing to do with each other."""

    def count(self, kind: Kind) -> int:
        """Number of shared components of a kind."""
        return sum(one.kind == kind for one in self.shared)

    @property
    def together(self) -> tuple[Shared, ...]:
        """Shared components whose changes clearly have the same direction."""
        return tuple(one for one in self.shared if one.cosine >= CLEAR)

    @property
    def opposed(self) -> tuple[Shared, ...]:
        """Shared components whose changes are clearly opposed: the conflict."""
        return tuple(one for one in self.shared if one.cosine <= -CLEAR)


def find_overlap(first: WeightEdit, second: WeightEdit) -> Overlap:
    """Compare two edits component by component, each with everything on top of it.

    Raises SettingsError if they are edits of different models or if one of them is empty.
    """
    spec = first.spec
    if not spec.same_sites(second.spec) or first.provenance.fingerprint != second.provenance.fingerprint:
        raise SettingsError("The two edits were made for different models. Lay edits of one model on each other.")
    if first.is_empty or second.is_empty:
        raise SettingsError("One of the two edits changes nothing. Raise its strength or choose components first.")
    sites = [_products(first, second, i) for i in range(len(spec.sites))]  # (3, n): <a, a>, <b, b>, <a, b>
    whole = torch.cat(sites, dim=1).sum(dim=1).tolist()
    shared = [one for i, products in enumerate(sites) for one in _shared(first, second, i, products)]
    edited = [{kind: edit.count(kind) for kind in KINDS} for edit in (first, second)]
    total = {kind: spec.n_components(kind) for kind in KINDS}
    return Overlap(
        spec,
        (edited[0], edited[1]),
        tuple(sorted(shared, key=lambda one: -abs(one.cosine) * one.weight)),
        {kind: edited[0][kind] * edited[1][kind] / total[kind] if total[kind] else 0.0 for kind in KINDS},
        whole[2] / (whole[0] * whole[1]) ** 0.5,
        max(0.0, 1 + 2 * whole[2] / (whole[0] + whole[1])) ** 0.5,
    )


def _products(first: WeightEdit, second: WeightEdit, site: int) -> Tensor:
    """Inner products of the changes of every component of a site: (3, n_components), fp64."""
    pairs = ((first, first), (second, second), (first, second))
    return torch.stack([sum(_inner(a, b, site) for a in one.parts for b in other.parts) for one, other in pairs])


def _inner(a: WeightEdit, b: WeightEdit, site: int) -> Tensor:
    place = a.spec.sites[site]
    along = a.left[site].double() @ b.left[site].double()
    return along * (a.right[site].double() * b.right[site].double()).unflatten(0, (-1, place.width)).sum(dim=1)


def _shared(first: WeightEdit, second: WeightEdit, site: int, products: Tensor) -> list[Shared]:
    own, other, both = products
    weight = (own * other).clamp(min=0).sqrt()
    found = []
    for n in (weight > 0).nonzero().squeeze(1).tolist():
        strengths = float(first.strength[site][n]), float(second.strength[site][n])
        cosine = max(-1.0, min(1.0, float(both[n] / weight[n])))
        found.append(Shared(Component(site, n), first.spec.sites[site].kind, strengths, cosine, float(weight[n])))
    return found


@dataclass(frozen=True, eq=False)
class DirectionCosine:
    """How far the directions that an edit writes are those of a behaviour."""

    sites: tuple[float | None, ...]
    """Cosine of the edit's and the behaviour's unit directions; None where the edit changes nothing. Per site."""
    mean: float
    """Mean of these cosines, each site weighted by the size |a| of the edit there."""
    share: float
    """Share of the edit's squared change that lies along the behaviour's directions."""
    random: float
    """Standard deviation of the cosine of two random directions, 1 / sqrt(d)."""

    def largest(self, count: int) -> tuple[int, ...]:
        """Indices of the sites with the largest |cosine|, the largest first."""
        found = [(i, value) for i, value in enumerate(self.sites) if value is not None]
        return tuple(i for i, _ in sorted(found, key=lambda one: -abs(one[1]))[:count])


def cosine_with(edit: WeightEdit, directions: SteeringDirections) -> DirectionCosine:
    """Cosines of an edit's directions with those of a behaviour, such as refusal; edits on top of it are left out.

    Raises SettingsError if the edit is empty or the directions are of other sites.
    """
    if not edit.spec.same_sites(directions.spec):
        raise SettingsError("The edit and the directions are of different models. Extract the directions again.")
    cosines = _cosines(edit.left, directions.unit)
    sizes = torch.stack([torch.linalg.vector_norm(a.double()) for a in edit.right]) * torch.tensor(
        [float(u.any()) for u in edit.left], dtype=torch.float64
    )
    if not bool(sizes.any()):
        raise SettingsError("The edit changes nothing. Raise its strength or choose components first.")
    mean, share = (sizes * cosines).sum() / sizes.sum(), (sizes * cosines).square().sum() / sizes.square().sum()
    values = tuple(float(c) if size > 0 else None for c, size in zip(cosines, sizes.tolist(), strict=True))
    return DirectionCosine(values, float(mean), float(share), edit.spec.d_model**-0.5)


def _cosines(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Inner products of unit vectors: (sites,), fp64."""
    return torch.stack([a.double() @ b.double() for a, b in zip(one, other, strict=True)])
