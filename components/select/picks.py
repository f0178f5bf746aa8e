"""What a click on a heatmap or in the table does: (session, event data) to session.

Knows the dials and what the browser reports. The data is the client's: whatever does not fit the page is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.shared.grid_packing import InvalidPick, read_pick
from components.shared.session import Session
from s2e_core import Component
from s2e_core.spec import KINDS, Kind, grid_component

from . import dials
from .table import Shown, ranking


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


def layers(session: Session, first: float | None, last: float | None) -> Session:
    """The layers from `first` to `last`; a cleared field stands for the end of the range."""
    end = session.scored.scores.spec.n_layers - 1
    return dials.set_layers(session, 0 if first is None else first, end if last is None else last)


def _row_component(session: Session, shown: Shown, rows: int, data: object) -> Component | None:
    """The component of the row an event names: by what the row says where the event carries it, else by its number.
    Rows are those of the ranking, however the browser sorts them."""
    if isinstance(data, Mapping) and isinstance(data.get("row_value"), list):
        return _named(session, data["row_value"])
    index = data.get("index") if isinstance(data, Mapping) else None
    if not isinstance(index, list) or not index or type(index[0]) is not int:
        return None
    ranked = ranking(session.scored.scores, shown, rows)
    return ranked[index[0]] if 0 <= index[0] < len(ranked) else None


def _named(session: Session, row: list[object]) -> Component | None:
    """The component of a row of the table, read from its kind, layer and index."""
    kinds: dict[object, Kind] = {kind.removesuffix("s"): kind for kind in KINDS}
    try:
        _, kind, layer, column = row[:4]
        layer, column = int(str(layer)), int(str(column))
    except ValueError:
        return None
    if not isinstance(kind, str) or kind not in kinds or column < 0:
        return None
    return grid_component(session.scored.scores.spec, kinds[kind], layer, column)
