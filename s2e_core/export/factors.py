"""The change of one weight as two factors: what every kind of adapter contains, each in an orientation of its own.

Knows no file format.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from s2e_core.values import WeightEdit


@dataclass(frozen=True, eq=False)
class Factors:
    """left @ right is the change of a site's weight in (out, in) order."""

    left: Tensor
    """Directions, one column for each edit: (d, r)."""
    right: Tensor
    """What they are multiplied with: (r, n_inputs), the inputs of fused experts one expert after the other."""

    def by_expert(self, experts: int) -> Tensor:
        """`right` as (experts, r, n): the matrices of fused experts share `left`."""
        return self.right.unflatten(1, (experts, -1)).transpose(0, 1)


def site_factors(edit: WeightEdit, site: int) -> Factors:
    """The factors of one site, by its index in `spec.sites`."""
    return Factors(edit.left[site].unsqueeze(1), edit.right[site].unsqueeze(0))
