"""How far a contrast set can be trusted: are its sides separable, would other examples give the same scores?

Knows forward passes and tensors; two passes over the examples. No activation is kept: the first pass adds up weighted
sums (of every fold and every resample), the second reduces each held-out example to one number per site.

How often data is said to be weak was measured on the bundled model and its four behaviours, 15 random draws of each
and of every size (tests/benchmarks/examples_benchmark.py --weak 15 does it again): with labels dealt out at random, and
with 30 % of the examples on the wrong side, in 60 of 60 draws at 8, 16, 32 and 64 examples a side; as the examples are,
in 9 of 60 at 8 a side (all of them the tone, which only some layers carry) and in none of 60 at 16, 32 and 64.
Two models of children's stories with the behaviours for chat models (README) confirm it at 16 and more; at 8 a side, 4
of 72 spoilt draws passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.data import FEW
from s2e_core.errors import ContrastDataError
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.spec import Kind, ModelSpec, layer_grid
from s2e_core.values import ContrastSet

from .capture import Span, reduce_spans, spans_of, weighted_sums
from .directions import projected
from .scores import score_site

FOLDS = 5
RESAMPLES = 20
SEED = 20260209
SEPARABLE = 0.75
"""Held-out accuracy that a quarter of the sites must reach, or the sides are hardly separable; guessing gives 0.5.

Not the median site: a behaviour that only some layers carry is good data, too. With n < 16 examples of the smaller side
the bar is higher, 0.5 + 1/sqrt(n): almost three standard deviations of guessing (`Reliability.bar`). Measured at 16
a side and more: good data at least 0.77, random labels at most 0.69, 30 % on the wrong side at most 0.73.
"""
STABLE_DIRECTION = 0.8
"""Mean cosine of resampled directions with the direction, at the median site, below which chance decides it.

A resample shares examples with the whole: even random labels give about 0.7 (measured: 0.44 to 0.90). Good data at 16 a
side and more gave at least 0.82.
"""
STABLE_SCORE = 0.5
"""Standard deviation of g over |g| above which a score is mostly chance, at the median of the strongest components.

Good data at 16 a side and more gave at most 0.46. Random labels give 0.17 to 0.72, as the strongest of many chance
scores look steadier than they are: it is the accuracy that tells those.
"""
STRONGEST, AT_LEAST = 0.01, 8
"""Share, and smallest number, of a kind's components of the largest |g| that are looked at: those an edit changes."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """How separable the sides and how stable directions and scores are, per site."""

    spec: ModelSpec
    accuracy: Tensor
    """(sites,): share of held-out examples on the right side of the midpoint, the mean of both sides' shares."""
    direction_cosine: Tensor
    """(sites,): mean cosine of the resampled directions with the direction of all examples."""
    g: tuple[Tensor, ...]
    """per site (n_components,): the scores of all examples"""
    g_deviation: tuple[Tensor, ...]
    """per site (n_components,): standard deviation of the scores over the resamples"""
    n_positive: int
    n_negative: int
    n_folds: int
    n_resamples: int

    def grid(self, kind: Kind) -> Tensor:
        """The deviation of g as (L, widest layer), NaN where a layer has no such component."""
        return layer_grid(self.spec, kind, self.g_deviation)

    def noise(self, kind: Kind) -> float | None:
        """Median of deviation / |g| among the strongest components of a kind; None where there are none."""
        sites = self.spec.of_kind(kind)
        if not sites:
            return None
        g, deviation = (torch.cat([values[i] for i in sites]) for values in (self.g, self.g_deviation))
        strongest = g.abs().topk(min(len(g), max(AT_LEAST, round(STRONGEST * len(g))))).indices
        return float((deviation[strongest] / g[strongest].abs().clamp(min=1e-12)).median())

    @property
    def separability(self) -> float:
        """Held-out accuracy that the best quarter of the sites reaches."""
        return float(self.accuracy.quantile(0.75))

    @property
    def bar(self) -> float:
        """The separability that these counts need, so that chance hardly reaches it."""
        return max(SEPARABLE, 0.5 + min(self.n_positive, self.n_negative) ** -0.5)

    @property
    def is_weak(self) -> bool:
        return bool(list(self._weaknesses()))

    def sentences(self) -> tuple[str, ...]:
        """What a person should know: the counts, then every weakness, or that there is none."""
        counted = (
            f"{self.n_positive} positive and {self.n_negative} negative examples; held-out accuracy at the median site "
            f"{_median(self.accuracy):.0%}, in the best quarter {self.separability:.0%} and more (guessing: 50%)."
        )
        return (counted, *(list(self._weaknesses()) or ["The sides are separable and the scores hardly vary."]))

    def _weaknesses(self) -> Iterator[str]:
        if min(self.n_positive, self.n_negative) < FEW:
            yield f"Weak data: with fewer than {FEW} examples a side these figures are chance themselves. Add examples."
        if self.separability < self.bar:
            yield (
                "Weak data: the directions hardly tell held-out examples apart. The sides differ too little or in too "
                "many ways; make them differ in the behaviour alone, or add examples."
            )
        if _median(self.direction_cosine) < STABLE_DIRECTION:
            yield (
                "Weak data: other examples would give another direction (mean cosine of resamples "
                f"{_median(self.direction_cosine):.2f}). Add examples."
            )
        for kind in ("heads", "neurons"):
            noise = self.noise(kind)
            if noise is not None and noise > STABLE_SCORE:
                yield (
                    f"Weak data: the scores of the strongest {kind} vary by {noise:.0%} of their size from resample to "
                    "resample. Add examples."
                )


