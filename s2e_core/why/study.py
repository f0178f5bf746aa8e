"""What all cards of one model and one contrast set share, computed once: chance, kinds of heads, the lens, texts.

Knows the order of these steps; what a card is made of is in `card.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s2e_core.errors import Cancelled, S2EError
from s2e_core.measure import TextSpan
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.values import ContrastSet, Extraction

from .chance import Chance, chance
from .effects import PairedTexts, paired_texts
from .example_means import ExampleMeans, example_means
from .head_kinds import N_TEXTS, HeadKinds, head_kinds
from .lens import Lens, find_lens

CARD_TOKENS = 260
"""Most tokens of the texts on which a card measures its interventions."""
JACOBIAN_TEXTS = 2
"""Responses of each side over which the mean Jacobian of a card is taken."""
UNRELATED = ("The train leaves at half past nine.", "A triangle has three sides.", "Paris is the capital of France.")
"""Texts that have nothing to do with a behaviour, if none are given."""


@dataclass(frozen=True, eq=False)
class Study:
    """One model and one contrast set, ready for the cards of its components."""

    loaded: LoadedModel
    extraction: Extraction
    means: ExampleMeans
    chance: Chance
    kinds: HeadKinds | None
    """None if the model does not tell its attention."""
    lens: Lens | None
    """None if the model does not end in a norm and an unembedding."""
    pairs: PairedTexts
    """Responses on which interventions are measured."""
    unrelated: tuple[str, ...]
    missing: tuple[str, ...]
    """Sentences that say what this model does not allow."""

    @property
    def jacobian_texts(self) -> tuple[TextSpan, ...]:
        """The responses over which the mean Jacobian is taken."""
        return (*self.pairs.wanted[:JACOBIAN_TEXTS], *self.pairs.unwanted[:JACOBIAN_TEXTS])


def open_study(
    loaded: LoadedModel,
    contrast: ContrastSet,
    extraction: Extraction,
    *,
    known: tuple[ExampleMeans, Chance] | None = None,
    unrelated: Sequence[str] = UNRELATED,
    progress: Progress | None = None,
) -> Study:
    """Read the examples once more, one by one, and some of them for the kinds of heads.

    `known` are the means of these examples and what chance gives, where they have been read before. `progress` counts
    examples, sites and texts together. Raises ContrastDataError and S2EError as its parts do where nothing can be told,
    Cancelled if `progress` raises it.
    """
    examples = (*contrast.positive, *contrast.negative)
    stages = Stages(progress, examples=len(examples), sites=len(loaded.spec.sites), texts=min(N_TEXTS, len(examples)))
    if known is None:
        means = example_means(loaded, contrast, outliers=extraction.outliers, progress=stages.of("examples"))
        known = means, chance(loaded, means, progress=stages.of("sites"))
    means, luck = known
    missing: list[str] = []
    kinds: HeadKinds | None = None
    lens: Lens | None = None
    try:
        kinds = head_kinds(loaded, means.examples, progress=stages.of("texts"))
    except Cancelled:
        raise
    except S2EError as reason:
        missing.append(str(reason))
    try:
        lens = find_lens(loaded)
    except S2EError as reason:
        missing.append(str(reason))
    pairs = paired_texts(loaded, contrast, most_tokens=CARD_TOKENS)
    stages.finish()
    return Study(loaded, extraction, means, luck, kinds, lens, pairs, tuple(unrelated), tuple(missing))
