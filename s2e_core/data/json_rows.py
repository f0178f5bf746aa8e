"""The rows of a table inside a JSON file: in a list, a list per column, two lists, or deeper inside.

Knows the values of a JSON file and the usual names of columns; not what a row contains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from s2e_core.errors import ContrastDataError

from .columns import EXPECTED, KNOWN, NAMES, PAIRS, column_name

SPLITS = frozenset({"train", "training", "validation", "valid", "val", "dev", "test", "eval", "evaluation"})
"""Names of the parts of one data set; two such lists are not two sides."""
DEEPEST = 8


@dataclass(frozen=True, eq=False)
class JsonRows:
    """The rows of a JSON file: one list of them, or two with their names."""

    format: str
    """Description of the format for a person, such as 'JSON, the list "data"'."""
    rows: Sequence[object] = ()
    lists: Mapping[str, Sequence[object]] = field(default_factory=dict)
    """Two lists by name, instead of `rows`."""
    notes: tuple[str, ...] = ()


def find_json_rows(value: object) -> JsonRows:
    """Find the rows in the value of a JSON file. Raises ContrastDataError, naming its content, if there are none."""
    if isinstance(value, list):
        return JsonRows("JSON, a list of rows", value)
    rows = _find_rows(value, DEEPEST)
    if rows is None:
        raise ContrastDataError(f"The JSON file contains {_describe(value)}, and no list of rows in it. {EXPECTED}")
    return rows


def _find_rows(value: object, levels: int) -> JsonRows | None:
    """The rows in an object, or in the only part of it that has any."""
    if not isinstance(value, dict):
        return None
    if (trait := _rows_of_trait(value)) is not None:
        return trait
    lists = {str(key): part for key, part in value.items() if isinstance(part, list)}
    if lists:
        return _rows_of_lists(lists)
    parts = {str(key): part for key, part in value.items() if isinstance(part, dict)}
    rows = _rows_of_objects(parts)
    if rows is not None or not levels:
        return rows
    inside = [rows for part in parts.values() if (rows := _find_rows(part, levels - 1)) is not None]
    return inside[0] if len(inside) == 1 else None


def _rows_of_trait(value: Mapping[str, object]) -> JsonRows | None:
    """Questions under pairs of system prompts, as persona_vectors has them; the model answers them under either."""
    pairs, questions = value.get("instruction"), value.get("questions")
    if not isinstance(pairs, list) or not isinstance(questions, list) or not pairs:
        return None
    if not all(isinstance(pair, dict) and {"pos", "neg"} <= set(pair) for pair in pairs):
        return None
    rows = [
        {"system": pair[side], "prompt": question, "label": side}
        for side in ("pos", "neg")
        for pair in pairs
        for question in questions
    ]
    note = (
        f"{len(questions)} questions, each under {len(pairs)} pairs of system prompts: the model has to answer them "
        "under either prompt of a pair."
    )
    return JsonRows("JSON, a trait as persona_vectors has it", rows, notes=(note,))


def _rows_of_lists(lists: Mapping[str, Sequence[object]]) -> JsonRows:
    wrapped = [row["row"] if isinstance(row, dict) and "row" in row else None for row in lists.get("rows", ())]
    if wrapped and None not in wrapped:  # the format of the Hub's data set viewer
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
        raise ContrastDataError(f"The JSON file contains the lists {', '.join(lists)}, not two. {EXPECTED}")
    return JsonRows("JSON, two lists", lists=lists)


def _rows_of_objects(parts: Mapping[str, Mapping[object, object]]) -> JsonRows | None:
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
    """Whether the lists are columns: equally long, with a prompt, a response or a label in at least two of them."""
    roles = [name for key in lists for role, names in NAMES.items() for name in names if column_name(key) == name]
    return len({len(part) for part in lists.values()}) == 1 and (
        len(roles) > 1 or (len(lists) > 2 and _has_pair(lists))
    )


def _has_pair(lists: Iterable[str]) -> bool:
    names = {column_name(key) for key in lists}
    return any(names >= set(pair) for pair in PAIRS)


def _describe(value: object) -> str:
    if isinstance(value, dict):
        names = ", ".join(str(key)[:40] for key in list(value)[:10])
        return f"an object with the entries {names}" if names else "an object without entries"
    return "a text" if isinstance(value, str) else "one value"
