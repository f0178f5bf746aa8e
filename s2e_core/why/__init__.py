"""Why a component got its score, and whether it matters: chance, causes, when it acts, what it says."""

from .activations import ExampleActivations, TokenActivations, example_activations, token_activations
from .attention import HeadAttention, head_attention
from .card import Arithmetic, Card, Luck, make_card
from .causal_map import N_HEADS, N_NEURONS, CausalMap, causal_map, strongest
from .chance import Chance, chance
from .difference import WeightDifference, change_along, weight_difference
from .effects import Effect, PairedTexts, measure_effects, paired_texts
from .example_means import ExampleMeans, example_means
from .explained import ExplainedDifference, explain_difference
from .head_kinds import METRICS, HeadKinds, Metric, head_kinds
from .interventions import HOWS, How
from .isotropic import isotropic_band, isotropic_share
from .jacobian import mean_jacobian
from .lens import Lens, Words, find_lens
from .lora import WithAdapter, open_adapter
from .nearest import Nearest, nearest_recipe
from .other_weights import StoredWeights, WithEdit, is_weights, open_weights, unpack
from .overlap import DirectionCosine, Overlap, Shared, cosine_with, find_overlap
from .parting import Parting, TokenParting, parting
from .plain import plain
from .refusal import REFUSAL_PROMPTS, refusal_behavior, refusal_rates
from .relatives import Relative, relatives
from .study import Study, open_study
from .vocabulary import VectorReading, read_component, vectors_of

__all__ = [
    "HOWS",
    "METRICS",
    "N_HEADS",
    "N_NEURONS",
    "REFUSAL_PROMPTS",
    "Arithmetic",
    "Card",
    "CausalMap",
    "Chance",
    "DirectionCosine",
    "Effect",
    "ExampleActivations",
    "ExampleMeans",
    "ExplainedDifference",
    "HeadAttention",
    "HeadKinds",
    "How",
    "Lens",
    "Luck",
    "Metric",
    "Nearest",
    "Overlap",
    "PairedTexts",
    "Parting",
    "Relative",
    "Shared",
    "StoredWeights",
    "Study",
    "TokenActivations",
    "TokenParting",
    "VectorReading",
    "WeightDifference",
    "WithAdapter",
    "WithEdit",
    "Words",
    "causal_map",
    "chance",
    "change_along",
    "cosine_with",
    "example_activations",
    "example_means",
    "explain_difference",
    "find_lens",
    "find_overlap",
    "head_attention",
    "head_kinds",
    "is_weights",
    "isotropic_band",
    "isotropic_share",
    "make_card",
    "mean_jacobian",
    "measure_effects",
    "nearest_recipe",
    "open_adapter",
    "open_study",
    "open_weights",
    "paired_texts",
    "parting",
    "plain",
    "read_component",
    "refusal_behavior",
    "refusal_rates",
    "relatives",
    "strongest",
    "token_activations",
    "unpack",
    "vectors_of",
    "weight_difference",
]
