"""Why a component got its score, and whether it matters: chance, causes, when it acts, what it says."""

from .activations import ExampleActivations, TokenActivations, example_activations, token_activations
from .attention import HeadAttention, head_attention
from .card import Arithmetic, Card, Luck, make_card
from .causal_map import N_HEADS, N_NEURONS, CausalMap, causal_map, strongest
from .chance import Chance, chance
from .difference import WeightDifference, weight_difference
from .effects import Effect, PairedTexts, measure_effects, paired_texts
from .example_means import ExampleMeans, example_means
from .head_kinds import METRICS, HeadKinds, Metric, head_kinds
from .interventions import HOWS, How
from .isotropic import isotropic_band, isotropic_share
from .jacobian import mean_jacobian
from .lens import Lens, Words, find_lens
from .lora import WithAdapter, open_adapter
from .parting import Parting, TokenParting, parting
from .plain import plain
from .relatives import Relative, relatives
from .study import Study, open_study
from .vocabulary import VectorReading, read_component, vectors_of

__all__ = [
    "HOWS",
    "METRICS",
    "N_HEADS",
    "N_NEURONS",
    "Arithmetic",
    "Card",
    "CausalMap",
    "Chance",
    "Effect",
    "ExampleActivations",
    "ExampleMeans",
    "HeadAttention",
    "HeadKinds",
    "How",
    "Lens",
    "Luck",
    "Metric",
    "PairedTexts",
    "Parting",
    "Relative",
    "Study",
    "TokenActivations",
    "TokenParting",
    "VectorReading",
    "WeightDifference",
    "WithAdapter",
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
    "make_card",
    "mean_jacobian",
    "measure_effects",
    "open_adapter",
    "open_study",
    "paired_texts",
    "parting",
    "plain",
    "read_component",
    "relatives",
    "strongest",
    "token_activations",
    "vectors_of",
    "weight_difference",
]
