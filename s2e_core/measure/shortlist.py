"""Which edits are worth asking: shapes screened by likelihood in rounds, all on few texts, the better half on more.

Knows shapes, screens and likelihoods; no sampled answer. What an edit may change elsewhere is set by steering itself:
the levels are the KL of steering at a few probe strengths on this model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest
from math import inf, log, sqrt

from s2e_core.method import build_edit
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.settings import EditSettings
from s2e_core.values import Edited, Extraction, Steered

from .screening import Likelihood, Screen, screen
from .shapes import Shape, draw_shapes, shape_settings
from .suggest import KL_BOUND, first_strength, next_strength
from .trials import Trial

PROBE_GAMMAS = (0.2, 0.4, 0.6, 0.8, 1.1)
"""Steering strengths whose KL are the levels at which edits are compared with each other."""
TARGET = 1
"""Index of the level at which shapes are compared in the first rounds."""
ROUNDS = (0.25, 0.5)
"""Share of the texts in each round, after which the better half of every family stays."""
LEAST_LEVEL = 1e-6
"""Smallest KL that is told from rounding."""
TRIES = 2
"""Measurements of a candidate at a level in the last round: a second one if the first is far from the level."""
NEAR = 2.0
"""Factor on the KL, either way, within which a level counts as met."""


@dataclass(frozen=True, eq=False)
class Screened:
    """One setting with its likelihood on held-out texts."""

    trial: Trial
    figures: Likelihood
    level: int | None = None
    """Index of the level of KL that it was made for; None for steering."""
    shape: Shape | None = None
    """The edit but for its strength; None for steering."""

    @property
    def family(self) -> str:
        return "steering" if self.trial.settings is None else self.trial.settings.family


@dataclass(frozen=True, eq=False)
class _Candidate:
    shape: Shape
    strength: float
    settings: EditSettings | None = None
    figures: Likelihood | None = None
    """What was measured at this strength; None before."""
    points: tuple[tuple[float, float], ...] = ()
    """Strengths that were measured so far, each with its KL."""

    def merit(self, wanted: float) -> float:
        return -inf if self.figures is None else margin_at(self.figures, wanted)

    def distance(self, level: float) -> float:
        """How far the KL is from a level, as a logarithm."""
        kl = inf if self.figures is None else self.figures.kl.value
        return abs(log(max(kl, LEAST_LEVEL) / level)) if kl < inf else inf

    def at(self, level: float) -> _Candidate:
        """The same shape at the strength that should have the KL of a level; unchanged before it is measured."""
        return replace(self, strength=next_strength(self.points, level)) if self.points else self


def margin_at(figures: Likelihood, wanted: float) -> float:
    """The margin at the wanted KL, from that at another: margins grow with the strength, KL with its square."""
    margin, kl = figures.margin.value, figures.kl.value
    if not 0 <= kl < inf:
        return -inf
    return margin * sqrt(wanted / max(kl, LEAST_LEVEL)) if margin > 0 else margin


def count_measurements(n_shapes: int, most: int) -> int:
    """Forward passes over the whole screen that `screen_shapes` takes at most, in rounds as small as they are."""
    kept, total = n_shapes, len(PROBE_GAMMAS) + 0.0
    for share in ROUNDS:
        total += kept * share
        kept = -(-kept // 2) + 2
    return round(total + TRIES * 2 * most)


def screen_shapes(
    loaded: LoadedModel,
    extraction: Extraction,
    fit: Extraction,
    against: Screen,
    *,
    n_shapes: int,
    most: int,
    levels: Sequence[float] = (),
    gates: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Screened, ...]:
    """Steering at the probe strengths and about 2 * `most` settings at its levels of KL, with their likelihood.

    With `levels`, in nats a token and rising, they are made for these instead; the first rounds compare at the second.

    `extraction` gives every shape its settings; `fit`, made without the examples of the screen, is what is measured.
    Shapes start where they add as much on harmless texts as a steering strength, and each round corrects their strength
    by the KL that was measured. `progress` counts whole screens. Raises Cancelled if `progress` raises it.
    """
    meter = _Meter(progress, count_measurements(n_shapes, most))
    steering = [Steered(fit.directions, gamma) for gamma in PROBE_GAMMAS]
    probes = screen(loaded, steering, against, progress=meter.step(1.0))
    if not levels:  # strong steering may break a model, and then it gives no level
        levels = [max(figures.kl.value, LEAST_LEVEL) for figures in probes if figures.kl.value < inf] or [KL_BOUND]
    target = levels[min(TARGET, len(levels) - 1)]
    known = [Screened(Trial(gamma=g), figures) for g, figures in zip(PROBE_GAMMAS, probes, strict=True)]
    bench = _Bench(loaded, extraction, fit, meter)
    shapes = draw_shapes(extraction, n_shapes, seed, gates=gates)
    alive = [_Candidate(s, first_strength(extraction, s, PROBE_GAMMAS[TARGET])) for s in shapes]
    alive = [candidate for candidate in alive if candidate.strength > 0]
    for share in ROUNDS:
        measured = [bench.measure(c.at(target), against.part(share), share) for c in alive]
        alive = [replace(c, points=c.points[-1:]) for c in _better_half(measured, target)]
    for candidate, numbers in _last_round(alive, len(levels), 2 * most):
        known += bench.at_levels(candidate, {number: levels[number] for number in numbers}, against)
    meter.finish()
    return tuple(known)


def pick_shortlist(screened: Sequence[Screened], most: int, *, by_family: bool = False) -> tuple[Trial, ...]:
    """Up to `most` edits for the development prompts: the best margin at every level in turn, then the next best.

    With `by_family` each family has its turn at every level, so that all of them are asked.
    """
    edits = [each for each in screened if each.level is not None and each.figures.margin.value > -inf]

    def group(each: Screened) -> tuple[int, str]:
        return each.level or 0, each.family if by_family else ""

    rows = [list(rows) for _, rows in groupby(sorted(edits, key=group), key=group)]
    ranked = [sorted(row, key=lambda each: -each.figures.margin.value) for row in rows]
    turns = [each for turn in zip_longest(*ranked) for each in turn if each is not None]
    return tuple(each.trial for each in turns[:most])


@dataclass(frozen=True, eq=False)
class _Bench:
    """What every candidate is measured with."""

    loaded: LoadedModel
    extraction: Extraction
    fit: Extraction
    meter: _Meter

    def measure(self, candidate: _Candidate, against: Screen, share: float) -> _Candidate:
        settings = shape_settings(self.extraction, candidate.shape, candidate.strength)
        if settings is None:
            return candidate
        edited = Edited(build_edit(self.fit, settings))
        (figures,) = screen(self.loaded, [edited], against, progress=self.meter.step(share))
        points = (*candidate.points, (candidate.strength, figures.kl.value))
        return replace(candidate, settings=settings, figures=figures, points=points)

    def at_levels(self, candidate: _Candidate, levels: Mapping[int, float], against: Screen) -> Iterator[Screened]:
        """The candidate at every level, from what was measured at the levels before."""
        for number, level in levels.items():
            tries: list[_Candidate] = []
            while len(tries) < TRIES and not any(each.distance(level) < log(NEAR) for each in tries):
                candidate = self.measure(candidate.at(level), against, 1.0)
                tries.append(candidate)
            best = min(tries, key=lambda each: each.distance(level))
            if best.settings is not None and best.figures is not None:
                yield Screened(Trial(best.settings), best.figures, number, candidate.shape)


def _better_half(measured: Iterable[_Candidate], wanted: float) -> list[_Candidate]:
    """The better half of every family by the margin at the wanted KL, the best first."""
    ordered = sorted(measured, key=lambda c: (c.shape.family, -c.merit(wanted)))
    families = [list(members) for _, members in groupby(ordered, key=lambda c: c.shape.family)]
    return [candidate for members in families for candidate in members[: -(-len(members) // 2)]]


def _last_round(alive: Iterable[_Candidate], n_levels: int, most: int) -> list[tuple[_Candidate, Sequence[int]]]:
    """Candidates with the indices of their levels, `most` in all: the best of every family first.

    If these alone are too many, each is measured at fewer levels, those near TARGET.
    """
    families = [list(members) for _, members in groupby(alive, key=lambda c: c.shape.family)]
    turns = [candidate for turn in zip_longest(*families) for candidate in turn if candidate is not None]
    nearest = sorted(range(n_levels), key=lambda number: (abs(number - TARGET), -number))
    each = max(most // max(1, len(families)), -(-most // max(1, len(turns))))
    each = min(n_levels, max(1, each))
    numbers = [sorted(nearest[: min(each, most - first)]) for first in range(0, most, each)]
    return list(zip(turns, numbers, strict=False))


class _Meter:
    """Counts parts of a screen as progress in whole ones."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0.0

    def step(self, share: float) -> Callable[[int, int], None]:
        """Progress of one measurement on a share of the texts."""

        def show(done: int, total: int) -> None:
            self._done += share
            if self._progress is not None:
                self._progress(min(self._total, int(self._done)), self._total)

        return show

    def finish(self) -> None:
        if self._progress is not None:
            self._progress(self._total, self._total)
