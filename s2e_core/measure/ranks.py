"""How well the screen predicts what answers say: Spearman's rank correlation of its figures with the sampled ones.

Knows lists of numbers, screened settings and results; no model and no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import correlation

from .estimates import Estimate, correlation_estimate
from .keeping import keeps
from .plan import Result
from .shortlist import Screened
from .trials import trial_key

FEWEST = 3
"""Fewest pairs whose rank correlation is reported: that of two is always 1 or -1."""


@dataclass(frozen=True, eq=False)
class RankCorrelation:
    """Spearman's rank correlation of pairs of figures."""

    value: float | None
    """Rank correlation from -1 to 1; None for fewer than FEWEST pairs, or if all values of a side are equal."""
    count: int
    """Number of pairs."""


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation (1904) of pairs a[i], b[i]: equal values share the mean of their ranks.

    Raises ValueError for lists of different lengths, fewer than two pairs, a value that is not finite, or a side whose
    values are all equal.
    """
    if not all(isfinite(value) for value in (*a, *b)):
        raise ValueError("Only finite numbers have a rank.")
    return correlation(_rank(a), _rank(b))


def spearman_interval(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """`spearman` with its percentile bootstrap interval over pairs: the ranks are those of all pairs in every resample.

    Raises ValueError as `spearman` does.
    """
    value = spearman(a, b)
    return correlation_estimate(value, _rank(a), _rank(b))


def margin_ranks(
    screened: Sequence[Screened], results: Sequence[Result], floor: float, less_is_better: bool
) -> RankCorrelation:
    """Screened margin with sampled attribute, over the asked edits that keep `floor` of the utility (`keeps`).

    1 means that the screen puts these edits into the order that the answers do; fewer tokens count as more attribute.
    """
    kept = [(s, r) for s, r in _pairs(screened, results) if keeps(r, floor)]
    sign = -1 if less_is_better else 1
    return _correlation([s.figures.margin.value for s, _ in kept], [sign * r.attribute.value for _, r in kept])


def kl_ranks(screened: Sequence[Screened], results: Sequence[Result]) -> RankCorrelation:
    """Screened KL with kept utility, over all asked edits; -1 means that more KL always costs more utility."""
    pairs = _pairs(screened, results)
    return _correlation([s.figures.kl.value for s, _ in pairs], [r.kept.value for _, r in pairs])


def _pairs(screened: Sequence[Screened], results: Sequence[Result]) -> list[tuple[Screened, Result]]:
    """Every asked edit with its screen; edits that were never screened, or not with finite figures, are left out."""
    by_key = {trial_key(one.trial): one for one in screened if one.trial.settings is not None}
    pairs = [(by_key.get(trial_key(result.trial)), result) for result in results]
    return [(one, result) for one, result in pairs if one is not None and _is_finite(one)]


def _is_finite(one: Screened) -> bool:
    return isfinite(one.figures.margin.value) and isfinite(one.figures.kl.value)


def _correlation(a: Sequence[float], b: Sequence[float]) -> RankCorrelation:
    is_ranked = len(a) >= FEWEST and len(set(a)) > 1 and len(set(b)) > 1
    return RankCorrelation(spearman(a, b) if is_ranked else None, len(a))


def _rank(values: Sequence[float]) -> list[float]:
    """Rank of each value from 1; equal values get the mean of the ranks that they take up."""
    ordered = sorted(values)
    first = {value: n for n, value in reversed(list(enumerate(ordered, 1)))}
    return [first[value] + (ordered.count(value) - 1) / 2 for value in values]
