"""Which edits are worth asking: shapes screened by likelihood in rounds, all on few texts, the better half on more.

Knows shapes, screens and likelihoods; no sampled answer. What an edit may change elsewhere is set by steering itself:
the levels are the KL of steering at a few probe strengths on this model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from math import inf, sqrt

from s2e_core.method import build_edit
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import Edited, Extraction, Steered

from .screening import Likelihood, Screen, screen
from .shapes import Shape, draw_shapes, shape_settings
from .suggest import correction, first_strength
from .trials import Trial

PROBE_GAMMAS = (0.2, 0.4, 0.7, 1.1)
"""Steering strengths whose KL are the levels at which edits are compared with each other."""
TARGET = 1
"""Index of the level at which shapes are compared in the first rounds."""
ROUNDS = (0.25, 0.5)
"""Share of the texts in each round, after which the better half of every family stays."""


@dataclass(frozen=True, eq=False)
class Screened:
    """One setting with its likelihood on held-out texts."""

    trial: Trial
    figures: Likelihood
    level: int | None = None
    """Index of the level of KL that it was made for; None for steering."""

    @property
    def family(self) -> str:
        return "steering" if self.trial.settings is None else self.trial.settings.family


@dataclass(frozen=True, eq=False)
class _Candidate:
    shape: Shape
    strength: float
    figures: Likelihood | None = None

    def merit(self, wanted: float) -> float:
        """The margin at the wanted KL: margins grow with the strength, KL with its square."""
        if self.figures is None or not 0 <= self.figures.kl.value < inf:
            return -inf
        margin = self.figures.margin.value
        return margin * sqrt(wanted / max(self.figures.kl.value, 1e-6)) if margin > 0 else margin


def count_measurements(n_shapes: int, most: int) -> int:
    """Forward passes over the whole screen that `screen_shapes` takes at most, in rounds as small as they are."""
    kept, total = n_shapes, len(PROBE_GAMMAS) + 0.0
    for share in ROUNDS:
        total += kept * share
        kept = -(-kept // 2) + 2
    return round(total + 2 * most)


def screen_shapes(
    loaded: LoadedModel,
    extraction: Extraction,
    fit: Extraction,
    against: Screen,
    *,
    n_shapes: int,
    most: int,
    gates: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Screened, ...]:
    """Steering at the probe strengths and about 2 * `most` settings at its levels of KL, with their likelihood.

    `extraction` gives every shape its settings; `fit`, made without the examples of the screen, is what is measured.
    Shapes start where they add as much on harmless texts as a steering strength, and each round corrects their strength
    by the KL that it measures. `progress` counts whole screens. Raises Cancelled if `progress` raises it.
    """
    meter = _Meter(progress, count_measurements(n_shapes, most))
    steering = [Steered(fit.directions, gamma) for gamma in PROBE_GAMMAS]
    probes = screen(loaded, steering, against, progress=meter.step(1.0))
    levels = [max(figures.kl.value, 1e-6) for figures in probes]
    known = [Screened(Trial(gamma=g), figures) for g, figures in zip(PROBE_GAMMAS, probes, strict=True)]
    shapes = draw_shapes(extraction, n_shapes, seed, gates=gates)
    alive = [_Candidate(s, first_strength(extraction, s, PROBE_GAMMAS[TARGET])) for s in shapes]
    alive = [candidate for candidate in alive if candidate.strength > 0]
    for share in ROUNDS:
        part = against.part(share)
        tried = [_corrected(candidate, levels[TARGET]) for candidate in alive]
        measured = [_measure(loaded, extraction, fit, c, part, meter.step(share)) for c in tried]
        alive = _better_half(measured, levels[TARGET])
    for candidate, level in _last_round(alive, levels, 2 * most):
        corrected = _corrected(candidate, levels[level])
        settings = shape_settings(extraction, candidate.shape, corrected.strength)
        figures = _measure(loaded, extraction, fit, corrected, against, meter.step(1.0)).figures
        if settings is not None and figures is not None:
            known.append(Screened(Trial(settings), figures, level))
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


def _measure(
    loaded: LoadedModel,
    extraction: Extraction,
    fit: Extraction,
    candidate: _Candidate,
    against: Screen,
    progress: Progress,
) -> _Candidate:
    settings = shape_settings(extraction, candidate.shape, candidate.strength)
    if settings is None:
        return candidate
    (figures,) = screen(loaded, [Edited(build_edit(fit, settings))], against, progress=progress)
    return _Candidate(candidate.shape, candidate.strength, figures)


def _corrected(candidate: _Candidate, wanted: float) -> _Candidate:
    """The candidate at the strength that is right for the wanted KL by the KL that it has; its figures stay the old."""
    if candidate.figures is None:
        return candidate
    factor = correction(candidate.figures.kl.value, wanted)
    return _Candidate(candidate.shape, candidate.strength * factor, candidate.figures)


def _better_half(measured: Iterable[_Candidate], wanted: float) -> list[_Candidate]:
    """The better half of every family by the margin at the wanted KL."""
    ordered = sorted(measured, key=lambda c: (c.shape.family, -c.merit(wanted)))
    families = [list(members) for _, members in groupby(ordered, key=lambda c: c.shape.family)]
    return [candidate for members in families for candidate in members[: -(-len(members) // 2)]]


def _last_round(alive: Sequence[_Candidate], levels: Sequence[float], most: int) -> list[tuple[_Candidate, int]]:
    """Which candidates are measured at which level: the best of every family first, then the second best, and so on."""
    ordered = sorted(alive, key=lambda c: (c.shape.family, -c.merit(levels[TARGET])))
    families = [list(members) for _, members in groupby(ordered, key=lambda c: c.shape.family)]
    turns = [candidate for turn in zip_longest(*families) for candidate in turn if candidate is not None]
    return [(candidate, level) for candidate in turns for level in range(len(levels))][:most]


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
