"""The settings that are tried against each other: the untouched model, steering strengths, edits, and their grids.

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
from s2e_core.settings import EditSettings, Selection
from s2e_core.settings_json import settings_entry, settings_from
from s2e_core.spec import Component, ModelSpec
from s2e_core.values import Edited, Extraction, Original, Steered, Variant, WeightEdit

Arm = Literal["original", "steering", "edit"]

PAPER_RHO_ATTN = (0.1, 0.2, 0.3, 0.4, 0.5)
PAPER_RHO_MLP = (0.3, 0.45, 0.6, 0.75, 0.9)
PAPER_ALPHA = (0.05, 0.2, 0.4, 0.6, 0.8)
"""Five values each over the spans that the authors sweep: 125 settings."""
PAPER_GAMMA = tuple(round(0.1 * step, 1) for step in range(1, 16))
"""The authors' steering strengths, 0.1 to 1.5."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One thing to try: the untouched model (neither is given), an edit, or activation steering."""

    settings: EditSettings | None = None
    gamma: float | None = None
    name: str = ""
    """What it is called in a plot; made from the settings where it is empty."""

    def __post_init__(self) -> None:
        if self.settings is not None and self.gamma is not None:
            raise SettingsError("A trial is an edit or steering, not both. Give settings or gamma.")
        if self.gamma is not None and not isfinite(self.gamma):
            raise SettingsError(f"The steering strength is {self.gamma}; it must be a finite number.")

    @property
    def arm(self) -> Arm:
        if self.settings is not None:
            return "edit"
        return "original" if self.gamma is None else "steering"

    @property
    def label(self) -> str:
        if self.name:
            return self.name
        if self.settings is None:
            return "original" if self.gamma is None else f"steering γ = {self.gamma:g}"
        return settings_label(self.settings)


def settings_label(settings: EditSettings) -> str:
    """The dials in a few words: "ρ attn 0.3, ρ mlp off, α 0.5, strength 1"."""
    rhos = ("off" if rho is None else f"{rho:.3g}" for rho in (settings.rho_attn, settings.rho_mlp))
    return "ρ attn {}, ρ mlp {}, α {:.3g}, strength {:.3g}".format(*rhos, settings.alpha, settings.strength)


def trial_variant(trial: Trial, extraction: Extraction) -> Variant:
    """What a batch row runs for a trial."""
    if trial.settings is not None:
        return Edited(build_edit(extraction, trial.settings))
    return Original() if trial.gamma is None else Steered(extraction.directions, trial.gamma)


def edit_grid(
    rho_attn: Iterable[float | None] = PAPER_RHO_ATTN,
    rho_mlp: Iterable[float | None] = PAPER_RHO_MLP,
    alpha: Iterable[float] = PAPER_ALPHA,
    strength: Iterable[float] = (1.0,),
) -> tuple[Trial, ...]:
    """Every combination; by default the paper's 125 settings. Both kinds off is no edit and left out."""
    return tuple(
        Trial(EditSettings(attn, mlp, share, strength=factor))
        for attn, mlp, share, factor in product(rho_attn, rho_mlp, alpha, strength)
        if attn is not None or mlp is not None
    )


def steering_grid(gammas: Iterable[float] = PAPER_GAMMA) -> tuple[Trial, ...]:
    """Steering at every strength: the baseline that an edit has to beat."""
    return tuple(Trial(gamma=gamma) for gamma in gammas)


def progressive(edit: WeightEdit, counts: Sequence[int] | None = None) -> tuple[Trial, ...]:
    """The edit with only its strongest components, more and more of them, each with the lambda it has in the whole.

    By default 1, 2, 4, ... up to all of them. "Strongest" is by |lambda|.
    """
    ranked = _ranked(edit)
    counts = counts or [*_doubling(len(ranked)), len(ranked)]
    return tuple(
        Trial(_only(edit.settings, ranked[:count]), name=f"{count} component{'s' * (count != 1)}") for count in counts
    )


def leave_one_out(edit: WeightEdit, most: int = 16) -> tuple[Trial, ...]:
    """The edit without one of its `most` strongest components, for each of them."""
    return tuple(
        Trial(_without(edit.settings, component), name=f"without {_component_name(edit.spec, component)}")
        for component in _ranked(edit)[:most]
    )


def _ranked(edit: WeightEdit) -> list[Component]:
    found = [
        (-abs(value), Component(site, index))
        for site, strengths in enumerate(edit.strength)
        for index, value in enumerate(strengths.tolist())
        if value
    ]
    return [component for _, component in sorted(found)]


def _doubling(end: int) -> Iterable[int]:
    count = 1
    while count < end:
        yield count
        count *= 2


def _only(settings: EditSettings, kept: Sequence[Component]) -> EditSettings:
    """What was chosen by hand stays chosen by hand, with its threshold waived; the rest stays behind the threshold."""
    chosen = frozenset(kept)
    selection = settings.selection
    narrowed = replace(selection, only=chosen, included=selection.included & chosen)
    return replace(settings, selection=narrowed)


def _without(settings: EditSettings, component: Component) -> EditSettings:
    selection: Selection = settings.selection
    return replace(settings, selection=replace(selection, excluded=selection.excluded | {component}))


def _component_name(spec: ModelSpec, component: Component) -> str:
    site = spec.sites[component.site]
    return f"{site.kind.removesuffix('s')} {component.index} of layer {site.layer}"


def trial_entry(trial: Trial) -> dict[str, Any]:
    """A trial as plain JSON."""
    entry: dict[str, Any] = {"name": trial.name}
    if trial.settings is not None:
        entry["settings"] = settings_entry(trial.settings)
    if trial.gamma is not None:
        entry["gamma"] = trial.gamma
    return entry


def trial_from(entry: Mapping[str, Any], spec: ModelSpec) -> Trial:
    """Raises KeyError, TypeError or ValueError for an entry that is incomplete or does not fit the model."""
    settings = settings_from(entry["settings"], spec) if "settings" in entry else None
    gamma = float(entry["gamma"]) if "gamma" in entry else None
    return Trial(settings, gamma, name=str(entry.get("name", "")))


def trial_key(trial: Trial) -> str:
    """Two trials are the same if they run the same, whatever they are called."""
    return repr({**trial_entry(trial), "name": ""})


def edit_size(extraction: Extraction, trial: Trial) -> tuple[int, int] | None:
    """Heads and neurons that a trial's edit touches; None for what is no edit."""
    if trial.settings is None:
        return None
    edit = build_edit(extraction, trial.settings)
    return edit.count("heads"), edit.count("neurons")
