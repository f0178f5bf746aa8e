"""The weight of one site: as its module holds it, and as the formulas read it.

The one place that knows how a projection keeps its weight. Knows no formula and no file; never writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from .spec import Site

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def held_weight(model: PreTrainedModel, site: Site) -> Tensor:
    """As the module holds it: (d, n_components * width), or (n_components * width, d) where `site.transposed`."""
    return model.get_submodule(site.name).get_parameter("weight").detach()


def site_weight(model: PreTrainedModel, site: Site) -> Tensor:
    """(d, n_components * width), fp32, in (out, in) order. A view where the model is fp32."""
    weight = held_weight(model, site)
    return (weight.T if site.transposed else weight).float()
