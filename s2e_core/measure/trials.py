"""The variants that are compared with each other: the untouched model, steering strengths, edits, and their grids.

Knows settings and scores; no model, no prompt and no figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isfinite
from typing import Any, Literal

from s2e_core.errors import SettingsError
from s2e_core.method import build_edit
from s2e_core.settings import EditSettings, Gate, Selection
from s2e_core.settings_json import settings_from_json, settings_to_json
from s2e_core.spec import Component, ModelSpec
from s2e_core.text import counted
from s2e_core.values import Edited, Extraction, Original, Prompted, Steered, Variant, WeightEdit

Arm = Literal["original", "prompt", "steering", "edit"]

PAPER_RHO_ATTN = (0.1, 0.2, 0.3, 0.4, 0.5)
PAPER_RHO_MLP = (0.3, 0.45, 0.6, 0.75, 0.9)
PAPER_ALPHA = (0.05, 0.2, 0.4, 0.6, 0.8)
"""Five values of each dial over the ranges that the authors sweep: 125 settings."""
PAPER_GAMMA = tuple(round(0.1 * step, 1) for step in range(1, 16))
"""Steering strengths of the authors, 0.1 to 1.5."""

LEFT_OUT = "without "
"""Beginning of the name of a trial that leaves one component out; it stands in the file of a sweep."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One thing to try: an edit (`settings`), activation steering (`gamma`), a system prompt, or the untouched model.

    Raises SettingsError for two of them together, and for a gamma that is not finite.
    """

    settings: EditSettings | None = None
    gamma: float | None = None
    name: str = ""
    """Name in tables and plots; if empty, `label` describes the dials."""
    system: str = ""
    """System prompt of the untouched model; empty without one."""

    def __post_init__(self) -> None:
        if (self.settings is not None) + (self.gamma is not None) + bool(self.system) > 1:
            raise SettingsError("A trial is an edit, steering or a system prompt. Give settings, gamma or system.")
        if self.gamma is not None and not isfinite(self.gamma):
            raise SettingsError(f"The steering strength is {self.gamma}; it must be a finite number.")

    @property
    def arm(self) -> Arm:
        if self.settings is not None:
            return "edit"
        if self.system:
            return "prompt"
        return "original" if self.gamma is None else "steering"

    @property
    def label(self) -> str:
        """The name, or else the arm and its dials: "original", "steering γ = 0.3", "ρ attn 0.3, ..., strength 1"."""
        if self.name:
            return self.name
        if self.system:
            return "system prompt"
        if self.settings is not None:
            return self.dials
        return f"steering {self.dials}" if self.gamma is not None else "original"

    @property
    def short_label(self) -> str:
        """The label without a strength of 1, which is the paper's edit."""
        return settings_label(self.settings, short=True) if self.settings and not self.name else self.label

    @property
    def dials(self) -> str:
        """The dials alone: "γ = 0.3", "ρ attn 0.3, ρ mlp off, α 0.5, strength 1"; empty for the untouched model."""
        if self.settings is not None:
            return settings_label(self.settings)
        return "" if self.gamma is None else f"γ = {self.gamma:g}"

    @property
    def left_out(self) -> str:
        """Name of the component that a trial of `leave_one_out` leaves out; empty for every other trial."""
        return self.name.removeprefix(LEFT_OUT) if self.name.startswith(LEFT_OUT) else ""


def settings_label(settings: EditSettings, *, short: bool = False) -> str:
    """The dials in a few words: "ρ attn 0.3, ρ mlp off, α 0.5, strength 1"; `short` leaves out a strength of 1.

    A gate is "γ 0.5, μ 10, 100 components" (without a strength of 1), a sum "ρ attn 0.3, ... + γ 0.5, μ 10, ...".
    """
    parts = [_elastic_label(settings)] if settings.has_elastic_net or settings.gate is None else []
    if settings.gate is not None:
        parts.append(_gate_label(settings.gate))
    label = " + ".join(parts)
    if settings.protect:
        label += f", protect {settings.protect}"
    strength = f"{settings.strength:.3g}"
    alone = settings.gate is not None and len(parts) == 1
    return label if strength == "1" and (short or alone) else f"{label}, strength {strength}"


def _elastic_label(settings: EditSettings) -> str:
    attn, mlp = ("off" if rho is None else f"{rho:.3g}" for rho in (settings.rho_attn, settings.rho_mlp))
    return f"ρ attn {attn}, ρ mlp {mlp}, α {settings.alpha:.3g}"


def _gate_label(gate: Gate) -> str:
    size = "" if gate.size is None else f", {counted(gate.size, 'component')}"
    return f"γ {gate.gamma:.3g}, μ {gate.mu:.3g}{size}"


