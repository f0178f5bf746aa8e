"""What one browser tab has computed and chosen so far, as one frozen value.

Knows the core's values, no page and no model. Every `with_*` returns a new session and clears what lay downstream of
the change; undo and redo walk through earlier settings, so that no state is ever repaired, only exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2e_core import (
    ActivationMeans,
    Component,
    ComponentScores,
    ContrastSet,
    EditSettings,
    SteeringDirections,
    WeightEdit,
    build_edit,
)
from s2e_core.spec import KINDS, Kind

from .heatmap_value import Mode, shown_columns

OWN = "own"
"""In place of a bundled behaviour's name: the examples are the visitor's."""
MAX_UNDO = 100
MOST_COLUMNS = 1000
"""Components a heatmap shows of each layer, the strongest ones, unless all are asked for."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Everything that follows from a model and a contrast set alone; visitors share it."""

    contrast: ContrastSet
    means: ActivationMeans
    directions: SteeringDirections
    scores: ComponentScores


@dataclass(frozen=True, eq=False)
class Session:
    """One visitor's place in the chain from contrast set to edit."""

    model: str
    """Key of the model in the store."""
    behavior: str
    """Name of a bundled behaviour, or OWN."""
    scored: Scored
    settings: EditSettings
    edit: WeightEdit
    suggested: EditSettings
    """Where the behaviour's dials start."""
    swapped: bool = False
    recipe: str = ""
    """File name of an uploaded recipe when `edit` came from one; else the edit follows from the settings."""
    focus: Component | None = None
    """The component in the inspector."""
    past: tuple[EditSettings, ...] = ()
    future: tuple[EditSettings, ...] = ()
    dial: str = ""
    """The dial that was moved last: one drag is one step of undo."""
    columns: Mapping[Kind, NDArray[np.int32]] = field(default_factory=lambda: MappingProxyType({}))
    """Which components the heatmaps show, per kind (L, shown)."""
    mode: Mode = "g"
    """What the heatmaps' colour means."""
    picks: Mapping[Kind, int] = field(default_factory=lambda: MappingProxyType({}))
    """Number of the last click on each heatmap that is already in the settings."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        return self  # a frozen value: gradio's copy per visitor would only cost time

    @classmethod
    def start(
        cls, model: str, behavior: str, scored: Scored, suggested: EditSettings, *, swapped: bool = False
    ) -> Session:
        """A fresh chain: nothing of an earlier behaviour or model survives."""
        edit = build_edit(scored.scores, scored.directions, suggested)
        columns = _columns(scored.scores, MOST_COLUMNS)
        focus = _strongest(scored.scores, edit)
        return cls(model, behavior, scored, suggested, edit, suggested, swapped, focus=focus, columns=columns)

    def with_settings(self, settings: EditSettings, *, dial: str = "") -> Session:
        """Other settings and the edit that follows from them; moves of one and the same dial make one step of undo."""
        same_drag = bool(dial) and dial == self.dial
        past = self.past if same_drag else (*self.past, self.settings)[-MAX_UNDO:]
        return replace(self._settled(settings), past=past, future=(), dial=dial)

    def undo(self) -> Session:
        if not self.past:
            return self
        *past, settings = self.past
        return replace(self._settled(settings), past=tuple(past), future=(self.settings, *self.future), dial="")

    def redo(self) -> Session:
        if not self.future:
            return self
        settings, *future = self.future
        return replace(self._settled(settings), past=(*self.past, self.settings), future=tuple(future), dial="")

    def with_recipe(self, edit: WeightEdit, name: str) -> Session:
        """An edit from a file. Made from the same examples, it sets the dials; else it stands until a dial moves."""
        if edit.provenance.contrast_hash == self.scored.scores.provenance.contrast_hash:
            return replace(self.with_settings(edit.settings), edit=edit, recipe=name)
        return replace(self, edit=edit, recipe=name, focus=_strongest(self.scored.scores, edit), dial="")

    def with_focus(self, component: Component | None) -> Session:
        return replace(self, focus=component)

    def with_mode(self, mode: Mode) -> Session:
        return replace(self, mode=mode)

    def with_all_columns(self, all_columns: bool) -> Session:
        """Show every component in the heatmaps, or the strongest of each layer."""
        return replace(self, columns=_columns(self.scored.scores, None if all_columns else MOST_COLUMNS))

    def with_pick(self, kind: Kind, seq: int) -> Session:
        return replace(self, picks=MappingProxyType({**self.picks, kind: max(seq, self.picks.get(kind, 0))}))

    def _settled(self, settings: EditSettings) -> Session:
        edit = build_edit(self.scored.scores, self.scored.directions, settings)
        return replace(self, settings=settings, edit=edit, recipe="")


def _columns(scores: ComponentScores, limit: int | None) -> Mapping[Kind, NDArray[np.int32]]:
    return MappingProxyType({kind: shown_columns(scores, kind, limit=limit) for kind in KINDS})


def _strongest(scores: ComponentScores, edit: WeightEdit) -> Component | None:
    """The component with the largest |lambda|, or the largest |g|: something to inspect from the start."""
    values = scores.g if edit.is_empty else edit.strength
    best = [(float(value.abs().max()), i) for i, value in enumerate(values) if len(value)]
    if not best:
        return None
    site = max(best)[1]
    return Component(site, int(values[site].abs().argmax()))
