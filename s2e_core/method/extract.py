"""From a contrast set to everything that an edit needs of it: means, directions and scores in one value.

Knows the order of the three stages and no formula.
"""

from __future__ import annotations

from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import ActivationMeans, ContrastSet, Extraction, MeanInputs, SteeringDirections

from .capture import capture_means
from .directions import steering_directions
from .scores import component_scores


def extract(loaded: LoadedModel, contrast: ContrastSet, *, progress: Progress | None = None) -> Extraction:
    """Run every example once and score every component (README, steps 1 to 3).

    `progress` counts examples. Raises ContrastDataError if an example cannot be used or the model cannot distinguish
    the two sides, Cancelled if `progress` raises it.
    """
    means = capture_means(loaded, contrast, progress=progress)
    return score_along(loaded, means, steering_directions(loaded, means))


def score_along(loaded: LoadedModel, means: ActivationMeans | MeanInputs, directions: SteeringDirections) -> Extraction:
    """The extraction along given directions, such as those of a file, with the mean inputs of any texts."""
    return Extraction(means, directions, component_scores(loaded, means, directions))
