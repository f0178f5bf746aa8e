"""Whether a score could be luck: intervals of g over the examples, and g with the labels permuted.

Knows the mean inputs of every example and the weights; no forward pass. Each question has its own answer:

- How far does g depend on which examples were drawn? The bootstrap over examples (Efron 1979).
- Do the labels matter to this component? The permutation test (Fisher 1935) of the difference of the sides along the
  component's mean output, g |v|. It is not the cosine that is compared: where the sides differ a lot, a permuted
  direction is again v or -v, only shorter, and its cosines are as large as the true ones.
- How large does |g| get along directions in which the examples differ anyway? The permuted difference of what is left
  of every example after the mean of its side. It has the shape of real activations, which the isotropic null
  (`isotropic.py`) lacks.

Measured on 20 random models with random labels, where 5 % should pass: the permutation test lets 4.9, 5.4 and 5.6 %
pass with 12, 30 and 60 examples a side, the band of chance 7.4, 5.9 and 5.7 %, the isotropic band 12 to 13 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from s2e_core.method import project
from s2e_core.progress import Progress
from s2e_core.spec import KINDS, Kind, ModelSpec
from s2e_core.values import WeightSource

from .example_means import ExampleMeans

DRAWS = 200
"""Number of permutations, and of resamples."""
SEED = 20260209
GRID = 1000
"""Steps of |g| from 0 to 1 at which the expected number of false selections is kept."""
PART = 25
"""Draws whose outputs of all heads of a site are in memory at a time."""


@dataclass(frozen=True, eq=False)
class Chance:
    """How g varies with the examples, and what it would be without a behaviour."""

    spec: ModelSpec
    g: tuple[Tensor, ...]
    """Alignment from the examples that were read. Per site: (n_components,)."""
    low: tuple[Tensor, ...]
    """Lower end of the 95 % bootstrap interval of g over examples. Per site: (n_components,)."""
    high: tuple[Tensor, ...]
    """Upper end of that interval. Per site: (n_components,)."""
    p: tuple[Tensor, ...]
    """Share of permutations, the true labels among them, with at least this g |v|. Per site: (n_components,)."""
    band: tuple[Tensor, ...]
    """Largest |g| along 95 of 100 directions of chance. Per site: (n_components,)."""
    false_counts: Mapping[Kind, Tensor]
    """Mean number of components above |g| = i / GRID along a direction of chance: (GRID + 1,), by kind."""
    beyond: Mapping[Kind, float]
    """Mean number of components above their own band along a direction of chance, by kind."""
    largest: Mapping[Kind, float]
    """Largest |g| of any component of the kind along 95 of 100 directions of chance."""
    n_examples: int
    n_draws: int

    def expected_false(self, kind: Kind, threshold: float) -> float:
        """Mean number of components of a kind that pass a threshold of |g| along directions of chance."""
        return float(self.false_counts[kind][min(GRID, max(0, int(threshold * GRID + 1e-9)))])


def chance(
    loaded: WeightSource,
    means: ExampleMeans,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Chance:
    """Bootstrap and permutation of every component's g, from the kept means of the examples alone.

    Permutations keep the number of examples of each side. `progress` counts sites. Memory beyond the means: `draws`
    mean inputs and scores of one site. Raises Cancelled if `progress` raises it.
    """
    weights = label_weights(len(means.examples), means.n_positive, draws, seed)
    spec = means.spec
    parts = []
    counts = {kind: torch.zeros(GRID + 1, dtype=torch.float64) for kind in KINDS}
    beyond = dict.fromkeys(KINDS, 0.0)
    largest = {kind: torch.zeros(draws) for kind in KINDS}
    for index, site in enumerate(spec.sites):
        differences, centres = _draw(means.inputs[index], weights, means.n_positive, draws)
        scores, lengths = _score(loaded, index, differences, centres)  # (1 + 3 * draws, n_components), (1 + 3 * draws,)
        by_chance = scores[2 * draws + 1 :].abs()
        parts.append(_summary(scores, lengths, draws))
        counts[site.kind] += _exceedances(by_chance) / draws
        beyond[site.kind] += int((by_chance > parts[-1][-1]).sum()) / draws
        largest[site.kind] = torch.maximum(largest[site.kind], by_chance.amax(dim=1))
        if progress is not None:
            progress(index + 1, len(spec.sites))
    g, low, high, p, band = zip(*parts, strict=True)
    tops = {kind: float(values.quantile(0.95)) for kind, values in largest.items()}
    return Chance(spec, g, low, high, p, band, counts, beyond, tops, len(means.examples), draws)


def label_weights(n_examples: int, n_positive: int, draws: int, seed: int) -> Tensor:
    """Share of each example in the mean of each side: (2, 1 + 2 * draws, examples), fp64.

    The first row is that of the true labels, then come `draws` resamples of each side and `draws` permutations.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = torch.zeros(2, 1 + 2 * draws, n_examples, dtype=torch.float64)
    sides = ((0, n_positive), (n_positive, n_examples - n_positive))
    for s, (first, size) in enumerate(sides):
        weights[s, 0, first : first + size] = 1 / size
        drawn = first + torch.randint(size, (draws, size), generator=generator)
        shares = torch.full(drawn.shape, 1 / size, dtype=torch.float64)
        weights[s, 1 : draws + 1].scatter_add_(1, drawn, shares)
    order = torch.stack([torch.randperm(n_examples, generator=generator) for _ in range(draws)])
    for s, (first, size) in enumerate(sides):
        weights[s, draws + 1 :].scatter_(1, order[:, first : first + size], 1 / size)
    return weights


