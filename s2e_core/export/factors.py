"""The change of one weight as two factors: what every kind of adapter contains, each in an orientation of its own.

Knows no file format.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.values import WeightEdit


@dataclass(frozen=True, eq=False)
class Factors:
    """left @ right is the change of a site's weight in (out, in) order."""

    left: Tensor
    """Directions, one column for each: (d, r)."""
    right: Tensor
    """What they are multiplied with: (r, n_inputs), the inputs of fused experts one expert after the other."""

    def by_expert(self, experts: int) -> Tensor:
        """`right` as (experts, r, n): the matrices of fused experts share `left`."""
        return self.right.unflatten(1, (experts, -1)).transpose(0, 1)


def site_factors(edit: WeightEdit, site: int) -> Factors:
    """The factors of one site, by its index in `spec.sites`; r is the same at every site of an edit.

    Edits of the same directions need one column: r is the number of different ones.
    """
    groups = _by_direction(edit)
    left = torch.stack([group[0].left[site] for group in groups], dim=1)
    return Factors(left, torch.stack([_summed([part.right[site] for part in group]) for group in groups]))


def rank_of(edit: WeightEdit) -> int:
    """r: the number of different directions at a site."""
    return len(_by_direction(edit))


def _by_direction(edit: WeightEdit) -> list[list[WeightEdit]]:
    """The edits of an edit, those together whose directions are the same at every site."""
    groups: list[list[WeightEdit]] = []
    for part in edit.parts:
        same = (group for group in groups if all(map(torch.equal, group[0].left, part.left)))
        if (group := next(same, None)) is None:
            groups.append([part])
        else:
            group.append(part)
    return groups


def _summed(rights: list[Tensor]) -> Tensor:
    return rights[0] if len(rights) == 1 else torch.stack(rights).sum(0)
