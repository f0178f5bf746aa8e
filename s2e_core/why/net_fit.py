"""The elastic net that is nearest to wanted strengths, by least squares: a line in |g| above its threshold.

Knows an extraction and what is wanted along its directions; no family of edits besides the paper's. Sorted by |g|, the
sums over the first k components give the regression for every k at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.settings import EditSettings, Selection
from s2e_core.spec import KINDS, Component, Kind
from s2e_core.values import Extraction

STEPS, SECTIONS = 24, 40
"""Steps of the grid, and golden sections around its best, in the search for the intercept that both kinds share."""
MOST_ALPHA = 1 - 1e-6
"""Largest alpha of a recipe that is fitted: an absurdly large difference is one of a larger strength."""


@dataclass(frozen=True, eq=False)
class NetFit:
    """lambda = sign(g) max(slope |g| - intercept, 0), with a slope for each kind."""

    slopes: dict[Kind, float]
    """Gain of every kind that is edited."""
    intercept: float
    allowed: Tensor
    """Components that may change: (components,), bool."""

    def strengths(self, extraction: Extraction) -> Tensor:
        """lambda of every component: (components,), fp64."""
        g = torch.cat(extraction.scores.g).double()
        slopes = _by_component(extraction, self.slopes)
        lam = g.sign() * (slopes * g.abs() - self.intercept).clamp(min=0)
        return torch.where(self.allowed & (slopes > 0), lam, 0.0)

    def settings(self, extraction: Extraction, strength: float) -> EditSettings:
        """The paper's dials at a strength: strength alpha / (1 - alpha) is the intercept, gain is the slope.

        The strength is larger where alpha would be too near 1 to be told from it.
        """
        strength = max(strength, (1 - MOST_ALPHA) * self.intercept)
        alpha = self.intercept / (strength + self.intercept)
        rho = {kind: (strength + self.intercept) / slope for kind, slope in self.slopes.items()}
        selection = Selection()
        if not bool(self.allowed.all()):
            selection = Selection(only=_components(extraction, self.strengths(extraction) != 0))
        return EditSettings(rho.get("heads"), rho.get("neurons"), alpha, strength, selection)


def fit_net(extraction: Extraction, along: Sequence[Tensor], allowed: Tensor) -> NetFit | None:
    """The elastic net whose a is nearest to `along`, per site (n_inputs,); None if none is nearer than no edit.

    `allowed` says which components may change: (components,), bool.
    """
    lines = {kind: _Line.of(extraction, along, kind, allowed) for kind in KINDS}
    alone = {kind: best for kind, line in lines.items() if (best := line.best()) is not None}
    if not alone:
        return None
    intercepts = sorted({intercept for _, intercept in alone.values()})
    intercept = intercepts[0]
    if len(intercepts) == 2:  # heads and neurons have one alpha and one strength, and so one intercept
        chosen = [lines[kind] for kind in alone]
        intercept = _least(lambda q: sum(line.loss_at(q)[0] for line in chosen), *intercepts)
    slopes = {kind: lines[kind].loss_at(intercept)[1] for kind in alone}
    slopes = {kind: slope for kind, slope in slopes.items() if slope > 0}
    return NetFit(slopes, intercept, allowed) if slopes else None


@dataclass(frozen=True, eq=False)
class _Line:
    """The regression of y = sign(g) lambda on x = |g| over the k largest |g|, for every k: sums over the first k."""

    x: Tensor
    """Values of |g|, the largest first, and a 0 behind them: (n + 1,)."""
    sxx: Tensor
    sx: Tensor
    sxy: Tensor
    sy: Tensor

    @classmethod
    def of(cls, extraction: Extraction, along: Sequence[Tensor], kind: Kind, allowed: Tensor) -> _Line:
        g, wanted, mine = torch.cat(extraction.scores.g).double(), along_keys(extraction, along), is_kind(extraction)
        has_key = torch.cat([keys.any(dim=1) for keys in extraction.scores.keys])
        at = (mine[kind] & allowed & has_key).nonzero().squeeze(1)
        order = at[g[at].abs().argsort(descending=True, stable=True)]
        x, y = g[order].abs(), g[order].sign() * wanted[order]
        sums = (values.cumsum(0) for values in (x * x, x, x * y, y))
        return cls(torch.cat([x, x.new_zeros(1)]), *sums)

    @property
    def count(self) -> Tensor:
        return torch.arange(1, len(self.x), dtype=torch.float64)

    def best(self) -> tuple[float, float] | None:
        """(slope, intercept) of the smallest loss; None if no line that rises is better than no edit.

        The loss has a continuous derivative, so that its minimum is the regression over exactly those above its own
        threshold, or it has no threshold at all.
        """
        n, x = self.count, self.x
        if not len(n):
            return None
        spread = n * self.sxx - self.sx.square()
        slope = (n * self.sxy - self.sx * self.sy) / spread.clamp(min=1e-30)
        intercept = (slope * self.sx - self.sy) / n
        threshold = intercept / slope.clamp(min=1e-30)
        fits = (spread > 1e-12) & (slope > 0) & (intercept >= 0) & (threshold < x[:-1]) & (threshold >= x[1:] - 1e-9)
        losses = torch.where(fits, self._loss(slope, intercept), torch.inf)
        k = int(losses.argmin())
        without = float(self.sxy[-1] / self.sxx[-1].clamp(min=1e-30))  # alpha = 0: no threshold
        candidates = [(float(losses[k]), float(slope[k]), float(intercept[k]))]
        if without > 0:
            candidates.append((float(-without * self.sxy[-1]), without, 0.0))
        for intercept_of_one in self._of_one():
            loss, slope_of_one = self.loss_at(intercept_of_one)
            candidates.append((loss, slope_of_one, intercept_of_one))
        loss, best_slope, best_intercept = min(candidates)
        return (best_slope, best_intercept) if loss < 0 and best_slope > 0 else None

    def _of_one(self) -> Iterator[float]:
        """Intercepts at which the strongest component alone may pass: its threshold half way to the next |g|."""
        x, y = float(self.x[0]), float(self.sy[0])
        threshold = (x + float(self.x[1])) / 2
        if y > 0 and x > threshold:
            yield y / (x - threshold) * threshold

    def loss_at(self, intercept: float) -> tuple[float, float]:
        """(loss, slope) of the best line with this intercept; loss is the squared distance minus that of no edit."""
        n, x = self.count, self.x
        if not len(n):
            return 0.0, 0.0
        slope = (self.sxy + intercept * self.sx) / self.sxx.clamp(min=1e-30)
        low, high = intercept / x[:-1].clamp(min=1e-30), intercept / x[1:].clamp(min=1e-30)
        if intercept == 0:
            low, high = torch.zeros_like(n), torch.zeros_like(n)
            high[-1] = torch.inf
        slope = slope.clamp(min=low, max=high)
        losses = self._loss(slope, torch.full_like(slope, intercept))
        k = int(losses.argmin())
        return (float(losses[k]), float(slope[k])) if float(losses[k]) < 0 else (0.0, 0.0)

    def _loss(self, slope: Tensor, intercept: Tensor) -> Tensor:
        squares = slope.square() * self.sxx - 2 * slope * intercept * self.sx + self.count * intercept.square()
        return squares - 2 * slope * self.sxy + 2 * intercept * self.sy


def _least(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one number is least between two others: a grid, then golden sections around its best."""
    grid = [low + (high - low) * step / STEPS for step in range(STEPS + 1)]
    best = min(range(len(grid)), key=lambda n: loss(grid[n]))
    a, b = grid[max(0, best - 1)], grid[min(STEPS, best + 1)]
    golden = (5**0.5 - 1) / 2
    for _ in range(SECTIONS):
        c, d = b - golden * (b - a), a + golden * (b - a)
        if loss(c) < loss(d):
            b = d
        else:
            a = c
    middle = (a + b) / 2
    return min((middle, grid[best]), key=loss)


def along_keys(extraction: Extraction, right: Sequence[Tensor]) -> Tensor:
    """k_i . a_i of every component: (components,), fp64."""
    pairs = zip(extraction.scores.keys, right, strict=True)
    return torch.cat([(keys.double() * a.double().unflatten(0, keys.shape)).sum(dim=1) for keys, a in pairs])


def is_kind(extraction: Extraction) -> dict[Kind, Tensor]:
    """Which components are of each kind: (components,), bool."""
    sites = extraction.spec.sites
    return {kind: torch.cat([torch.full((s.n_components,), s.kind == kind) for s in sites]) for kind in KINDS}


def _by_component(extraction: Extraction, values: dict[Kind, float]) -> Tensor:
    sites = extraction.spec.sites
    return torch.cat([torch.full((s.n_components,), values.get(s.kind, 0.0), dtype=torch.float64) for s in sites])


def _components(extraction: Extraction, mask: Tensor) -> frozenset[Component]:
    parts = mask.split([site.n_components for site in extraction.spec.sites])
    return frozenset(Component(i, n) for i, part in enumerate(parts) for n in part.nonzero().squeeze(1).tolist())
