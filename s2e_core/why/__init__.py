"""Why a component got its score, and whether it matters: chance, causes, when it acts, what it says."""

from .causal_map import N_HEADS, N_NEURONS, CausalMap, causal_map, strongest
from .chance import Chance, chance
from .effects import Effect, PairedTexts, measure_effects, paired_texts
from .example_means import ExampleMeans, example_means
from .interventions import HOWS, How
from .isotropic import isotropic_band, isotropic_share

__all__ = [
    "HOWS",
    "N_HEADS",
    "N_NEURONS",
    "CausalMap",
    "Chance",
    "Effect",
    "ExampleMeans",
    "How",
    "PairedTexts",
    "causal_map",
    "chance",
    "example_means",
    "isotropic_band",
    "isotropic_share",
    "measure_effects",
    "paired_texts",
    "strongest",
]
