"""Where the rows of a table stand in a JSON file: a list, a list per column, two lists, or deeper inside.

Knows the values of a JSON file and the names that people give to columns; not what a row holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from s2e_core.errors import ContrastDataError

from .columns import EXPECTED, KNOWN, NAMES, PAIRS, column_name

SPLITS = frozenset({"train", "training", "validation", "valid", "val", "dev", "test", "eval", "evaluation"})
"""Parts of one data set; two such lists are no two sides."""
DEEPEST = 8


@dataclass(frozen=True, eq=False)
class JsonRows:
    """The rows of a JSON file: one list of them, or two with their names."""

    format: str
    """For a person: 'JSON, the list "data"'."""
    rows: Sequence[object] = ()
    lists: Mapping[str, Sequence[object]] = field(default_factory=dict)
    """Two lists by name, in place of `rows`."""
    notes: tuple[str, ...] = ()


def json_rows(value: object) -> JsonRows:
    """Find the rows in a JSON file's value. Raises ContrastDataError, with what it holds, where there are none."""
    if isinstance(value, list):
        return JsonRows("JSON, a list of rows", value)
    found = _found(value, DEEPEST)
    if found is None:
        raise ContrastDataError(f"The JSON file holds {_held(value)}, and no list of rows in it. {EXPECTED}")
    return found


def _found(value: object, deeper: int) -> JsonRows | None:
    """The rows in an object, or in the only part of it that has any."""
    if not isinstance(value, dict):
        return None
    lists = {str(key): part for key, part in value.items() if isinstance(part, list)}
    if lists:
        return _of_lists(lists)
    parts = {str(key): part for key, part in value.items() if isinstance(part, dict)}
    indexed = _indexed(parts)
    if indexed is not None or not deeper:
        return indexed
    inside = [found for part in parts.values() if (found := _found(part, deeper - 1)) is not None]
    return inside[0] if len(inside) == 1 else None


def _of_lists(lists: Mapping[str, Sequence[object]]) -> JsonRows:
    wrapped = [row["row"] if isinstance(row, dict) and "row" in row else None for row in lists.get("rows", ())]
    if wrapped and None not in wrapped:  # as the Hub's data set viewer gives them
        return JsonRows('JSON, the rows in the list "rows"', wrapped)
    if len(lists) == 1:
        key, part = next(iter(lists.items()))
        return JsonRows(f'JSON, the list "{key}"', part)
    if _are_columns(lists):
        return JsonRows(
            "JSON, a list per column",
            [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)],
        )
    if {column_name(key) for key in lists} <= SPLITS:
        names = f"{', '.join(list(lists)[:-1])} and {list(lists)[-1]}"
        note = f"The lists {names} are parts of one data set and were read as one table."
        return JsonRows("JSON, lists of rows", [row for part in lists.values() for row in part], notes=(note,))
    if len(lists) > 2:
        raise ContrastDataError(f"The JSON file holds the lists {', '.join(lists)}, not two. {EXPECTED}")
    return JsonRows("JSON, two lists", lists=lists)


def _indexed(parts: Mapping[str, Mapping[object, object]]) -> JsonRows | None:
    """The rows of an object with an object per row, or per column, as pandas writes its tables."""
    if not parts:
        return None
    keys = {tuple(part) for part in parts.values()}
    if any(column_name(key) in KNOWN for row in keys for key in row):
        return JsonRows("JSON, an object per row", list(parts.values()))
    if len(keys) == 1 and any(column_name(name) in KNOWN for name in parts):
        rows = [{name: column[key] for name, column in parts.items()} for key in next(iter(keys))]
        return JsonRows("JSON, an object per column", rows)
    return None


def _are_columns(lists: Mapping[str, Sequence[object]]) -> bool:
    """Whether lists stand for columns: equally long, and at least two of them are a prompt, a response or a label."""
    roles = [name for key in lists for role, names in NAMES.items() for name in names if column_name(key) == name]
    return len({len(part) for part in lists.values()}) == 1 and (
        len(roles) > 1 or (len(lists) > 2 and _has_pair(lists))
    )


def _has_pair(lists: Iterable[str]) -> bool:
    names = {column_name(key) for key in lists}
    return any(names >= set(pair) for pair in PAIRS)


def _held(value: object) -> str:
    if isinstance(value, dict):
        names = ", ".join(str(key)[:40] for key in list(value)[:10])
        return f"an object with the entries {names}" if names else "an object without entries"
    return "a text" if isinstance(value, str) else "one value"
