"""Everything that is said of two checkpoints: where they differ, along which behaviours, and the nearest edits.

Knows two sources of weights and extractions of the first; the parts are `difference.py` and `nearest.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.errors import S2EError
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.settings import EditSettings
from s2e_core.values import Extraction, SteeringDirections, WeightEdit, WeightSource

from .difference import WeightDifference, change_along, weight_difference
from .nearest import Nearest, nearest_recipe

FIT_STEPS = 10
"""Steps of the progress in which the nearest recipe is fitted."""


@dataclass(frozen=True, eq=False)
class ExplainedDifference:
    """The difference of two checkpoints, and which edits are nearest to it."""

    difference: WeightDifference
    own: WeightEdit
    """The nearest edit of rank 1, along directions of its own."""
    along: Mapping[str, float]
    """Share of the squared difference along the directions of every behaviour that was asked for, by its name."""
    nearest: Nearest | None = None
    """The nearest recipe of the behaviour; None without one, or if every edit of it is farther than none."""
    reversed: Nearest | None = None
    """The nearest recipe of the opposite change, if that explains more: the second lacks what the first has."""

    @property
    def by_chance(self) -> float:
        """Share along a random direction, which is to be expected."""
        return 1 / self.difference.spec.d_model


def explain_difference(
    first: LoadedModel,
    second: WeightSource,
    extraction: Extraction | None = None,
    *,
    name: str = "difference",
    directions: Mapping[str, SteeringDirections] | None = None,
    known: Sequence[EditSettings] = (),
    progress: Progress | None = None,
) -> ExplainedDifference:
    """Compare two checkpoints, and fit the recipes of a behaviour to their difference.

    `name` is that of the second, for the provenance of the edit; `directions` are those of other behaviours, by name;
    `known` are settings that are tried as they are. `progress` counts sites. Raises S2EError if the models have other
    sites or nothing differs, Cancelled if `progress` raises it.
    """
    spec, other = first.spec, dict(directions or {})
    n = len(spec.sites)
    stages = Stages(progress, difference=n, along=n, fits=FIT_STEPS if extraction else 0)
    difference = weight_difference(first, second, progress=stages.of("difference"))
    if not difference.total:
        raise S2EError("The weights of all heads and neurons are the same in both, bit by bit. Choose another pair.")
    units = [difference.units, *([extraction.directions.unit] if extraction else []), *(d.unit for d in other.values())]
    rows = [torch.stack([unit[i].double() for unit in units]) for i in range(n)]
    parts = change_along(first, second, rows, progress=stages.of("along"))
    own = _own_edit(first, difference, [part[0] for part in parts], extraction, name)
    total = difference.total**2
    shares = [sum(float(part[k].square().sum()) for part in parts) / total for k in range(len(units))]
    nearest = reverse = None
    if extraction is not None:
        nearest, reverse = _nearest(extraction, [part[1] for part in parts], difference, known, stages.of("fits"))
    stages.finish()
    along = dict(zip(other, shares[len(units) - len(other) :], strict=True))
    return ExplainedDifference(difference, own, along, nearest, reverse)


def _nearest(
    extraction: Extraction,
    along: Sequence[Tensor],
    difference: WeightDifference,
    known: Sequence[EditSettings],
    progress: Progress,
) -> tuple[Nearest | None, Nearest | None]:
    def half(first: int) -> Progress:
        return lambda done, total: progress(first + FIT_STEPS * done // (2 * max(total, 1)), FIT_STEPS)

    forward = nearest_recipe(extraction, along, difference.changes, known, progress=half(0))
    if forward is not None and forward.explained > forward.possible / 2:
        return forward, None
    back = nearest_recipe(extraction, [-t for t in along], difference.changes, known, progress=half(FIT_STEPS // 2))
    better = back is not None and back.explained > (forward.explained if forward else 0.0)
    return forward, back if better else None


def _own_edit(
    first: LoadedModel, difference: WeightDifference, right: Sequence[Tensor], extraction: Extraction | None, name: str
) -> WeightEdit:
    """The best matrix of rank 1 for every site, as an edit; u has the sign with which it adds at the mean input.

    Without examples no mean input is known: then it has the sign with which it amplifies on the whole.
    """
    left, rights, strengths = [], [], []
    for i, site in enumerate(difference.spec.sites):
        a, u = right[i].float(), difference.units[i]
        written = torch.cat([u @ block.cpu() for block in first.blocks(i)])  # u^T W, the keys of all components
        inputs = written if extraction is None else extraction.means.mean[i]
        if float(a @ inputs) < 0:
            a, u, written = -a, -u, -written
        blocks = a.unflatten(0, (site.n_components, site.width))
        weakened = (blocks * written.unflatten(0, blocks.shape)).sum(dim=1) < 0
        left.append(u)
        rights.append(a)
        strengths.append(torch.where(weakened, -1.0, 1.0) * torch.linalg.vector_norm(blocks, dim=1))
    digest = hashlib.sha256(b"".join(t.numpy().tobytes() for t in (*left, *rights))).hexdigest()
    settings = EditSettings(1.0, 1.0, 0.0)
    return WeightEdit(
        difference.spec, tuple(left), tuple(rights), tuple(strengths), settings, first.provenance(name, digest)
    )
