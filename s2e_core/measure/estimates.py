"""A figure with its 95 % interval: Wilson for shares, the percentile bootstrap over prompts for everything else.

Knows lists of numbers, one per prompt; no model, no text. Two lists are compared prompt by prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import torch
from torch import Tensor

RESAMPLES = 2000
SEED = 20260209
Z = 1.959963984540054
"""Quantile of the standard normal distribution, of which 95 % lie from -Z to Z."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure and its interval, which contains the true value in about 95 of 100 repetitions with other prompts."""

    value: float
    low: float
    high: float
    count: int
    """Number of prompts; several samples of one prompt count once."""


def share(outcomes: Sequence[bool] | Sequence[float]) -> Estimate:
    """Share of true outcomes with the Wilson score interval (Wilson 1927), which is valid at 0 and at 1 too.

    Raises ValueError if there is no outcome, or one that is neither 0 nor 1.
    """
    values = _column(outcomes)
    if not _is_binary(values):
        raise ValueError("A share needs outcomes that are 0 or 1.")
    n, p = len(values), float(values.mean())
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return _estimate(p, max(0.0, centre - half), min(1.0, centre + half), n)


def mean(values: Sequence[float]) -> Estimate:
    """Mean with the percentile bootstrap interval (Efron 1979): 2.5 % and 97.5 % of the means of RESAMPLES resamples.

    The random seed is fixed, so the same values give the same interval. If all values are equal the interval has no
    width, since the bootstrap knows no spread but that of the values. Raises ValueError if there is no value, or one
    that is not finite.
    """
    column = _column(values)
    return _bootstrap(lambda resampled: resampled, column)


def estimate(values: Sequence[float]) -> Estimate:
    """`share` if every value is 0 or 1, else `mean`."""
    return share(values) if _is_binary(_column(values)) else mean(values)


def difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """mean(a) - mean(b), where a[i] and b[i] belong to the same prompt: the bootstrap draws prompts, not values.

    For scores between 0 and 1 the interval is no narrower than the normal one for prompts of which one, in sum, is lost
    or gained: even if no prompt distinguishes the two, the next one may, and the bootstrap alone would have no width.
    Raises ValueError if the lists are empty, differ in length or contain a value that is not finite.
    """
    columns = _paired_columns(a, b)
    bootstrap, n, changes = _bootstrap(torch.sub, *columns), len(columns[0]), columns[0] - columns[1]
    are_scores = all(bool(((column >= 0) & (column <= 1)).all()) for column in columns)
    if not are_scores or float((changes - changes.mean()).square().sum()) >= 1:
        return bootstrap
    half = Z / n
    return _estimate(
        bootstrap.value,
        min(bootstrap.low, max(-1.0, bootstrap.value - half)),
        max(bootstrap.high, min(1.0, bootstrap.value + half)),
        n,
    )


def ratio(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """mean(a) / mean(b), paired as `difference`; resamples in which mean(b) is 0 are left out.

    Raises ValueError as `difference` does, and if mean(b) is 0.
    """
    columns = _paired_columns(a, b)
    if float(columns[1].mean()) == 0:
        raise ValueError("The ratio to a mean of 0 is not defined.")

    def quotient(mean_a: Tensor, mean_b: Tensor) -> Tensor:
        return mean_a[mean_b != 0] / mean_b[mean_b != 0]

    return _bootstrap(quotient, *columns)


def kept_share(scores: Sequence[float], original: Sequence[float]) -> Estimate:
    """mean(scores) / mean(original) for scores from 0 to 1, as `ratio`, with an interval that allows for rare losses.

    If 60 prompts lose nothing, every resample loses nothing either, though the next prompt may: the interval of the
    bootstrap alone contains a true share of 97 % in 8 of 10 repetitions. So the interval is at least the normal one for
    prompts of which one, in sum, is lost or gained.
    """
    a, b = _paired_columns(scores, original)
    bootstrap = ratio(scores, original)
    n, differences = bootstrap.count, a - bootstrap.value * b
    variance = max(1.0, float(differences.square().sum())) / n
    half = Z * sqrt(variance / n) / float(b.mean())
    return _estimate(
        bootstrap.value,
        min(bootstrap.low, max(0.0, bootstrap.value - half)),
        max(bootstrap.high, bootstrap.value + half),
        n,
    )


def correlation_estimate(value: float, a: Sequence[float], b: Sequence[float]) -> Estimate:
    """A correlation with its percentile bootstrap interval: the linear correlation of the pairs of every resample.

    A resample in which all values of a side are equal has none, and is left out.
    """
    x, y = _paired_columns(a, b)
    weights = _weights(len(x))
    mean_x, mean_y = weights @ x, weights @ y
    products = weights @ (x * y) - mean_x * mean_y
    spreads = (weights @ x.square() - mean_x.square()) * (weights @ y.square() - mean_y.square())
    resampled = (products[spreads > 1e-9] / spreads[spreads > 1e-9].sqrt()).clamp(-1, 1)
    low, high = torch.quantile(resampled, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return _estimate(value, low, high, len(x))


def _bootstrap(statistic: Callable[..., Tensor], *columns: Tensor) -> Estimate:
    """The statistic of the columns' means, with its interval over resamples of their rows."""
    n = len(columns[0])
    resampled = statistic(*(_weights(n) @ column for column in columns))
    low, high = torch.quantile(resampled, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    value = statistic(*(column.mean().unsqueeze(0) for column in columns))
    return _estimate(float(value), low, high, n)


@lru_cache(maxsize=4)
def _weights(n: int) -> Tensor:
    """Share of each of n values in the draws of each resample: (RESAMPLES, n)."""
    draws = torch.randint(n, (RESAMPLES, n), generator=torch.Generator().manual_seed(SEED))
    counts = torch.zeros(RESAMPLES, n, dtype=torch.float64)
    return counts.scatter_add_(1, draws, torch.ones_like(counts)) / n


def _estimate(value: float, low: float, high: float, count: int) -> Estimate:
    # Rounding, or a skewed sample of few values, may put the value just outside its own interval.
    return Estimate(value, min(low, value), max(high, value), count)


def _paired_columns(a: Sequence[float], b: Sequence[float]) -> tuple[Tensor, Tensor]:
    if len(a) != len(b):
        raise ValueError(f"Paired values need lists of the same length; these have {len(a)} and {len(b)}.")
    return _column(a), _column(b)


def _column(values: Sequence[float] | Sequence[bool]) -> Tensor:
    column = torch.as_tensor(values, dtype=torch.float64)
    if not len(column):
        raise ValueError("There is nothing to estimate from: the list is empty.")
    if not column.isfinite().all():
        raise ValueError("Only finite numbers can be averaged.")
    return column


def _is_binary(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())
