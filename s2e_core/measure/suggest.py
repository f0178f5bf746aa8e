"""The suggested settings: for each family the strongest edit that changes harmless texts by no more than a bound.

Knows shapes and likelihoods; no answer is sampled. Made once for each extraction, so that the dials start where this
model and these examples need them, and no constant was made for another model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Any

from s2e_core.data import GateTexts
from s2e_core.method import build_edit
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.settings import EditSettings
from s2e_core.settings_json import settings_from_json, settings_to_json
from s2e_core.spec import ModelSpec
from s2e_core.values import ContrastSet, Edited, Extraction, Steered

from .estimates import Estimate
from .screening import Likelihood, Screen, harmless_kl, open_screen, response_likelihood, screen_texts
from .shapes import Shape, reach, shape_settings

KL_BOUND = 0.05
"""KL from the untouched model on harmless texts, in nats a token, that a suggested edit does not exceed; nor does it
exceed what steering of gamma USUAL_GAMMA changes there, since small models break at a smaller KL."""
USUAL_GAMMA = 0.5
"""A steering strength that most models bear; the authors sweep 0.1 to 1.5."""
PAIRS = 4
"""Examples of each side by which the suggestions are compared."""
PROBES = 5
"""Most measurements of each family: the strength is corrected after each."""
FIRST_REACH = 0.3
"""What the first probe adds on harmless texts, relative to steering of gamma 1."""
LARGEST_STEP = 4.0
"""Largest factor, either way, on a strength after one measurement."""
LEAST_KL, MOST_KL = 1e-9, 1e3
"""Range in which a KL says something about the strength."""
STEEPEST = 10.0
"""Largest power of the strength with which KL is taken to grow."""
MU = 10.0


@dataclass(frozen=True, eq=False)
class Suggestion:
    """One family's suggested settings, with what was measured of them."""

    settings: EditSettings
    margin: float
    """Rise of the margin on some of the examples themselves, in nats a token."""
    kl: float
    """KL from the untouched model on harmless texts, in nats a token."""

    @property
    def family(self) -> str:
        return self.settings.family


def suggest(
    loaded: LoadedModel,
    extraction: Extraction,
    contrast: ContrastSet,
    texts: GateTexts,
    *,
    progress: Progress | None = None,
) -> tuple[Suggestion, ...]:
    """A suggestion for each family that the extraction allows, the largest margin first.

    Of several shapes of a family it is the one with the largest margin. `progress` counts measurements. A family
    without an edit under the bound is left out. Raises Cancelled if `progress` raises it.
    """
    shapes = [shape for shape in reference_shapes(extraction.spec) if _is_possible(extraction, shape)]
    stages = Stages(progress, texts=len(texts.probes), probes=PROBES * len(shapes))
    pairs = ContrastSet(_few(contrast.positive), _few(contrast.negative), contrast.name)
    against = open_screen(loaded, screen_texts(loaded, pairs, texts.probes, progress=stages.of("texts")))
    steering = harmless_kl(loaded, Steered(extraction.directions, USUAL_GAMMA), against)
    bound, found, probed = min(KL_BOUND, steering.value), dict[str, Suggestion](), stages.of("probes")
    for n, shape in enumerate(shapes):
        best = strongest_within(loaded, extraction, shape, against, bound)
        probed((n + 1) * PROBES, PROBES * len(shapes))
        known = found.get(shape.family)
        if best is not None and (known is None or best[1].margin.value > known.margin):
            found[shape.family] = Suggestion(best[0], best[1].margin.value, best[1].kl.value)
    stages.finish()
    return tuple(sorted(found.values(), key=lambda suggestion: -suggestion.margin))


