"""How far a contrast set can be trusted: separability of its sides, stability of its directions and scores.

Knows forward passes and tensors; two passes over the examples. No activation is kept: the first pass adds up weighted
sums (of every fold and every resample), the second reduces each held-out example to one number per site.

How often data is called weak was measured on the bundled model and its four behaviours, with 15 random draws of each
at 8, 16, 32 and 64 examples a side (tests/benchmarks/examples_benchmark.py --weak 15 repeats it). With random labels,
or with 30 % of the examples on the wrong side, 60 of 60 draws are called weak at every size. With the right labels, 9
of 60 are at 8 a side (all of them the tone, which only some layers carry), and none of 60 at 16, 32 and 64. Two models
of children's stories with the behaviours for chat models (README) confirm it at 16 and more; at 8 a side, 4 of 72 draws
with wrong labels passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from s2e_core.data import FEW
from s2e_core.errors import ContrastDataError
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.spec import Kind, ModelSpec, layer_grid
from s2e_core.values import OUTLIERS, ContrastSet, Outliers

from .capture import ExampleSpan, reduce_spans, tokenize_examples, weighted_sums
from .directions import project
from .scores import score_site

FOLDS = 5
RESAMPLES = 20
SEED = 20260209
SEPARABLE = 0.75
"""Held-out accuracy that a quarter of the sites must reach, or the sides count as hardly separable; guessing gives 0.5.

It is not the median site, since a behaviour that only some layers carry is good data too. With n < 16 examples of the
smaller side the bar is higher, 0.5 + 1/sqrt(n): almost three standard deviations of guessing (`Reliability.bar`).
Measured at 16 a side and more: good data at least 0.77, random labels at most 0.69, 30 % on the wrong side at most
0.73.
"""
STABLE_DIRECTION = 0.8
"""Mean cosine of resampled directions with the direction, at the median site, below which chance decides the direction.

A resample shares examples with the whole: even random labels give about 0.7 (measured: 0.44 to 0.90). Good data at 16 a
side and more gave at least 0.82.
"""
STABLE_SCORE = 0.5
"""Standard deviation of g over |g| above which a score is mostly chance, at the median of the strongest components.

Good data at 16 a side and more gave at most 0.46. Random labels give 0.17 to 0.72, as the strongest of many chance
scores look more stable than they are: only the accuracy recognises those.
"""
STRONGEST, AT_LEAST = 0.01, 8
"""Share, and least number, of a kind's components with the largest |g| that count: those that an edit changes."""


WeaknessKind = Literal["few examples", "separability", "direction", "scores"]


@dataclass(frozen=True)
class Weakness:
    """One reason not to trust a contrast set."""

    kind: WeaknessKind
    sentence: str

    @property
    def warning(self) -> str:
        """The sentence, introduced as a weakness."""
        return f"Weak data: {self.sentence[:1].lower()}{self.sentence[1:]}"


