"""What a heatmap shows, packed into one dictionary for the browser, and what the browser reports back, checked.

Knows the core's values and numpy; no page, no plot. `select/heatmap.py` is the widget that draws the dictionary.
A grid is (layers, shown): one row a layer, and in each row the components `shown_columns` chose, by their real index.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from s2e_core import Component, ComponentScores, WeightEdit
from s2e_core.method import relative_changes
from s2e_core.model import grid_parts
from s2e_core.spec import Kind, ModelSpec, grid_component, layer_grid

Mode = Literal["g", "lambda", "when"]
Order = Literal["index", "strength"]
Action = Literal["toggle", "include", "exclude"]

EXISTS, EDITED, INCLUDED, EXCLUDED = 1, 2, 4, 8
"""Bits of a cell's state."""
EXACT_CELLS = 65_536
"""Grids up to this size carry float32 figures; larger ones are rounded to a 32767th of the largest."""
MAX_CELLS_PER_PICK = 4_096
WORDS: Mapping[Mode, tuple[str, str, str]] = {
    "g": ("against", "neither", "for the behaviour"),
    "lambda": ("weakened", "left as it is", "amplified"),
    "when": ("on harmless texts", "alike", "on the behaviour's texts"),
}


class InvalidPick(ValueError):
    """An event the widget cannot have sent for the grid on show: forged, or of a grid since replaced. Ignore it."""


@dataclass(frozen=True, eq=False)
class Pick:
    """What a person did: which components to toggle, include or exclude."""

    seq: int
    """Grows with every action of one browser tab; hand it back through `heatmap_value(seq=...)`."""
    action: Action
    cells: tuple[tuple[int, int], ...]
    """(layer, index within the layer), every one of them existing, none twice."""

    def components(self, spec: ModelSpec, kind: Kind) -> tuple[Component, ...]:
        """The same cells as the core's components."""
        found = (grid_component(spec, kind, layer, column) for layer, column in self.cells)
        return tuple(component for component in found if component is not None)


def shown_columns(
    scores: ComponentScores, kind: Kind, *, limit: int | None = 1000, order: Order = "index"
) -> NDArray[np.int32]:
    """Which components each row shows: (L, min(limit, widest layer)) indices within the layer, -1 where there is none.

    Each layer keeps its `limit` components with the largest |g| (None: all), listed by index or strongest first.
    """
    strength = np.abs(scores.grid(kind).numpy())
    ranked = np.argsort(-strength, axis=1, kind="stable").astype(np.int32)  # NaN, no component, comes last
    columns = np.where(np.isnan(np.take_along_axis(strength, ranked, 1)), -1, ranked)[:, :limit]
    if order == "strength":
        return columns
    last = np.iinfo(np.int32).max
    by_index = np.sort(np.where(columns < 0, last, columns), axis=1)
    return np.where(by_index == last, -1, by_index)


def heatmap_value(
    kind: Kind,
    scores: ComponentScores,
    edit: WeightEdit | None = None,
    *,
    columns: NDArray[np.int32] | None = None,
    mode: Mode = "g",
    order: Order = "index",
    title: str = "",
    seq: int = 0,
    firing: Sequence[tuple[Tensor, Tensor]] | None = None,
) -> dict[str, Any]:
    """The widget's `value`. Colour is g, lambda or on minus off of `firing`, over the largest magnitude on show.

    `columns` and `order` come from one call of `shown_columns` (default: its defaults). Without an `edit` every cell
    has full colour; with one, full colour means edited. `seq` is that of the last pick already in `edit`. `firing` is
    `mean_firing` of the edit: per site two tensors (n_components,).
    """
    columns = shown_columns(scores, kind, order=order) if columns is None else columns
    exists, safe = columns >= 0, np.maximum(columns, 0)
    g = np.where(exists, np.take_along_axis(scores.grid(kind).numpy(), safe, 1), np.nan)
    states = exists * np.uint8(EXISTS)
    strength = change = on = off = np.zeros(0, np.float32)
    if edit is not None:
        full_strength = np.take_along_axis(edit.grid(kind).numpy(), safe, 1)
        full_change = np.take_along_axis(layer_grid(scores.spec, kind, relative_changes(scores, edit)).numpy(), safe, 1)
        edited = exists & (full_strength != 0)
        strength, change = full_strength[edited], full_change[edited]
        if firing is not None:
            on, off = (
                np.take_along_axis(layer_grid(scores.spec, kind, side).numpy(), safe, 1)[edited]
                for side in zip(*firing, strict=True)
            )
        states = states | edited * np.uint8(EDITED) | _by_hand(edit, kind, columns)
    return {
        "kind": kind, "mode": mode, "order": order, "title": title, "words": list(WORDS[mode]), "seq": seq,
        "view": view_token(kind, columns), "layers": columns.shape[0], "shown": columns.shape[1],
        "widest": int(scores.grid(kind).shape[1]), "compared": edit is not None,
        "parts": _parts(scores.spec, kind), "columns": None if _is_identity(columns) else _text(columns.astype("<i4")),
        "scale": _largest({"g": g, "lambda": strength, "when": on - off}[mode]),
        "g": _figures(g), "states": _text(states), "strength": _figures(strength), "change": _figures(change),
        "on": _figures(on), "off": _figures(off),
    }  # fmt: skip


def view_token(kind: Kind, columns: NDArray[np.int32]) -> str:
    """Stands for which components are on show; the zoom is kept and picks are accepted while it stays the same."""
    return f"{kind}-{columns.shape[0]}x{columns.shape[1]}-{zlib.crc32(np.ascontiguousarray(columns).tobytes()):08x}"


