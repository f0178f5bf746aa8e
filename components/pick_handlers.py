"""What a click on a heatmap or in the table does: (session, event data) to session.

Knows the dials and what the browser reports. The data is the client's: whatever does not fit the page is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping

from s2e_core import Component
from s2e_core.spec import Kind

from . import dials
from .heatmap_value import InvalidPick, read_pick
from .session import Session
from .tables import Shown, ranking


def picked(session: Session, kind: Kind, data: object) -> Session:
    """A click, a box or a key on a heatmap."""
    try:
        pick = read_pick(data, kind, session.columns[kind])
    except InvalidPick:
        return session
    components = pick.components(session.scored.scores.spec, kind)
    if pick.action == "toggle":
        changed = dials.toggle(session, components)
    else:
        changed = dials.switch(session, components, pick.action == "include")
    return changed.with_pick(kind, pick.seq)


def ticked(session: Session, shown: Shown, rows: int, data: object) -> Session:
    """The first column of a table row was ticked or unticked."""
    component = _row_component(session, shown, rows, data)
    if component is None or not isinstance(data, Mapping):
        return session
    return dials.switch(session, [component], str(data.get("value")).lower() == "true")


def inspected(session: Session, shown: Shown, rows: int, data: object) -> Session:
    """A table row was selected."""
    component = _row_component(session, shown, rows, data)
    return session if component is None else session.with_focus(component)


def _row_component(session: Session, shown: Shown, rows: int, data: object) -> Component | None:
    """The component of the row an event names. Rows are those of the ranking, however the browser sorts them."""
    index = data.get("index") if isinstance(data, Mapping) else None
    if not isinstance(index, list) or not index or type(index[0]) is not int:
        return None
    ranked = ranking(session.scored.scores, shown, rows)
    return ranked[index[0]] if 0 <= index[0] < len(ranked) else None
