"""Several edits of one model as one, each with a strength of its own: the changes of every weight are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from s2e_core.errors import SettingsError
from s2e_core.values import WeightEdit


def combine(edits: Sequence[WeightEdit], strengths: Sequence[float] | None = None) -> WeightEdit:
    """Lay edits on each other, by default as strong as they are.

    Raises SettingsError if there is none, if a strength is missing or not a positive number, or if the edits were made
    for different models.
    """
    strengths = [1.0] * len(edits) if strengths is None else strengths
    if not edits or len(strengths) != len(edits):
        raise SettingsError(f"{len(edits)} edits need as many strengths, and {len(strengths)} were given.")
    first = edits[0]
    for other in edits[1:]:
        one, two = first.provenance, other.provenance
        if one.fingerprint != two.fingerprint or not first.spec.same_sites(other.spec):
            raise SettingsError(
                f"The edits were made for different models, {one.model_id} (weights {one.fingerprint[:12]}) and "
                f"{two.model_id} (weights {two.fingerprint[:12]}); combine edits of one model."
            )
    parts = [scaled(part, factor) for edit, factor in zip(edits, strengths, strict=True) for part in edit.parts]
    return replace(parts[0], also=tuple(parts[1:]))


def scaled(edit: WeightEdit, factor: float) -> WeightEdit:
    """The edit, `factor` times as strong, without those on top of it. Raises SettingsError unless it is above 0."""
    if not (isfinite(factor) and factor > 0):
        raise SettingsError(f"The strength {factor} is not a positive number; write 1 for an edit as it is.")
    return replace(
        edit,
        right=tuple(factor * right for right in edit.right),
        strength=tuple(factor * strength for strength in edit.strength),
        settings=replace(edit.settings, strength=factor * edit.settings.strength),
        also=(),
    )
