"""The dials of the edit and the choice of components, as frozen values that are checked when they are made.

Knows the range in which the formulas hold, not the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .errors import SettingsError
from .spec import Component, Kind


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