@dataclass(frozen=True, eq=False)
class Reliability:
    """How separable the sides are, and how stable directions and scores are, for every site."""

    spec: ModelSpec
    accuracy: Tensor
    """Share of held-out examples on the right side of the midpoint, mean of the two sides' shares: (sites,)."""
    direction_cosine: Tensor
    """Mean cosine of the resampled directions with the direction of all examples: (sites,)."""
    g: tuple[Tensor, ...]
    """Alignment from all examples. Per site: (n_components,)."""
    g_deviation: tuple[Tensor, ...]
    """Standard deviation of the alignment over the resamples. Per site: (n_components,)."""
    n_positive: int
    n_negative: int
    n_folds: int
    n_resamples: int

    def grid(self, kind: Kind) -> Tensor:
        """The deviation of g as (L, widest layer), NaN for components that a layer does not have."""
        return layer_grid(self.spec, kind, self.g_deviation)

    def noise(self, kind: Kind) -> float | None:
        """Median of deviation / |g| among the strongest components of a kind; None if there are none."""
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
        return bool(self.weaknesses)

    @property
    def summary(self) -> str:
        """The counts and the held-out accuracy, as a sentence."""
        return (
            f"{self.n_positive} positive and {self.n_negative} negative examples; held-out accuracy at the median site "
            f"{_median(self.accuracy):.0%}, in the best quarter {self.separability:.0%} and more (guessing: 50%)."
        )

    @property
    def weaknesses(self) -> tuple[Weakness, ...]:
        """Every reason not to trust the examples, the most serious first."""
        return tuple(self._find_weaknesses())

    def sentences(self) -> tuple[str, ...]:
        """What a person should know: the summary, then every weakness, or that there is none."""
        warnings = [weakness.warning for weakness in self.weaknesses]
        return (self.summary, *(warnings or ["The sides are separable and the scores hardly vary."]))

    def _find_weaknesses(self) -> Iterator[Weakness]:
        if min(self.n_positive, self.n_negative) < FEW:
            yield Weakness(
                "few examples",
                f"With fewer than {FEW} examples a side these figures are themselves chance. Add examples.",
            )
        if self.separability < self.bar:
            yield Weakness(
                "separability",
                "The directions hardly separate held-out examples. The sides differ too little or in too many ways; "
                "make them differ in the behaviour alone, or add examples.",
            )
        if _median(self.direction_cosine) < STABLE_DIRECTION:
            yield Weakness(
                "direction",
                "Other examples would give another direction (mean cosine of resamples "
                f"{_median(self.direction_cosine):.2f}). Add examples.",
            )
        for kind in ("heads", "neurons"):
            noise = self.noise(kind)
            if noise is not None and noise > STABLE_SCORE:
                yield Weakness(
                    "scores",
                    f"The scores of the strongest {kind} vary by {noise:.0%} of their size from resample to resample. "
                    "Add examples.",
                )


def reliability(
    loaded: LoadedModel,
    contrast: ContrastSet,
    *,
    folds: int = FOLDS,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    outliers: Outliers = OUTLIERS,
    progress: Progress | None = None,
) -> Reliability:
    """Measure the cross-validated accuracy of the directions, and bootstrap (Efron 1979) directions and scores.

    Accuracy: every `folds`-th example of both sides is held out; the direction comes from the others, and a held-out
    example is on the right side if its mean output along that direction is beyond the midpoint of the others' means.
    Bootstrap: each resample draws every side's examples with replacement. Memory beyond the model: 2 (folds +
    resamples + 1) sums of every site's inputs in fp64, whatever the number of examples. `progress` counts the examples
    of both passes; `outliers` is that of `capture_means`. Raises ContrastDataError if a side has fewer than two
    usable examples.
    """
    sides = (contrast.positive, contrast.negative)
    names = (f"the positive side of {contrast.name}", f"the negative side of {contrast.name}")
    positive, negative = (tokenize_examples(loaded, side, name) for side, name in zip(sides, names, strict=True))
    n = (len(positive), len(negative))
    if min(n) < 2:
        raise ContrastDataError(
            f"There are {n[0]} positive and {n[1]} negative examples; at least two a side are needed. Add examples."
        )
    folds = max(2, min(folds, *n))
    spans = [*positive, *negative]
    fold = torch.tensor([i % folds for side in n for i in range(side)])
    rows = [_fold_weights(n, fold, folds), _resample_weights(n, resamples, seed)]
    weights = torch.cat(rows, dim=1)  # (2, rows, examples)
    step = None if progress is None else lambda done, total: progress(done, 2 * total)
    sums, _ = weighted_sums(loaded, spans, weights.flatten(0, 1), outliers, step)
    # per site (2, rows, n_captured): means of both sides over all examples, without each fold, and for each resample
    means = [(s.unflatten(0, (2, -1)) / site.runs) for site, s in zip(loaded.spec.sites, sums, strict=True)]
    step = None if progress is None else lambda done, total: progress(total + done, 2 * total)
    outside = [mean[:, 1 : folds + 1] for mean in means]
    accuracy = _accuracy(loaded, spans, n, fold, outside, outliers, step)
    whole_and_resamples = [0, *range(folds + 1, 1 + folds + resamples)]
    stabilities = [_stability(loaded, i, mean[:, whole_and_resamples]) for i, mean in enumerate(means)]
    cosines, g, deviation = zip(*stabilities, strict=True)
    return Reliability(loaded.spec, accuracy, torch.stack(cosines), g, deviation, *n, folds, resamples)