def trial_variant(trial: Trial, extraction: Extraction) -> Variant:
    """The variant that a trial runs."""
    if trial.settings is not None:
        return Edited(build_edit(extraction, trial.settings))
    if trial.system:
        return Prompted(trial.system)
    return Original() if trial.gamma is None else Steered(extraction.directions, trial.gamma)


def edit_grid(
    rho_attn: Iterable[float | None] = PAPER_RHO_ATTN,
    rho_mlp: Iterable[float | None] = PAPER_RHO_MLP,
    alpha: Iterable[float] = PAPER_ALPHA,
    strength: Iterable[float] = (1.0,),
) -> tuple[Trial, ...]:
    """Every combination; by default the paper's 125 settings. Heads and neurons both off is no edit and is left out."""
    return tuple(
        Trial(EditSettings(attn, mlp, share, strength=factor))
        for attn, mlp, share, factor in product(rho_attn, rho_mlp, alpha, strength)
        if attn is not None or mlp is not None
    )


def steering_grid(gammas: Iterable[float] = PAPER_GAMMA) -> tuple[Trial, ...]:
    """Steering at every strength: the baseline that an edit has to beat."""
    return tuple(Trial(gamma=gamma) for gamma in gammas)


def progressive(edit: WeightEdit, counts: Sequence[int] | None = None) -> tuple[Trial, ...]:
    """The edit with only its strongest components by |lambda|, more and more of them, each with its own lambda.

    By default their numbers are 1, 2, 4, ... up to all of them. A gate is solved again on the components it keeps.
    """
    components = _rank(edit)
    counts = counts or [*_doublings(len(components)), len(components)]
    return tuple(
        Trial(_only(edit.settings, components[:count]), name=f"{count} component{'s' * (count != 1)}")
        for count in counts
    )


def leave_one_out(edit: WeightEdit, most: int = 16) -> tuple[Trial, ...]:
    """For each of the `most` strongest components by |lambda|: the edit without it."""
    return tuple(
        Trial(_without(edit.settings, component), name=f"{LEFT_OUT}{_component_name(edit.spec, component)}")
        for component in _rank(edit)[:most]
    )


def _rank(edit: WeightEdit) -> list[Component]:
    ranks = [
        (-abs(value), Component(site, index))
        for site, strengths in enumerate(edit.strength)
        for index, value in enumerate(strengths.tolist())
        if value
    ]
    return [component for _, component in sorted(ranks)]


def _doublings(end: int) -> Iterable[int]:
    count = 1
    while count < end:
        yield count
        count *= 2


def _only(settings: EditSettings, components: Sequence[Component]) -> EditSettings:
    """What was included by hand has no threshold as before; the rest keeps its threshold."""
    only, selection = frozenset(components), settings.selection
    return replace(settings, selection=replace(selection, only=only, included=selection.included & only))


def _without(settings: EditSettings, component: Component) -> EditSettings:
    selection: Selection = settings.selection
    return replace(settings, selection=replace(selection, excluded=selection.excluded | {component}))


def _component_name(spec: ModelSpec, component: Component) -> str:
    site = spec.sites[component.site]
    return f"{site.kind.removesuffix('s')} {component.index} of layer {site.layer}"


def trial_to_json(trial: Trial) -> dict[str, Any]:
    """A trial as plain JSON."""
    entry: dict[str, Any] = {"name": trial.name}
    if trial.settings is not None:
        entry["settings"] = settings_to_json(trial.settings)
    if trial.gamma is not None:
        entry["gamma"] = trial.gamma
    if trial.system:
        entry["system"] = trial.system
    return entry


def trial_from_json(entry: Mapping[str, Any], spec: ModelSpec) -> Trial:
    """Raises KeyError, TypeError or ValueError for an entry that is incomplete or does not fit the model."""
    settings = settings_from_json(entry["settings"], spec) if "settings" in entry else None
    gamma = float(entry["gamma"]) if "gamma" in entry else None
    return Trial(settings, gamma, name=str(entry.get("name", "")), system=str(entry.get("system", "")))


def trial_key(trial: Trial) -> str:
    """What a trial runs as text, whatever its name: two trials with one key are the same."""
    return repr({**trial_to_json(trial), "name": ""})


def count_edited(extraction: Extraction, trial: Trial) -> tuple[int, int] | None:
    """Heads and neurons that a trial's edit changes; None if the trial is not an edit."""
    if trial.settings is None:
        return None
    edit = build_edit(extraction, trial.settings)
    return edit.count("heads"), edit.count("neurons")
