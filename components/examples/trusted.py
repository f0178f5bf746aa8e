"""How far examples can be trusted, as one small frozen value per extraction; and what one visitor has checked.

Knows the core's figures; no page and no model. It holds figures per layer alone: no direction and no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from s2e_core.method import Reliability, Weakness
from s2e_core.spec import Kind


class LayerTrust(NamedTuple):
    """One site."""

    layer: int
    kind: Kind
    accuracy: float
    cosine: float
    deviation: float
    """Median over the site's components of the standard deviation of g."""


@dataclass(frozen=True, eq=False)
class Trust:
    """The figures of one model and one contrast set."""

    layers: tuple[LayerTrust, ...]
    n_layers: int
    separability: float
    """Held-out accuracy that the best quarter of the sites reaches."""
    cosine: float
    """Mean cosine of the resampled directions with the direction, at the median site."""
    summary: str
    """Counts and held-out accuracy, as a sentence."""
    weaknesses: tuple[Weakness, ...]
    resamples: int

    @property
    def is_weak(self) -> bool:
        return bool(self.weaknesses)


@dataclass(frozen=True, eq=False)
class Checks:
    """What one visitor has checked."""

    open: bool | None = None
    """True if the check is on show; None is the default: shown for own examples, hidden for bundled ones."""
    trusts: Mapping[str, Trust] = field(default_factory=lambda: MappingProxyType({}))
    tried_keys: frozenset[str] = frozenset()
    """Keys that were measured or stopped once: they are not measured again unasked."""
    running: bool = False
    status: str = ""

    def __deepcopy__(self, memo: dict[int, Any]) -> Checks:
        return self


def trust_of(reliability: Reliability) -> Trust:
    sites = zip(
        reliability.spec.sites,
        reliability.accuracy.tolist(),
        reliability.direction_cosine.tolist(),
        reliability.g_deviation,
        strict=True,
    )
    layers = tuple(
        LayerTrust(site.layer, site.kind, accuracy, cosine, float(deviation.median()))
        for site, accuracy, cosine, deviation in sites
    )
    return Trust(
        layers, reliability.spec.n_layers, reliability.separability, float(reliability.direction_cosine.median()),
        reliability.summary, reliability.weaknesses, reliability.n_resamples,
    )  # fmt: skip
