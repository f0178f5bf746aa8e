"""Why a component got its score, and whether it matters: chance, causes, when it acts, what it says."""

from .activations import ExampleActivations, TokenActivations, example_activations, token_activations
from .attention import HeadAttention, head_attention
from .causal_map import N_HEADS, N_NEURONS, CausalMap, causal_map, strongest
from .chance import Chance, chance
from .effects import Effect, PairedTexts, measure_effects, paired_texts
from .example_means import ExampleMeans, example_means
from .head_kinds import METRICS, HeadKinds, Metric, head_kinds
from .interventions import HOWS, How
from .isotropic import isotropic_band, isotropic_share
from .jacobian import mean_jacobian
from .lens import Lens, Words, find_lens
from .vocabulary import Reading, read_component, vectors_of

__all__ = [
    "HOWS",
    "METRICS",
    "N_HEADS",
    "N_NEURONS",
    "CausalMap",
    "Chance",
    "Effect",
    "ExampleActivations",
    "ExampleMeans",
    "HeadAttention",
    "HeadKinds",
    "How",
    "Lens",
    "Metric",
    "PairedTexts",
    "Reading",
    "TokenActivations",
    "Words",
    "causal_map",
    "chance",
    "example_activations",
    "example_means",
    "find_lens",
    "head_attention",
    "head_kinds",
    "isotropic_band",
    "isotropic_share",
    "mean_jacobian",
    "measure_effects",
    "paired_texts",
    "read_component",
    "strongest",
    "token_activations",
    "vectors_of",
]
