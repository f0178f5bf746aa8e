"""What a tab needs to tell a component from chance: the band of each, and how many pass any threshold by chance.

Knows sessions, the store and the core's values; no page. The other end is components/studio/chance.js.
"""

from __future__ import annotations

from typing import Any

from components.shared import texts
from components.shared.chances import Found
from components.shared.session import Session
from components.shared.store import ModelStore
from s2e_core import S2EError
from s2e_core.measure import is_slow
from s2e_core.why import Chance

from .facts import packed_doubles, packed_floats


def by_chance(store: ModelStore, session: Session, *, begin: bool = False) -> dict[str, Any]:
    """What chance gives, or how far the reading is ("done", "total"), or why there is none ("none").

    A model that reads for long begins only where the visitor says so; until then it "waits".
    """
    if session.origin is not None:
        return {"none": texts.CHANCE_NO_EXAMPLES}
    loaded = store.model(session.model)
    try:
        found = store.chances.ask(loaded, session.scored, begin=begin or not is_slow(loaded))
    except S2EError as reason:
        return {"none": str(reason)}
    if isinstance(found, Found):
        return chance_values(found.chance)
    return {"waits": texts.CHANCE_WAITS} if found is None else {"done": found[0], "total": found[1]}


def known_chance(store: ModelStore, session: Session) -> Chance | None:
    """What chance gives where it has been read already, and None elsewhere; nothing is read for it."""
    if session.origin is not None:
        return None
    try:
        found = store.chances.ask(store.model(session.model), session.scored, begin=False)
    except S2EError:  # the examples are too few
        return None
    return found.chance if isinstance(found, Found) else None


def chance_values(found: Chance) -> dict[str, Any]:
    """The core's values for the tab, of all components through all sites."""
    return {
        "band": packed_floats(found.band),
        "counts": {kind: packed_doubles(counts) for kind, counts in found.false_counts.items()},
        "beyond": dict(found.beyond),
        "n_examples": found.n_examples,
    }
