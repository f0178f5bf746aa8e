"""Strengths at a given divergence: by which factor a strength reaches it, and the steering that has the KL of an edit.

Knows a divergence to reach; which edit it is of, and on which texts, the race says.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, log, sqrt
from typing import NamedTuple

from s2e_core.errors import Cancelled, S2EError
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import Example, Steered, SteeringDirections

from .damage import next_token_kl

NEAR = 0.03
"""Largest relative error of the KL that was matched."""
MOST_STEPS = 16
"""Strengths that are tried before the search is given up."""
LARGEST_STEP = 2.0
"""Factor on a strength beyond which the KL is not foretold."""
LEAST_STEP = 1.4
"""Factor by which at least a strength is changed until one is known on either side."""
LEAST_KL = 1e-6
"""Smallest KL, in nats a token, that is told from rounding."""


def strength_factor(wanted: float, measured: float) -> float:
    """The factor on a strength that should bring its KL from `measured` to `wanted`, at most LARGEST_STEP either way.

    The KL grows with about the square of the strength.
    """
    return min(LARGEST_STEP, max(1 / LARGEST_STEP, sqrt(wanted / max(measured, LEAST_KL))))


def steering_at_kl(
    loaded: LoadedModel,
    directions: SteeringDirections,
    kl: float,
    texts: Sequence[Example],
    *,
    start: float = 0.3,
    progress: Progress | None = None,
) -> float | None:
    """The γ at which steering has a KL of `kl` nats a token on `texts`, within NEAR; None if none was found.

    `progress` is that of every measurement; raise `Cancelled` in it to stop.
    """
    if kl < LEAST_KL:
        return None
    gamma, below, above = start, _NOTHING, _TOO_MUCH
    for _ in range(MOST_STEPS):
        measured = _steered_kl(loaded, Steered(directions, gamma), texts, progress)
        if abs(log(max(measured, LEAST_KL) / kl)) <= log(1 + NEAR):
            return gamma
        here = _Tried(gamma, measured)
        below, above = (here, above) if measured < kl else (below, here)
        gamma = _between(below, above, kl) if below.gamma and isfinite(above.gamma) else _outward(here, kl)
    return None


class _Tried(NamedTuple):
    gamma: float
    kl: float


_NOTHING, _TOO_MUCH = _Tried(0.0, 0.0), _Tried(inf, inf)


def _steered_kl(loaded: LoadedModel, steered: Steered, texts: Sequence[Example], progress: Progress | None) -> float:
    """The KL of steering; infinity if it is so strong that the model's numbers are not finite."""
    try:
        (measured,) = next_token_kl(loaded, [steered], texts, progress=progress)
    except Cancelled:
        raise
    except S2EError:
        return inf
    return measured.value


def _outward(here: _Tried, kl: float) -> float:
    """A strength beyond all that was tried, towards the KL; where the KL hardly grows any more, too."""
    factor = strength_factor(kl, here.kl)
    return here.gamma * (max(factor, LEAST_STEP) if here.kl < kl else min(factor, 1 / LEAST_STEP))


def _between(below: _Tried, above: _Tried, kl: float) -> float:
    """A strength between two, where a straight line through both in logarithms has the KL, but not too near to either.

    A small model may break within a narrow range of strengths, in which the KL grows far faster than with the square.
    """
    share = 0.5
    if isfinite(above.kl):
        low, high, wanted = (log(max(value, LEAST_KL)) for value in (below.kl, above.kl, kl))
        share = min(0.9, max(0.1, (wanted - low) / (high - low)))
    return below.gamma * (above.gamma / below.gamma) ** share