def reliability(
    loaded: LoadedModel,
    contrast: ContrastSet,
    *,
    folds: int = FOLDS,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Reliability:
    """Cross-validated accuracy of the directions, and the bootstrap (Efron 1979) of directions and scores.

    Accuracy: every `folds`-th example of both sides is held out; the direction comes from the others, and a held-out
    example is on the right side if its mean output along that direction is beyond the midpoint of the others' means.
    Bootstrap: each resample draws every side's examples with replacement. Memory beyond the model: 2 (folds +
    resamples + 1) sums of every site's inputs in fp64, however many examples there are. `progress` counts examples of
    both passes. Raises ContrastDataError where a side has fewer than two usable examples.
    """
    sides = (contrast.positive, contrast.negative)
    named = (f"the positive side of {contrast.name}", f"the negative side of {contrast.name}")
    positive, negative = (spans_of(loaded, side, name) for side, name in zip(sides, named, strict=True))
    n = (len(positive), len(negative))
    if min(n) < 2:
        raise ContrastDataError(f"{n[0]} positive and {n[1]} negative examples: at least two a side are needed.")
    folds = max(2, min(folds, *n))
    spans = [*positive, *negative]
    fold = torch.tensor([i % folds for side in n for i in range(side)])
    weights = torch.cat([_weights(n, fold, folds), _resampled(n, resamples, seed)], dim=1)  # (2, rows, examples)
    step = None if progress is None else lambda done, total: progress(done, 2 * total)
    sums = weighted_sums(loaded, spans, weights.flatten(0, 1), step)
    # per site (2, rows, n_captured): means of both sides over all examples, without each fold, and of each resample
    means = [(s.unflatten(0, (2, -1)) / site.runs) for site, s in zip(loaded.spec.sites, sums, strict=True)]
    step = None if progress is None else lambda done, total: progress(total + done, 2 * total)
    accuracy = _accuracy(loaded, spans, n, fold, [mean[:, 1 : folds + 1] for mean in means], step)
    stable = [_stability(loaded, i, mean[:, [0, *range(folds + 1, mean.shape[1])]]) for i, mean in enumerate(means)]
    cosines, g, deviation = zip(*stable, strict=True)
    return Reliability(loaded.spec, accuracy, torch.stack(cosines), g, deviation, *n, folds, resamples)


def _weights(n: tuple[int, int], fold: Tensor, folds: int) -> Tensor:
    """(2, 1 + folds, examples): the weight of every example in its side's mean of all, and without each fold."""
    side = torch.tensor([0] * n[0] + [1] * n[1])
    used = torch.stack([torch.ones_like(fold), *(fold != k for k in range(folds))]).float()  # (1 + folds, examples)
    both = torch.stack([used * (side == s) for s in (0, 1)])
    return both / both.sum(dim=2, keepdim=True)


def _resampled(n: tuple[int, int], resamples: int, seed: int) -> Tensor:
    """(2, resamples, examples): how often each example was drawn, over the draws of its side."""
    dice = torch.Generator().manual_seed(seed)
    weights = torch.zeros(2, resamples, sum(n))
    for s, (first, size) in enumerate(((0, n[0]), (n[0], n[1]))):
        drawn = first + torch.randint(size, (resamples, size), generator=dice)
        weights[s].scatter_add_(1, drawn, torch.full(drawn.shape, 1 / size))
    return weights


def _accuracy(
    loaded: LoadedModel,
    spans: Sequence[Span],
    n: tuple[int, int],
    fold: Tensor,
    means: Sequence[Tensor],
    progress: Progress | None,
) -> Tensor:
    """(sites,) balanced held-out accuracy; `means` is per site (2, folds, n_captured), of those outside a fold."""
    readers, middles = [], []  # per site (folds, n_captured) and (folds,): W x . v is x . (W^T v)
    for index, (positive, negative) in enumerate(means):
        v = projected(loaded, index, positive - negative)  # (folds, d)
        back = [v @ block for block in loaded.blocks(index)]
        reader = torch.cat([*back, v] if loaded.spec.sites[index].writes_more else back, dim=1).to(positive)
        readers.append(reader)
        middles.append((reader * (positive + negative) / 2).sum(dim=1))
    right = torch.zeros(len(means), len(spans))

    def take(site: int, places: Sequence[int], reduced: Tensor) -> None:
        reader = readers[site][fold[list(places)].to(readers[site].device)]
        along[site, list(places)] += (reduced.to(reader) * reader).sum(dim=1).cpu()

    along = torch.zeros(len(means), len(spans), dtype=means[0].dtype)  # summed over the runs of a site
    reduce_spans(loaded, spans, None, take, progress)
    for index, site in enumerate(loaded.spec.sites):
        beyond = along[index] / site.runs - middles[index].cpu()[fold]
        beyond[n[0] :] *= -1
        right[index] = (beyond > 0).float() + 0.5 * (beyond == 0).float()  # no direction at all is a guess
    return (right[:, : n[0]].mean(dim=1) + right[:, n[0] :].mean(dim=1)) / 2


@torch.no_grad()
def _stability(loaded: LoadedModel, site: int, means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cosine (), g (n,) and its deviation (n,); `means` is a site's (2, 1 + resamples, n_captured), all first."""
    width = loaded.spec.sites[site].width
    units = torch.nn.functional.normalize(projected(loaded, site, means[0] - means[1]), dim=1)  # (1 + resamples, d)
    centres, first, scored = means.mean(dim=0).float(), 0, []  # (1 + resamples, n_captured)
    for block in loaded.blocks(site):  # (d, n)
        inputs = centres[:, first : first + block.shape[1]]
        scored.append(torch.stack([score_site(block, x, u, width)[0] for x, u in zip(inputs, units, strict=True)]))
        first += block.shape[1]
    g = torch.cat(scored, dim=1)
    deviation = g[1:].std(dim=0) if len(g) > 2 else torch.zeros_like(g[0])
    return (units[1:] @ units[0]).mean().cpu(), g[0].cpu(), deviation.cpu()


def _median(values: Tensor) -> float:
    return float(values.median())
