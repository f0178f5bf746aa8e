"""What one browser tab has computed and chosen so far, as one frozen value.

Knows the core's values, no page and no model. Every `with_*` returns a new session and clears what lay downstream of
the change; undo and redo walk through earlier settings, so that no state is ever repaired, only exchanged.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2e_core import (
    ActivationMeans,
    Component,
    ComponentScores,
    ContrastSet,
    EditSettings,
    Extraction,
    SteeringDirections,
    WeightEdit,
    build_edit,
)
from s2e_core.measure import Suggestion
from s2e_core.spec import KINDS, Kind
from s2e_core.values import MeanInputs

from .grid_packing import Mode, shown_columns

OWN = "own"
"""In place of a bundled behaviour's name: the examples are the visitor's."""
MAX_UNDO = 100
DRAG_SECONDS = 1.0
"""A dial that rests longer begins another step of undo."""
MOST_COLUMNS = 1000
"""Components a heatmap shows of each layer, the strongest ones, unless all are asked for."""
MOST_CELLS = 1_000_000
"""What a browser draws at every move of a dial: of many experts, all means the strongest of each layer, too."""


class Lost(Enum):
    """In place of a session that the server does not have: the page lay unused for too long, or the app began anew."""

    LOST = "lost"


@dataclass(frozen=True, eq=False)
class Scored:
    """Everything that follows from a model and a contrast set alone; visitors share it.

    Or from directions out of a file: then `contrast` holds the examples that were on the page before.
    """

    contrast: ContrastSet
    extraction: Extraction
    suggestions: tuple[Suggestion, ...] = ()
    """Suggested settings of every family, the best first; empty for directions out of a file."""

    def suggestion(self, family: str) -> Suggestion | None:
        """The suggestion of a family by its name, such as "gated steering"; None if there is none."""
        return next((each for each in self.suggestions if each.family == family), None)

    @property
    def means(self) -> ActivationMeans | MeanInputs:
        return self.extraction.means

    @property
    def directions(self) -> SteeringDirections:
        return self.extraction.directions

    @property
    def scores(self) -> ComponentScores:
        return self.extraction.scores


@dataclass(frozen=True, eq=False)
class Origin:
    """Where directions come from that were not extracted here."""

    name: str
    """Of the file."""
    sentence: str
    """What was read, and where the mean inputs come from."""


class Step(NamedTuple):
    """A place to go back to. An edit that follows from its settings is built again; a recipe's is kept."""

    settings: EditSettings
    edit: WeightEdit | None = None
    recipe: str = ""


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
    """File name of an uploaded recipe or edit pack when `edit` came from one; else it follows from the settings."""
    origin: Origin | None = None
    """Of directions out of a file; the behaviour's name then stands for the prompts alone."""
    focus: Component | None = None
    """The component in the inspector."""
    past: tuple[Step, ...] = ()
    future: tuple[Step, ...] = ()
    dial: str = ""
    """The dial that was moved last: one drag is one step of undo."""
    made: int = field(default_factory=time.monotonic_ns)
    """When `edit` was made, in ns: ends a drag, and tells this edit from every other."""
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
        cls, model: str, behavior: str, scored: Scored, suggested: EditSettings, *, swapped: bool = False,
        origin: Origin | None = None,
    ) -> Session:  # fmt: skip
        """A fresh chain: nothing of an earlier behaviour or model survives."""
        edit = build_edit(scored.extraction, suggested)
        columns = _columns(scored.scores, MOST_COLUMNS)
        focus = _strongest(scored.scores, edit)
        return cls(
            model, behavior, scored, suggested, edit, suggested, swapped, origin=origin, focus=focus, columns=columns
        )

    @property
    def label(self) -> str:
        """What the visitor's files are called after: the behaviour, or that the edit came from elsewhere."""
        return "imported" if self.origin or self.recipe else self.behavior

    def with_settings(self, settings: EditSettings, *, dial: str = "") -> Session:
        """Other settings and the edit that follows from them; one drag of one dial makes one step of undo."""
        same_drag = bool(dial) and dial == self.dial and time.monotonic_ns() - self.made < DRAG_SECONDS * 1e9
        past = self.past if same_drag else self._past()
        return replace(self._at(Step(settings)), past=past, future=(), dial=dial)

    def undo(self) -> Session:
        if not self.past:
            return self
        *past, step = self.past
        return replace(self._at(step), past=tuple(past), future=(self._step(), *self.future))

    def redo(self) -> Session:
        if not self.future:
            return self
        step, *future = self.future
        return replace(self._at(step), past=self._past(), future=tuple(future))

    def with_recipe(self, edit: WeightEdit, name: str) -> Session:
        """An edit from a file. Made from the same examples, it sets the dials; else it stands until a dial moves."""
        own = self.made_here(edit)
        settings, focus = (edit.settings, self.focus) if own else (self.settings, _strongest(self.scored.scores, edit))
        return replace(self._at(Step(settings, edit, name)), focus=focus, past=self._past(), future=())

    def made_here(self, edit: WeightEdit) -> bool:
        """Whether an edit from a file was made from the directions on the page."""
        return edit.provenance.contrast_hash == self.scored.scores.provenance.contrast_hash

    def with_focus(self, component: Component | None) -> Session:
        return replace(self, focus=component)

    def with_mode(self, mode: Mode) -> Session:
        return replace(self, mode=mode)

    def with_all_columns(self, all_columns: bool) -> Session:
        """Show every component in the heatmaps, or the strongest of each layer."""
        scores = self.scored.scores
        most = max(MOST_COLUMNS, MOST_CELLS // scores.spec.n_layers) if all_columns else MOST_COLUMNS
        return replace(self, columns=_columns(scores, most))

    def with_pick(self, kind: Kind, seq: int) -> Session:
        return replace(self, picks=MappingProxyType({**self.picks, kind: max(seq, self.picks.get(kind, 0))}))

    def _step(self) -> Step:
        return Step(self.settings, self.edit, self.recipe) if self.recipe else Step(self.settings)

    def _past(self) -> tuple[Step, ...]:
        return (*self.past, self._step())[-MAX_UNDO:]

    def _at(self, step: Step) -> Session:
        """The same session with the settings and the edit of a step."""
        edit = step.edit or build_edit(self.scored.extraction, step.settings)
        return replace(self, settings=step.settings, edit=edit, recipe=step.recipe, dial="", made=time.monotonic_ns())


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
