"""What stands beside the edit: another edit below it, the refusal direction, and how often the edited model refuses.

Knows the store and the core's figures; no event. The refusal direction is that of the model's own safety behaviour,
whose examples are read when they are first needed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from components.shared import texts
from components.shared.progress import progress_bar
from components.shared.session import Session
from components.shared.store import ModelStore
from components.shared.work import Work
from s2e_core import Behavior, Edited, Original, SettingsError, Variant
from s2e_core.measure import Estimate, is_slow
from s2e_core.model import component_label
from s2e_core.progress import Progress
from s2e_core.values import SteeringDirections, WeightEdit
from s2e_core.why import (
    REFUSAL_PROMPTS,
    Overlap,
    Shared,
    cosine_with,
    find_overlap,
    plain,
    refusal_behavior,
    refusal_rates,
)

from . import words
from .checkpoints import behavior_title
from .handlers import number_of

N_LISTED = 8
"""Components of the overlap that are listed on each side."""
FEW_PROMPTS = 12
"""Prompts that a model is asked that answers slowly."""


def neighbours(store: ModelStore, session: Session) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """How far reading is, and at last what stands beside the edit: (HTML, value)."""
    if session.edit.is_empty:
        raise SettingsError(texts.NOTHING_EDITED)
    safety = refusal_behavior(store.fitting(session.model))
    directions = None
    if safety is not None:
        work = Work(lambda progress: store.scored(session.model, safety.contrast, safety, progress=progress))
        with closing(work.ticks()) as ticks:
            for done, total in ticks:
                yield progress_bar(words.BESIDE_READS.format(title=safety.title), done, total), None
        directions = work.result.directions
    yield "", plain({
        "title": _title(store, session),
        "below": session.under.title if session.under else None,
        "overlap": None if session.under is None else _overlap_value(find_overlap(session.edit, session.under.edit)),
        "refusal": [] if directions is None else _refusal_values(store, session, directions),
        "safety": safety.title if safety else None,
    })  # fmt: skip


def _title(store: ModelStore, session: Session) -> str:
    return session.recipe or behavior_title(store, session)


def _overlap_value(found: Overlap) -> dict[str, Any]:
    return {
        "counts": found.counts,
        "expected": found.expected,
        "shared": {kind: found.count(kind) for kind in found.expected},
        "together": len(found.together),
        "opposed": len(found.opposed),
        "cosine": found.cosine,
        "size": found.size,
        "most_together": [_shared_value(found, one) for one in found.together[:N_LISTED]],
        "most_opposed": [_shared_value(found, one) for one in found.opposed[:N_LISTED]],
    }


def _shared_value(found: Overlap, one: Shared) -> dict[str, Any]:
    return {
        "number": number_of(found.spec, one.component),
        "name": component_label(found.spec, one.component),
        "cosine": one.cosine,
        "strengths": one.strengths,
    }


def _refusal_values(store: ModelStore, session: Session, directions: SteeringDirections) -> list[dict[str, Any]]:
    """Cosines with the refusal direction of the edit on the page, and of the one below it."""
    edits = [(_title(store, session), session.edit)]
    if session.under is not None:
        edits.append((session.under.title, session.under.edit))
    return [_refusal_value(title, edit, directions) for title, edit in edits if not edit.is_empty]


def _refusal_value(title: str, edit: WeightEdit, directions: SteeringDirections) -> dict[str, Any]:
    found, sites = cosine_with(edit, directions), edit.spec.sites
    rows = [
        {"layer": sites[i].layer, "kind": sites[i].kind, "cosine": value}
        for i, value in enumerate(found.sites)
        if value is not None
    ]
    return {"title": title, "mean": found.mean, "share": found.share, "random": found.random, "sites": rows}


def refusals(store: ModelStore, session: Session) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """How far asking is, and at last how often the original and the edited model refuse: (HTML, value)."""
    if session.variant.edit.is_empty and session.under is None:
        raise SettingsError(texts.NOTHING_EDITED)
    safety = refusal_behavior(store.fitting(session.model))
    if safety is None:
        raise SettingsError(words.BESIDE_NO_SAFETY)
    loaded, variants = store.model(session.model), _asked(store, session)
    count = FEW_PROMPTS if is_slow(loaded) else REFUSAL_PROMPTS
    stop = threading.Event()

    def stage(progress: Progress) -> tuple[Estimate, ...]:
        return refusal_rates(
            loaded, safety, list(variants.values()), count=count, progress=progress, stop=stop
        )  # fmt: skip

    work = Work(stage)
    try:
        with closing(work.ticks()) as ticks:
            for done, total in ticks:
                said = words.BESIDE_ASKS.format(done=done, total=total) if total else words.MAP_WAITS
                yield progress_bar(said, done, total), None
    finally:
        stop.set()  # also where the visitor pressed Stop
    yield "", rates_value(safety, list(variants), work.result)


def _asked(store: ModelStore, session: Session) -> dict[str, Variant]:
    """The original, the edit on the page, and with one below it that one and both together."""
    title = _title(store, session)
    if session.under is None:
        return {texts.ORIGINAL_COLUMN: Original(), title: session.variant}
    both = words.BESIDE_BOTH.format(one=title, other=session.under.title)
    return {
        texts.ORIGINAL_COLUMN: Original(), title: Edited(session.edit), session.under.title: Edited(session.under.edit),
        both: session.variant,
    }  # fmt: skip


def rates_value(safety: Behavior, labels: list[str], rates: tuple[Estimate, ...]) -> dict[str, Any]:
    """Plain values for the bars."""
    rows = [
        {"label": label, "value": rate.value, "low": rate.low, "high": rate.high}
        for label, rate in zip(labels, rates, strict=True)
    ]
    return {"safety": safety.title, "prompts": rates[0].count, "rows": rows}
