"""Why a component got its score, and whether it matters: chance, causes, when it acts, what it says."""

from .chance import Chance, chance
from .example_means import ExampleMeans, example_means
from .isotropic import isotropic_band, isotropic_share

__all__ = ["Chance", "ExampleMeans", "chance", "example_means", "isotropic_band", "isotropic_share"]
