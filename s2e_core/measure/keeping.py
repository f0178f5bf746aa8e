"""What keeps enough of the rest of a model: by the share of utility, or, where that cannot be told, by divergence.

Knows figures and bounds. A model that answers few utility prompts rightly has a share of utility that is mostly luck:
by it, the choice among all that keeps "97 %" would be luck, too. The KL on harmless texts is precise on any model.
"""

from __future__ import annotations

from collections.abc import Iterable

from .estimates import Z
from .plan import Result
from .suggest import KL_BOUND

WHY_KL = (
    "The untouched model answers too few utility prompts rightly to tell shares of its utility apart, so what counts "
    f"is a KL of at most {KL_BOUND:g} nats a token from it on harmless texts."
)


def keeps(result: Result, floor: float) -> bool:
    """Whether a trial keeps `floor` of the utility (0.97 is 97 %).

    Where shares are not told and the KL was measured, it keeps enough if that is at most KL_BOUND, in nats a token, and
    the interval of its share reaches the floor.
    """
    if by_utility(result):
        return result.kept.value >= floor
    return result.kept.high >= floor and divergence(result) <= KL_BOUND


def keeps_safely(result: Result, floor: float) -> bool:
    """Whether the kept utility is above the floor by one standard error; a KL is precise as it is."""
    if by_utility(result):
        return result.kept.value - (result.kept.value - result.kept.low) / Z >= floor
    return keeps(result, floor)


def loss(result: Result, floor: float) -> float:
    """How much more than allowed a trial loses: of the utility, or of the KL in units of the bound; 0 at the bound."""
    if by_utility(result):
        return floor - result.kept.value
    return divergence(result) / KL_BOUND - 1


def bar(results: Iterable[Result], floor: float) -> str:
    """What has to be kept, as the end of a sentence: "keeps 97 % of the utility"."""
    if all(by_utility(result) for result in results):
        return f"keeps {100 * floor:g} % of the utility"
    return f"has a KL of at most {KL_BOUND:g}"


def by_utility(result: Result) -> bool:
    """Whether the share of utility decides, because it is told or nothing else is known."""
    return result.utility_told or result.kl is None


def divergence(result: Result) -> float:
    """The measured KL from the untouched model, in nats a token. Raises ValueError where it was not measured."""
    if result.kl is None:
        raise ValueError("the KL of this trial was not measured")
    return result.kl.value
