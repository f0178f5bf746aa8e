"""How far examples can be trusted, as one small frozen value per extraction; and what one visitor has checked.

Knows the core's figures; no page and no model. It holds figures per layer alone: no direction and no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from s2e_core.method import Reliability
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
    """At the median site."""
    counts: str
    """How many examples there are and how well they separate, as a sentence."""
    weaknesses: tuple[str, ...]
    """Reasons not to trust the examples, as sentences."""
    resamples: int

    @property
    def is_weak(self) -> bool:
        return bool(self.weaknesses)


@dataclass(frozen=True, eq=False)
class Checks:
    """What one visitor has checked."""

    open: bool | None = None
    """Whether the check is on show; None is as usual: that of own examples is, that of bundled ones is not."""
    found: Mapping[str, Trust] = field(default_factory=lambda: MappingProxyType({}))
    tried: frozenset[str] = frozenset()
    """What was measured or stopped once is not measured again unasked."""
    running: bool = False
    said: str = ""

    def __deepcopy__(self, memo: dict[int, Any]) -> Checks:
        return self


def trust_of(found: Reliability) -> Trust:
    sites = zip(
        found.spec.sites, found.accuracy.tolist(), found.direction_cosine.tolist(), found.g_deviation, strict=True
    )
    layers = tuple(
        LayerTrust(site.layer, site.kind, accuracy, cosine, float(deviation.median()))
        for site, accuracy, cosine, deviation in sites
    )
    return Trust(
        layers, found.spec.n_layers, found.separability, float(found.direction_cosine.median()),
        found.counts(), found.weaknesses(), found.n_resamples,
    )  # fmt: skip