def read_pick(data: object, kind: Kind, columns: NDArray[np.int32]) -> Pick:
    """Check the data of a `pick` event against the grid on show, trusting nothing in it.

    Raises InvalidPick for a wrong type, an unknown action, a cell that is not on show, or another view's token.
    """
    if not isinstance(data, Mapping):
        raise InvalidPick("A pick is a mapping.")
    if data.get("view") != view_token(kind, columns):
        raise InvalidPick("The pick belongs to another grid.")
    action = data.get("action")
    if action not in get_args(Action):
        raise InvalidPick("The action is none of toggle, include, exclude.")
    seq = _whole(data.get("seq"), 2**53)
    cells = _boxed(data["box"], columns) if "box" in data else _listed(data.get("cells"), columns)
    return Pick(seq, cast(Action, action), cells)


def _listed(cells: object, columns: NDArray[np.int32]) -> tuple[tuple[int, int], ...]:
    if not isinstance(cells, list) or not 1 <= len(cells) <= MAX_CELLS_PER_PICK:
        raise InvalidPick(f"A pick names 1 to {MAX_CELLS_PER_PICK} cells.")
    pairs = [_pair(cell, columns.shape[0], int(columns.max(initial=-1)) + 1) for cell in cells]
    for layer, column in pairs:
        if not (columns[layer] == column).any():
            raise InvalidPick(f"Layer {layer} shows no component {column}.")
    return tuple(dict.fromkeys(pairs))


def _boxed(box: object, columns: NDArray[np.int32]) -> tuple[tuple[int, int], ...]:
    """The existing components between two opposite corners, given as (layer, position on show), both inclusive."""
    if not isinstance(box, list) or len(box) != 2:
        raise InvalidPick("A box has two corners.")
    (y0, x0), (y1, x1) = (_pair(corner, *columns.shape) for corner in box)
    rows = range(min(y0, y1), max(y0, y1) + 1)
    inside = columns[:, min(x0, x1) : max(x0, x1) + 1]
    cells = tuple((layer, int(column)) for layer in rows for column in inside[layer] if column >= 0)
    if not cells:
        raise InvalidPick("The box holds no component.")
    return cells


def _pair(cell: object, n_rows: int, n_columns: int) -> tuple[int, int]:
    if not isinstance(cell, list) or len(cell) != 2:
        raise InvalidPick("A cell is a list of a layer and a column.")
    return _whole(cell[0], n_rows), _whole(cell[1], n_columns)


def _whole(number: object, stop: int) -> int:
    """A whole number in [0, stop); a bool or a float is none."""
    if type(number) is not int or not 0 <= number < stop:
        raise InvalidPick(f"Expected a whole number from 0 to {stop - 1}.")
    return number


def _parts(spec: ModelSpec, kind: Kind) -> list[list[tuple[int, int, int, str]]] | None:
    """Of every layer the projections that stand side by side in its row; None where it is one, without experts."""
    rows = [grid_parts(spec, kind, layer) for layer in range(spec.n_layers)]
    return rows if any(len(row) > 1 or any(experts for _, _, experts, _ in row) for row in rows) else None


def _by_hand(edit: WeightEdit, kind: Kind, columns: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The INCLUDED and EXCLUDED bits, (L, shown)."""
    selection, spec = edit.settings.selection, edit.spec
    marks = np.zeros((columns.shape[0], max(1, int(edit.grid(kind).shape[1]))), np.uint8)
    for bit, components in ((INCLUDED, selection.included), (EXCLUDED, selection.excluded)):
        for layer, column in _cells_of(spec, kind, components):
            marks[layer, column] |= bit
    return np.where(columns >= 0, np.take_along_axis(marks, np.maximum(columns, 0), 1), 0).astype(np.uint8)


def _cells_of(spec: ModelSpec, kind: Kind, components: Iterable[Component]) -> list[tuple[int, int]]:
    """(layer, index within the layer) of every component of one kind."""
    starts, ends = {}, dict.fromkeys(range(spec.n_layers), 0)
    for i in spec.of_kind(kind):
        starts[i] = (spec.sites[i].layer, ends[spec.sites[i].layer])
        ends[spec.sites[i].layer] += spec.sites[i].n_components
    return [(starts[c.site][0], starts[c.site][1] + c.index) for c in components if c.site in starts]


def _is_identity(columns: NDArray[np.int32]) -> bool:
    return bool(((columns == np.arange(columns.shape[1])) | (columns < 0)).all())


def _largest(values: NDArray[np.float32]) -> float:
    """The largest magnitude that is not NaN; 1 where there is none, so that a colour scale can be divided by it."""
    largest = float(np.nanmax(np.abs(values), initial=0.0, where=~np.isnan(values)))
    return largest if largest > 0 and math.isfinite(largest) else 1.0


def _figures(values: NDArray[np.float32]) -> dict[str, Any]:
    """Numbers as base64: float32, or beyond EXACT_CELLS int16 in units of `unit`, with -32768 for NaN."""
    if values.size <= EXACT_CELLS:
        return {"type": "f4", "unit": 1.0, "data": _text(values.astype("<f4"))}
    unit = _largest(values) / 32767
    rounded = np.where(np.isnan(values), -32768, np.rint(np.nan_to_num(values) / unit))
    return {"type": "i2", "unit": unit, "data": _text(rounded.astype("<i2"))}


def _text(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
