"""The dials of the edit and the selection of components, as frozen values that are checked on creation.

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
    """The components that an edit may change; by default all whose |g| is above the threshold rho * alpha."""

    only: frozenset[Component] | None = None
    """The only components above the threshold that may change; None if all may."""
    included: frozenset[Component] = frozenset()
    """Components that change without a threshold: lambda = g / (rho * (1 - alpha))."""
    excluded: frozenset[Component] = frozenset()
    """Components that never change, whatever their score."""
    layers: tuple[int, int] | None = None
    """First and last layer (inclusive) in which components above the threshold may change; None if all may."""


@dataclass(frozen=True, eq=False)
class EditSettings:
    """The dials of the edit: threshold rho * alpha and gain 1 / (rho * (1 - alpha)) per kind, and multipliers.

    See README, step 4: strength. Raises SettingsError if a value is outside its range.
    """

    rho_attn: float | None
    """Budget of the attention heads, > 0; None leaves all heads unchanged."""
    rho_mlp: float | None
    """Budget of the MLP neurons, > 0; None leaves all neurons unchanged."""
    alpha: float
    """L1 share of the elastic net, 0 <= alpha < 1."""
    strength: float = 1.0
    """Multiplier of every lambda, >= 0; 1 is the paper's edit."""
    selection: Selection = Selection()
    strengths: Mapping[Component, float] = field(default_factory=lambda: MappingProxyType({}))
    """Additional multipliers of single components, >= 0."""

    def __post_init__(self) -> None:
        for name, rho in (("rho_attn", self.rho_attn), ("rho_mlp", self.rho_mlp)):
            if rho is not None and not 0 < rho < float("inf"):
                raise SettingsError(f"{name} is {rho}; use a positive number, or off to leave that kind unchanged.")
        if not 0 <= self.alpha < 1:
            raise SettingsError(f"alpha is {self.alpha}; it must be at least 0 and below 1.")
        for value in (self.strength, *self.strengths.values()):
            if not 0 <= value < float("inf"):
                raise SettingsError(
                    f"A strength is {value}; it must be 0 or more. For the opposite behaviour, swap the two sides."
                )

    def rho(self, kind: Kind) -> float | None:
        """Budget of one kind; None leaves it unchanged."""
        return self.rho_attn if kind == "heads" else self.rho_mlp