def _fold_weights(n: tuple[int, int], fold: Tensor, folds: int) -> Tensor:
    """Weight of every example in its side's mean: of all examples, and without each fold: (2, 1 + folds, examples)."""
    side = torch.tensor([0] * n[0] + [1] * n[1])
    used = torch.stack([torch.ones_like(fold), *(fold != k for k in range(folds))]).float()  # (1 + folds, examples)
    both = torch.stack([used * (side == s) for s in (0, 1)])
    return both / both.sum(dim=2, keepdim=True)


def _resample_weights(n: tuple[int, int], resamples: int, seed: int) -> Tensor:
    """Share of each example in the draws of its side: (2, resamples, examples)."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.zeros(2, resamples, sum(n))
    for s, (first, size) in enumerate(((0, n[0]), (n[0], n[1]))):
        draws = first + torch.randint(size, (resamples, size), generator=generator)
        weights[s].scatter_add_(1, draws, torch.full(draws.shape, 1 / size))
    return weights


def _accuracy(
    loaded: LoadedModel,
    spans: Sequence[ExampleSpan],
    n: tuple[int, int],
    fold: Tensor,
    means: Sequence[Tensor],
    outliers: Outliers,
    progress: Progress | None,
) -> Tensor:
    """Balanced held-out accuracy (sites,); `means` are those outside each fold, per site (2, folds, n_captured)."""
    readers, middles = [], []  # per site (folds, n_captured) and (folds,): W x . v is x . (W^T v)
    for index, (positive, negative) in enumerate(means):
        v = project(loaded, index, positive - negative)  # (folds, d)
        parts = [v @ block for block in loaded.blocks(index)]
        reader = torch.cat([*parts, v] if loaded.spec.sites[index].has_extra_output else parts, dim=1).to(positive)
        readers.append(reader)
        middles.append((reader * (positive + negative) / 2).sum(dim=1))
    right = torch.zeros(len(means), len(spans))

    def take(site: int, indices: Sequence[int], captured: Tensor) -> None:
        reader = readers[site][fold[list(indices)].to(readers[site].device)]
        along[site, list(indices)] += (captured.to(reader) * reader).sum(dim=1).cpu()

    along = torch.zeros(len(means), len(spans), dtype=means[0].dtype)  # summed over the runs of a site
    reduce_spans(loaded, spans, None, take, outliers, progress)
    for index, site in enumerate(loaded.spec.sites):
        beyond = along[index] / site.runs - middles[index].cpu()[fold]
        beyond[n[0] :] *= -1
        right[index] = (beyond > 0).float() + 0.5 * (beyond == 0).float()  # without any direction it is a guess
    return (right[:, : n[0]].mean(dim=1) + right[:, n[0] :].mean(dim=1)) / 2


@torch.no_grad()
def _stability(loaded: LoadedModel, site: int, means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cosine (), g (n,) and its deviation (n,) of one site.

    `means` is (2, 1 + resamples, n_captured): first those of all examples, then those of the resamples.
    """
    width = loaded.spec.sites[site].width
    units = torch.nn.functional.normalize(project(loaded, site, means[0] - means[1]), dim=1)  # (1 + resamples, d)
    centres, first, parts = means.mean(dim=0).float(), 0, []  # (1 + resamples, n_captured)
    for block in loaded.blocks(site):  # (d, n)
        inputs = centres[:, first : first + block.shape[1]]
        parts.append(torch.stack([score_site(block, x, u, width)[0] for x, u in zip(inputs, units, strict=True)]))
        first += block.shape[1]
    g = torch.cat(parts, dim=1)
    deviation = g[1:].std(dim=0) if len(g) > 2 else torch.zeros_like(g[0])
    return (units[1:] @ units[0]).mean().cpu(), g[0].cpu(), deviation.cpu()


def _median(values: Tensor) -> float:
    return float(values.median())
