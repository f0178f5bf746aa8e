"""The weight of one site: as its module stores it, and as the formulas read it.

Only this file knows how a projection stores its weight. It knows no formula and no file, and never writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from s2e_core.spec import Site

from .placement import read_parameter

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def stored_weight(model: PreTrainedModel, site: Site) -> Tensor:
    """The weight as its module stores it: (d, n_components * width), or the transpose if `site.transposed`.

    The weight of fused experts is a stack of such matrices: (experts, d, n) or (experts, n, d). An offloaded weight is
    read from the file or memory that has it; a quantised weight is dequantised.
    """
    weight = read_parameter(model.get_submodule(site.name), site.parameter)
    # DBRX stores the matrices of all its experts below one another, as one matrix.
    return weight.unflatten(0, (site.experts, -1)) if site.experts and weight.dim() == 2 else weight


def site_weight(model: PreTrainedModel, site: Site) -> Tensor:
    """The weight (d, n_components * width), fp32, in (out, in) order; a view if it is fp32 and not of fused experts."""
    blocks = list(weight_blocks(model, site))
    return torch.cat(blocks, dim=1) if site.experts else blocks[0]


def weight_blocks(model: PreTrainedModel, site: Site) -> Iterator[Tensor]:
    """The same weight as consecutive blocks of columns (d, n): one per fused expert, else a single one."""
    weight = stored_weight(model, site)
    for matrix in weight if site.experts else weight.unsqueeze(0):
        yield (matrix.T if site.transposed else matrix).float()
