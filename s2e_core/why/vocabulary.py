"""What a component says: the words that its output vectors push up and down, by two lenses, and where these disagree.

Knows which vectors a component has; how they become logits is in `lens.py` and `jacobian.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.measure import TextSpan
from s2e_core.model import LoadedModel
from s2e_core.spec import Component
from s2e_core.values import Extraction

from .interventions import component_weight
from .jacobian import mean_jacobian
from .lens import TOP, Lens, Words, words

N_OV = 2
"""Number of a head's top OV directions that are read."""
DISAGREE = 0.5
"""Correlation of the two lenses' logits below which they disagree."""


@dataclass(frozen=True, eq=False)
class VectorReading:
    """One vector of the residual stream in words."""

    what: str
    """Name of the vector: "mean output", "OV direction 1", "column" or "direction u"."""
    logit_lens: Words
    jacobian: Words | None
    """Words through the mean Jacobian; None if it was not computed."""
    correlation: float | None
    """Linear correlation of the two lenses' logits over the vocabulary; None without a Jacobian."""
    shared: int | None
    """Number of tokens that both lenses have among the first that each pushes up; None without a Jacobian."""

    @property
    def disagrees(self) -> bool:
        """Whether the layers above turn the vector into something else than the logit lens says."""
        return self.correlation is not None and self.correlation < DISAGREE


def vectors_of(loaded: LoadedModel, extraction: Extraction, component: Component) -> dict[str, Tensor]:
    """The vectors that stand for a component, by name: (d,) each, none of length 0.

    A neuron has its column, with the sign that its mean activation gives it. A head has its mean output and its top OV
    directions: the left singular vectors of its block, each with the sign of the mean output along it. Both have u.
    """
    weight = component_weight(loaded, component)  # (d, width)
    width = weight.shape[1]
    mean = extraction.means.mean[component.site][component.index * width : (component.index + 1) * width]
    output = weight @ mean
    if width == 1:
        found = {"column": weight[:, 0] * (-1.0 if float(mean) < 0 else 1.0)}
    else:
        left = torch.linalg.svd(weight, full_matrices=False).U[:, :N_OV]
        signs = torch.where(left.T @ output < 0, -1.0, 1.0)
        found = {"mean output": output} | {f"OV direction {k + 1}": left[:, k] * signs[k] for k in range(left.shape[1])}
    found["direction u"] = extraction.directions.unit[component.site]
    return {name: vector for name, vector in found.items() if bool(vector.any())}


def read_component(
    loaded: LoadedModel,
    extraction: Extraction,
    component: Component,
    lens: Lens,
    texts: Sequence[TextSpan] = (),
    *,
    count: int = TOP,
) -> tuple[VectorReading, ...]:
    """The words of every vector of a component. Without texts there is no mean Jacobian, which is an average over them.

    Raises S2EError if the Jacobian cannot be computed for this model.
    """
    vectors = vectors_of(loaded, extraction, component)
    if not vectors:
        return ()
    stack = torch.stack(list(vectors.values()))
    stack = stack / torch.linalg.vector_norm(stack, dim=1, keepdim=True)
    direct = lens.logits(stack)
    through = mean_jacobian(loaded, component.site, stack, texts) if texts else None
    return tuple(
        _reading(loaded, what, direct[k], None if through is None else through[k], count)
        for k, what in enumerate(vectors)
    )


def _reading(loaded: LoadedModel, what: str, direct: Tensor, through: Tensor | None, count: int) -> VectorReading:
    said = words(loaded, direct, count)
    if through is None:
        return VectorReading(what, said, None, None, None)
    known = len(loaded.tokenizer)
    pair = torch.stack([direct[:known], through[:known]]).double()
    spread = float(pair.std(dim=1).prod())
    correlation = float(torch.corrcoef(pair)[0, 1]) if spread > 0 else 0.0
    meant = words(loaded, through, count)
    tops = [set(logits[:known].topk(min(count, known)).indices.tolist()) for logits in (direct, through)]
    return VectorReading(what, said, meant, correlation, len(tops[0] & tops[1]))
