"""Two lists or files as the two sides of a table: which one is positive, and the columns of each.

Knows tables and columns; not what a row contains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from s2e_core.errors import ContrastDataError

from .columns import Columns, find_columns
from .table import Table


@dataclass(frozen=True, eq=False)
class Sources:
    """Names of the positive and the negative list or file; both empty if there is only one."""

    positive: str = ""
    negative: str = ""


def assign_sources(table: Table, roles: Columns) -> tuple[Sources, Columns]:
    """Decide which list is which side; also the person's roles without those that name lists."""
    if not table.sources:
        return Sources(), roles
    one, other = table.sources
    if {roles.positive, roles.negative} & {one, other}:
        positive = roles.positive or (other if roles.negative == one else one)
        negative = roles.negative or (other if roles.positive == one else one)
        if {positive, negative} != {one, other}:
            raise ContrastDataError(f'The lists are named "{one}" and "{other}". Expected these two as the sides.')
        return Sources(positive, negative), replace(roles, positive=None, negative=None)
    usual = {"negative", "rejected", "neg", "bad"}
    return (Sources(other, one) if one in usual and other not in usual else Sources(one, other)), roles


def columns_by_source(table: Table, sources: Sources, roles: Columns) -> tuple[dict[str, Columns], tuple[str, ...]]:
    """The columns of every list or file, which may have names of their own, and notes."""
    if not sources.positive or not table.rows:
        columns, new_notes = find_columns(table.columns(), roles) if table.rows else (Columns(), ())
        return {"": columns, sources.positive: columns, sources.negative: columns}, new_notes
    find_columns(table.columns(), roles)  # raises unless every column of a role exists in one of the two
    if roles.label is not None:
        raise ContrastDataError(
            f"The {sources.positive} and the {sources.negative} are already the two sides. Leave out the label column."
        )
    by_source: dict[str, Columns] = {}
    notes: list[str] = []
    for source in (sources.positive, sources.negative):
        names = tuple(dict.fromkeys(name for row in table.rows if row.source == source for name in row.cells))
        own = Columns(**{role: column for role, column in roles.roles().items() if column in names})
        columns, new_notes = find_columns(names, own)
        by_source[source] = replace(columns, label=None)  # the lists are the sides, even if a column looks like a label
        notes += [note for note in new_notes if note not in notes]
    one, other = (by_source[source].roles() for source in (sources.positive, sources.negative))
    notes += [f'In the {sources.negative} the {r} is "{c}".' for r, c in other.items() if one and one.get(r) != c]
    return by_source, tuple(notes)
