"""From a contrast set to everything that an edit needs of it: means, directions and scores in one value.

Knows the order of the three stages and no formula.
"""

from __future__ import annotations

from dataclasses import replace

from s2e_core.data import GateTexts
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.values import OUTLIERS, ActivationMeans, ContrastSet, Extraction, MeanInputs, Outliers, SteeringDirections

from .capture import capture_means
from .directions import steering_directions
from .scores import component_scores
from .token_capture import capture_token_inputs


def extract(
    loaded: LoadedModel,
    contrast: ContrastSet,
    *,
    texts: GateTexts | None = None,
    outliers: Outliers = OUTLIERS,
    progress: Progress | None = None,
) -> Extraction:
    """Run every example once and score every component (README, steps 1 to 3); with `texts` also solve the gates.

    The paper's edit needs the contrast set alone; `texts` are what baked and gated steering are fitted on.
    `outliers` says what becomes of positions with an extreme residual norm ("keep" is the paper's). `progress` counts
    examples and prompts. Raises ContrastDataError if an example cannot be used or the model cannot distinguish the two
    sides, Cancelled if `progress` raises it.
    """
    n_prompts = 0 if texts is None else len(texts.on) + len(texts.off)
    n_examples = len(contrast.positive) + len(contrast.negative)
    stages = Stages(progress, examples=n_examples, texts=2 * n_prompts)
    means = capture_means(loaded, contrast, outliers=outliers, progress=stages.of("examples"))
    extraction = score_along(loaded, means, steering_directions(loaded, means))
    if texts is not None:
        token_inputs = capture_token_inputs(loaded, texts, progress=stages.of("texts"))
        extraction = replace(extraction, token_inputs=token_inputs)
    return extraction


def score_along(loaded: LoadedModel, means: ActivationMeans | MeanInputs, directions: SteeringDirections) -> Extraction:
    """The extraction along given directions, such as those of a file, with the mean inputs of any texts."""
    return Extraction(means, directions, component_scores(loaded, means, directions))
