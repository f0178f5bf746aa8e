"""The suggested settings: for each family the strongest edit that changes harmless texts by no more than a bound.

Knows shapes and likelihoods; no answer is sampled. Made once for each extraction, so that the dials start where this
model and these examples need them, and no constant was made for another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from s2e_core.data import GateTexts
from s2e_core.method import build_edit
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.settings import EditSettings
from s2e_core.settings_json import settings_from_json, settings_to_json
from s2e_core.spec import ModelSpec
from s2e_core.values import ContrastSet, Edited, Extraction

from .screening import Likelihood, Screen, open_screen, screen, screen_texts
from .shapes import Shape, reach, shape_settings

KL_BOUND = 0.05
"""KL from the untouched model on harmless texts, in nats a token, that a suggested edit does not exceed."""
PAIRS = 6
"""Examples of each side by which the suggestions are compared."""
PROBES = 4
"""Measurements of each family: the strength is corrected after each."""
FIRST_REACH = 0.3
"""What the first probe adds on harmless texts, relative to steering of gamma 1."""
LARGEST_STEP = 4.0
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

    `progress` counts measurements. A family without an edit under the bound is left out. Raises Cancelled if
    `progress` raises it.
    """
    shapes = [shape for shape in reference_shapes(extraction.spec) if _is_possible(extraction, shape)]
    stages = Stages(progress, texts=len(texts.probes), probes=PROBES * len(shapes))
    pairs = ContrastSet(_few(contrast.positive), _few(contrast.negative), contrast.name)
    against = open_screen(loaded, screen_texts(loaded, pairs, texts.probes, progress=stages.of("texts")))
    found, probed = [], stages.of("probes")
    for n, shape in enumerate(shapes):
        best = strongest_within(loaded, extraction, shape, against, KL_BOUND)
        probed((n + 1) * PROBES, PROBES * len(shapes))
        if best is not None:
            found.append(Suggestion(best[0], best[1].margin.value, best[1].kl.value))
    stages.finish()
    return tuple(sorted(found, key=lambda suggestion: -suggestion.margin))


def reference_shapes(spec: ModelSpec) -> tuple[Shape, ...]:
    """One shape a family: a tenth of the heads and a hundredth of the neurons; a gate of the square root of all."""
    heads, neurons = spec.n_components("heads"), spec.n_components("neurons")
    few = round(sqrt(heads + neurons))
    return (
        Shape(mu=MU, size=few),
        Shape(mu=0.0),
        Shape(heads=-(-heads // 10), neurons=-(-neurons // 100)),
    )


def strongest_within(
    loaded: LoadedModel, extraction: Extraction, shape: Shape, against: Screen, bound: float
) -> tuple[EditSettings, Likelihood] | None:
    """The strongest settings of a shape whose measured KL is at most `bound`; None if no probe is below it.

    KL grows with about the square of the strength, so that each probe corrects the one before.
    """
    strength = first_strength(extraction, shape, FIRST_REACH)
    best: tuple[float, EditSettings, Likelihood] | None = None
    for _ in range(PROBES if strength else 0):
        settings = shape_settings(extraction, shape, strength)
        if settings is None:
            break
        (figures,) = screen(loaded, [Edited(build_edit(extraction, settings))], against)
        if figures.kl.value <= bound and (best is None or strength > best[0]):
            best = strength, settings, figures
        if 0.8 * bound <= figures.kl.value <= bound:
            break
        strength *= correction(figures.kl.value, 0.9 * bound)
    return None if best is None else best[1:]


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


def correction(kl: float, wanted: float) -> float:
    """Factor on the strength that brings a measured KL to the wanted one, at most LARGEST_STEP either way."""
    if not kl < float("inf"):
        return 1 / LARGEST_STEP
    return min(LARGEST_STEP, max(1 / LARGEST_STEP, sqrt(wanted / max(kl, 1e-9))))


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