def _draw(inputs: Tensor, weights: Tensor, n_positive: int, draws: int) -> tuple[Tensor, Tensor]:
    """Differences of the sides and their centres for every draw: (1 + 3 * draws, n_captured) each, fp32.

    The rows of `label_weights`, then the permutations of what is left after the mean of each side.
    """
    inputs = inputs.double()
    sides = weights @ inputs  # (2, 1 + 2 * draws, n_captured)
    rest = torch.cat([side - side.mean(dim=0) for side in (inputs[:n_positive], inputs[n_positive:])])
    permuted = weights[:, draws + 1 :] @ rest
    differences = torch.cat([sides[0] - sides[1], permuted[0] - permuted[1]])
    centre = sides.mean(dim=0)
    return differences.float(), torch.cat([centre, centre[:1].expand(draws, -1)]).float()


@torch.no_grad()
def _score(loaded: WeightSource, index: int, differences: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """g (R, n_components) of one site along the direction and at the mean input of every row, and |v| (R,)."""
    v = project(loaded, index, differences)  # (R, d)
    units, first, parts = normalize(v, dim=1), 0, []
    width = loaded.spec.sites[index].width
    for block in loaded.blocks(index):  # (d, n)
        parts.append(_score_rows(block, centres[:, first : first + block.shape[1]].to(block), units, width).cpu())
        first += block.shape[1]
    return torch.cat(parts, dim=1), torch.linalg.vector_norm(v, dim=1).cpu()


def _score_rows(block: Tensor, inputs: Tensor, units: Tensor, width: int) -> Tensor:
    """cos(u, W_i x_i) of every row and component: (R, n); `inputs` (R, n * width), `units` (R, d)."""
    contributions = ((units @ block) * inputs).unflatten(1, (-1, width)).sum(dim=2)  # (R, n)
    if width == 1:
        lengths = torch.linalg.vector_norm(block, dim=0) * inputs.abs()
    else:
        blocks = block.unflatten(1, (-1, width))  # (d, n, width)
        parts = inputs.unflatten(1, (-1, width)).split(PART)
        lengths = torch.cat([torch.linalg.vector_norm(torch.einsum("dnw,rnw->rnd", blocks, x), dim=2) for x in parts])
    return torch.where(lengths > 0, contributions / lengths.clamp(min=1e-30), 0.0).clamp(-1, 1)


def _summary(g: Tensor, lengths: Tensor, draws: int) -> tuple[Tensor, ...]:
    """g, low, high, p and band of one site: (n,) each."""
    whole, resamples, permuted, by_chance = g.split([1, draws, draws, draws])
    whole = whole[0]
    ends = torch.quantile(resamples, torch.tensor([0.025, 0.975]), dim=0)
    # A skewed sample of few examples may put the value just outside its own interval.
    low, high = torch.minimum(ends[0], whole), torch.maximum(ends[1], whole)
    apart = permuted.abs() * lengths[draws + 1 : 2 * draws + 1].unsqueeze(1)
    p = (1 + (apart >= whole.abs() * lengths[0]).sum(dim=0)) / (1 + draws)
    return whole, low, high, p, by_chance.abs().quantile(0.95, dim=0)


def _exceedances(values: Tensor) -> Tensor:
    """Number of values above i / GRID for every i: (GRID + 1,); `values` are at least 0."""
    steps = (values.flatten().double() * GRID).ceil().clamp(0, GRID).long()  # above all i < value * GRID
    counts = torch.bincount(steps, minlength=GRID + 1).double()
    return counts.flip(0).cumsum(0).flip(0) - counts