def reference_shapes(spec: ModelSpec) -> tuple[Shape, ...]:
    """A tenth of the heads and a hundredth of the neurons; gates of all components and of the square root of all."""
    heads, neurons = spec.n_components("heads"), spec.n_components("neurons")
    few = round(sqrt(heads + neurons))
    return (
        Shape(mu=MU, size=few),
        Shape(mu=MU),
        Shape(mu=0.0),
        Shape(heads=-(-heads // 10), neurons=-(-neurons // 100)),
    )


def strongest_within(
    loaded: LoadedModel, extraction: Extraction, shape: Shape, against: Screen, bound: float
) -> tuple[EditSettings, Likelihood] | None:
    """The strongest settings of a shape whose measured KL is at most `bound`; None if no probe is below it.

    Each probe is corrected by those before it, and needs the harmless texts alone.
    """
    strength = first_strength(extraction, shape, FIRST_REACH)
    points: list[tuple[float, float]] = []
    best: tuple[float, Edited, EditSettings, Estimate] | None = None
    for _ in range(PROBES if strength else 0):
        settings = shape_settings(extraction, shape, strength)
        if settings is None:
            break
        edited = Edited(build_edit(extraction, settings))
        kl = harmless_kl(loaded, edited, against)
        if kl.value <= bound and (best is None or strength > best[0]):
            best = strength, edited, settings, kl
        if 0.6 * bound <= kl.value <= bound:
            break
        points.append((strength, kl.value))
        strength = next_strength(points, 0.8 * bound)
    if best is None:
        return None
    _, edited, settings, kl = best
    return settings, response_likelihood(loaded, edited, against, kl)


def first_strength(extraction: Extraction, shape: Shape, wanted: float) -> float:
    """The strength at which a shape adds as much on harmless texts as steering of gamma `wanted`; 0 if it is empty.

    A gate that hardly fires there is not made stronger than LARGEST_STEP times that steering before it is measured.
    """
    settings = shape_settings(extraction, shape, 1.0)
    if settings is None:
        return 0.0
    here = reach(extraction, build_edit(extraction, settings))
    larger = max(here.on, here.off)
    return min(wanted / here.off if here.off else LARGEST_STEP, LARGEST_STEP * wanted / larger) if larger else 0.0


def next_strength(points: Sequence[tuple[float, float]], wanted: float) -> float:
    """The strength at which the KL should be the wanted one, from measured pairs of strength and KL, at least one.

    Between two measured strengths it is interpolated, beyond them extrapolated by at most a factor of LARGEST_STEP, all
    in logarithms: KL grows with the square of a small strength, and faster where an edit begins to take over.
    """
    known = sorted((log(strength), log(min(max(kl, LEAST_KL), MOST_KL))) for strength, kl in points)
    goal = log(min(max(wanted, LEAST_KL), MOST_KL))
    below = max((point for point in known if point[1] <= goal), default=None)
    above = min((point for point in known if point[1] > goal), default=None)
    if below is not None and above is not None and below[0] < above[0]:
        share = (goal - below[1]) / (above[1] - below[1])
        return exp(below[0] + share * (above[0] - below[0]))
    nearest = min(known, key=lambda point: abs(point[1] - goal))
    step = (goal - nearest[1]) / _slope(known, nearest)
    return exp(nearest[0] + min(log(LARGEST_STEP), max(-log(LARGEST_STEP), step)))


def _slope(known: Sequence[tuple[float, float]], at: tuple[float, float]) -> float:
    """Growth of log KL with log strength between a point and the next one measured; 2 if it is the only one."""
    others = [point for point in known if point[0] != at[0]]
    if not others:
        return 2.0
    other = min(others, key=lambda point: abs(point[0] - at[0]))
    return min(STEEPEST, max(1.0, (at[1] - other[1]) / (at[0] - other[0])))


def suggestions_to_json(suggestions: tuple[Suggestion, ...]) -> list[dict[str, Any]]:
    """Suggestions as values that `json` can write."""
    return [{"settings": settings_to_json(each.settings), "margin": each.margin, "kl": each.kl} for each in suggestions]


def suggestions_from_json(entries: list[Mapping[str, Any]], spec: ModelSpec) -> tuple[Suggestion, ...]:
    """Raises KeyError, TypeError or ValueError for entries that are incomplete or do not fit the model."""
    return tuple(
        Suggestion(settings_from_json(entry["settings"], spec), float(entry["margin"]), float(entry["kl"]))
        for entry in entries
    )


def _is_possible(extraction: Extraction, shape: Shape) -> bool:
    inputs = extraction.token_inputs
    return inputs is not None and (not shape.mu or all(len(off) for off in inputs.off))


def _few(examples: tuple[Any, ...]) -> tuple[Any, ...]:
    n = min(PAIRS, len(examples))
    return tuple(examples[number * len(examples) // n] for number in range(n))
