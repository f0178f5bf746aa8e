"""The chain from examples to an edit on a tiny model, for tests that only need the edit."""

from dataclasses import dataclass

from s2e_core import (
    ComponentScores,
    EditSettings,
    Example,
    Extraction,
    SteeringDirections,
    WeightEdit,
    build_edit,
    extract,
)
from s2e_core.data import GateTexts, contrast_set
from s2e_core.model import LoadedModel
from s2e_core.settings import Gate

EXAMPLES = contrast_set(
    [Example("How are you?", "Great, thank you!"), Example("And now?", "Wonderful.")],
    [Example("How are you?", "Awful, go away."), Example("And now?", "Bad, bad.")],
    name="mood",
)
MANY = contrast_set(
    [Example(f"How was day {n}?", f"Great, thank you, {n} times!") for n in range(10)],
    [Example(f"How was day {n}?", f"Awful, go away, number {n}.") for n in range(10)],
    name="days",
)
"""Enough examples to keep some from the direction."""
SETTINGS = EditSettings(rho_attn=0.3, rho_mlp=0.3, alpha=0.5)
TEXTS = GateTexts(
    on=(Example("How are you?", ""), Example("And now, my friend?", "")),
    off=(Example("Count to three, please.", ""), Example("So", "")),
    probes=(Example("Name a colour.", ""),),
    harmless="two harmless prompts",
    answer_tokens=4,
)
GATED = EditSettings(None, None, 0.5, gate=Gate(0.8, mu=2.0))
"""Gated steering of all components."""


@dataclass(frozen=True, eq=False)
class Chain:
    extraction: Extraction
    edit: WeightEdit

    @property
    def scores(self) -> ComponentScores:
        return self.extraction.scores

    @property
    def directions(self) -> SteeringDirections:
        return self.extraction.directions


def chain(loaded: LoadedModel, settings: EditSettings = SETTINGS) -> Chain:
    extraction = extract(loaded, EXAMPLES, texts=TEXTS if settings.needs_texts else None)
    return Chain(extraction, build_edit(extraction, settings))
