"""The weight of one site: as its module holds it, and as the formulas read it.

The one place that knows how a projection keeps its weight. Knows no formula and no file; never writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from s2e_core.spec import Site

from .placement import whole_weight

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def held_weight(model: PreTrainedModel, site: Site) -> Tensor:
    """As the module holds it: (d, n_components * width), or (n_components * width, d) where `site.transposed`.

    An offloaded one is read from where it is kept, a quantised one turned back into numbers.
    Fused experts stand one behind the other, every one such a matrix: (experts, d, n) or (experts, n, d).
    """
    weight = whole_weight(model.get_submodule(site.name), site.parameter)
    # DBRX keeps the matrices of its experts one below the other in a single one.
    return weight.unflatten(0, (site.experts, -1)) if site.experts and weight.dim() == 2 else weight


def site_weight(model: PreTrainedModel, site: Site) -> Tensor:
    """(d, n_components * width), fp32, in (out, in) order. A view where the model is fp32 and has no fused experts."""
    blocks = list(weight_blocks(model, site))
    return torch.cat(blocks, dim=1) if site.experts else blocks[0]


def weight_blocks(model: PreTrainedModel, site: Site) -> Iterator[Tensor]:
    """The same in pieces side by side, (d, n): one of each fused expert, or the one of a plain projection."""
    weight = held_weight(model, site)
    for matrix in weight if site.experts else weight.unsqueeze(0):
        yield (matrix.T if site.transposed else matrix).float()
