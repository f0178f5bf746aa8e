"""What one browser tab asks about: a model, what was extracted from it, and an edit, as one frozen value.

Knows the core's values, no page and no model. It is made from what the tab sends (components/studio/place.py) and lives
as long as the answer; the server keeps none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from s2e_core import (
    ActivationMeans,
    ComponentScores,
    ContrastSet,
    Edited,
    EditSettings,
    Extraction,
    SteeringDirections,
    WeightEdit,
    build_edit,
)
from s2e_core.measure import Suggestion
from s2e_core.values import MeanInputs

OWN = "own"
"""In place of a bundled behaviour's name: the examples are the visitor's."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Everything that follows from a model and a contrast set alone; visitors share it.

    Or from directions out of a file: then `contrast` holds the examples that were on the page before.
    """

    contrast: ContrastSet
    extraction: Extraction
    suggestions: tuple[Suggestion, ...] = ()
    """Suggested settings of every family, the best first; empty for directions out of a file."""
    key: str = ""
    """Names it among the extractions that a server keeps; nobody can guess that of another's examples."""

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


@dataclass(frozen=True, eq=False)
class Brought:
    """A finished edit from a file, which need not follow from the dials."""

    name: str
    """Of the file."""
    key: str
    """Names it among the edits that a server keeps."""
    edit: WeightEdit


@dataclass(frozen=True, eq=False)
class Under:
    """An edit of another behaviour, on top of which that of the page lies."""

    title: str
    """Of its behaviour."""
    edit: WeightEdit


@dataclass(frozen=True, eq=False)
class Session:
    """One visitor's place in the chain from contrast set to edit."""

    model: str
    """Key of the model in the store."""
    behavior: str
    """Name of a bundled behaviour, or OWN."""
    scored: Scored
    settings: EditSettings
    suggested: EditSettings
    """Where the behaviour's dials start."""
    swapped: bool = False
    brought: Brought | None = None
    """The edit of an uploaded file; None if the edit follows from the settings."""
    origin: Origin | None = None
    """Of directions out of a file; the behaviour's name then stands for the prompts alone."""
    under: Under | None = None
    """What lies under the edit in comparisons and downloads; measurements are of the edit alone."""
    made: str = ""
    """Tells this edit from every other of the same tab."""

    @classmethod
    def start(
        cls, model: str, behavior: str, scored: Scored, suggested: EditSettings, *, swapped: bool = False,
        origin: Origin | None = None,
    ) -> Session:  # fmt: skip
        """A fresh chain: nothing of an earlier behaviour or model survives."""
        return cls(model, behavior, scored, suggested, suggested, swapped, origin=origin)

    @cached_property
    def edit(self) -> WeightEdit:
        """The edit on the page."""
        return build_edit(self.scored.extraction, self.settings) if self.brought is None else self.brought.edit

    @property
    def variant(self) -> Edited:
        """What runs as the edited model."""
        return Edited(self.edit, () if self.under is None else (self.under.edit,))

    @property
    def taken(self) -> WeightEdit:
        """What downloads contain: the edit on the page, with the one that lies under it."""
        return self.edit if self.under is None else replace(self.edit, also=(self.under.edit,))

    @property
    def recipe(self) -> str:
        """File name of an uploaded edit; empty if the edit follows from the settings."""
        return "" if self.brought is None else self.brought.name

    @property
    def label(self) -> str:
        """What the visitor's files are called after: the behaviour, or that the edit came from elsewhere."""
        return "imported" if self.origin or self.brought else self.behavior

    def with_settings(self, settings: EditSettings) -> Session:
        """Other settings, and the edit that follows from them."""
        return replace(self, settings=settings, brought=None)

    def with_brought(self, brought: Brought) -> Session:
        """An edit from a file. Made from the same examples, it sets the dials; else it stands until a dial moves."""
        settings = brought.edit.settings if self.made_here(brought.edit) else self.settings
        return replace(self, settings=settings, brought=brought)

    def made_here(self, edit: WeightEdit) -> bool:
        """Whether an edit from a file was made from the directions on the page."""
        return edit.provenance.contrast_hash == self.scored.scores.provenance.contrast_hash
