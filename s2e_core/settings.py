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
class Gate:
    """The dials of baked and gated steering, which add gamma |v| c to the right vector of every site.

    See README, the families of edits. Raises SettingsError if a value is outside its range.
    """

    gamma: float
    """How much, > 0: 1 writes the steering vector v wherever c . x is 1."""
    mu: float = 0.0
    """How strictly harmless texts are protected, >= 0; 0 is baked steering, which fires everywhere."""
    size: int | None = None
    """Number of components that it is kept to, those that carry most of it; None for all."""

    def __post_init__(self) -> None:
        if not 0 < self.gamma < float("inf"):
            raise SettingsError(f"gamma is {self.gamma}; use a positive number, or leave the gate off.")
        if not 0 <= self.mu < float("inf"):
            raise SettingsError(f"mu is {self.mu}; use 0 for baked steering, or a positive number for a gate.")
        if self.size is not None and self.size < 1:
            raise SettingsError(f"The gate is limited to {self.size} components; use 1 or more, or no limit.")


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
    gate: Gate | None = None
    """Baked or gated steering, alone or added to the elastic net; None for the paper's edit."""
    protect: int = 0
    """Number of the strongest input directions of harmless texts to which every site is made silent, >= 0."""

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
        if self.protect < 0:
            raise SettingsError(f"{self.protect} input directions are to be protected; use 0 or more.")

    @property
    def has_elastic_net(self) -> bool:
        """Whether the paper's formula is part of the edit."""
        return self.rho_attn is not None or self.rho_mlp is not None

    @property
    def needs_texts(self) -> bool:
        """Whether the edit is fitted on texts: a gate on those of the behaviour, mu and `protect` on harmless ones."""
        return self.gate is not None or self.protect > 0

    @property
    def needs_harmless(self) -> bool:
        """Whether the edit is fitted on harmless texts; baked steering is not."""
        return self.protect > 0 or (self.gate is not None and self.gate.mu > 0)

    @property
    def family(self) -> str:
        """Name of the family: "elastic net", "baked steering", "gated steering", or a sum such as these two."""
        parts = ["elastic net"] if self.has_elastic_net or self.gate is None else []
        if self.gate is not None:
            parts.append("gated steering" if self.gate.mu else "baked steering")
        return " + ".join(parts)

    def rho(self, kind: Kind) -> float | None:
        """Budget of one kind; None leaves it unchanged."""
        return self.rho_attn if kind == "heads" else self.rho_mlp
