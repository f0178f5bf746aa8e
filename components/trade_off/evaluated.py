"""All figures of the edit on the page beside the untouched model and steering, as one small frozen value.

Knows sessions and the core's evaluations; no page and no model. It holds figures alone: no edit, no direction, no text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from components.shared.session import Session
from s2e_core import Behavior
from s2e_core.measure import Arm, Estimate, Evaluation, settings_label
from s2e_core.settings_json import settings_to_json
from s2e_core.text import less_is_better

from .lab import Place
from .words import counted

EDIT, STEERING = "edit", "steering"
"""What the variants are called in an evaluation."""


@dataclass(frozen=True, eq=False)
class Column:
    """One variant in the table."""

    arm: Arm
    title: str
    label: str
    """The same for the CSV: the settings of an edit, the strength of steering."""
    figures: Mapping[str, Estimate]
    """By their names in `evaluation.HOW`."""


@dataclass(frozen=True, eq=False)
class InFull:
    """One evaluation, complete."""

    place: Place
    edit: str
    """Which edit was measured; see `edit_key`."""
    behavior: str
    wanted: str
    less_is_better: bool
    prompts: tuple[int, int]
    """Attribute and utility."""
    columns: tuple[Column, ...]
    lead: Estimate | None
    """Attribute of the edit minus that of steering, prompt by prompt; None without steering."""
    total: int = 0
    """Answers and texts."""
    seconds: float = 0.0
    made: int = field(default_factory=time.monotonic_ns)

    def column(self, arm: Arm) -> Column | None:
        return next((column for column in self.columns if column.arm == arm), None)

    def is_earlier(self, session: Session) -> bool:
        """Whether the edit on the page is another one by now."""
        return self.edit != edit_key(session)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What one visitor has measured in full, the latest of each model and behaviour."""

    made: Mapping[Place, InFull] = field(default_factory=lambda: MappingProxyType({}))
    running: bool = False
    said: str = ""
    """About the latest run where it came to nothing."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Evaluated:
        return self

    def of(self, session: Session) -> InFull | None:
        return self.made.get(Place.of(session))

    def with_running(self, running: bool, said: str = "") -> Evaluated:
        return replace(self, running=running, said=said)

    def with_full(self, full: InFull) -> Evaluated:
        return Evaluated(MappingProxyType({**self.made, full.place: full}))


def edit_key(session: Session) -> str:
    """The same for two edits that follow from the same settings; an edit from a file is a case of its own."""
    if session.brought is not None:
        return session.brought.key
    return json.dumps(settings_to_json(session.settings), sort_keys=True)


def in_full(
    session: Session, behavior: Behavior, evaluations: Sequence[Evaluation], gamma: float | None, **spent: Any
) -> InFull:
    """The figures of an evaluation whose variants are called EDIT and STEERING. `spent` is `total` and `seconds`."""
    first, *rest = evaluations
    edit = next(one for one in rest if one.label == EDIT)
    steered = next((one for one in rest if one.label == STEERING), None)
    size = session.edit.count("heads"), session.edit.count("neurons")
    columns = [
        Column("original", "Untouched model", first.label, first.figures()),
        Column("edit", f"Edit of {counted(size)}", settings_label(session.edit.settings), edit.figures()),
    ]
    if steered is not None:
        columns.append(Column("steering", f"Steering, γ = {gamma:g}", f"steering γ = {gamma:g}", steered.figures()))
    return InFull(
        place=Place.of(session), edit=edit_key(session), behavior=behavior.title, wanted=behavior.positive,
        less_is_better=less_is_better(str(behavior.attribute[0]["kind"])),
        prompts=(first.result.attribute.count, first.result.utility.count),
        columns=tuple(columns), lead=edit.against.get(STEERING), **spent,
    )  # fmt: skip
