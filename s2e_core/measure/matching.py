"""Steering at the divergence of an edit: the strength at which both change harmless texts by as much.

Knows a divergence to reach; which edit it is of, and on which texts, the race says.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt

from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import Example, Steered, SteeringDirections

from .damage import next_token_kl

NEAR = 0.03
"""How near the KL has to come: 0.03 is 3 %."""
MOST_STEPS = 8
LARGEST_STEP = 4.0
LEAST_KL = 1e-6
"""Nats a token: what changes texts by less is matched by no steering at all."""


def steering_at_kl(
    loaded: LoadedModel,
    directions: SteeringDirections,
    kl: float,
    texts: Sequence[Example],
    *,
    start: float = 0.3,
    progress: Progress | None = None,
) -> float:
    """The γ at which steering has a KL of `kl` nats a token on `texts`, the nearest that was tried; 0 for no KL.

    KL grows with about the square of γ, which gives the next γ to try. `progress` is that of
    every measurement; raise `Cancelled` in it to stop.
    """
    if kl < LEAST_KL:
        return 0.0
    gamma, tried = start, list[tuple[float, float]]()
    for _ in range(MOST_STEPS):
        (measured,) = next_token_kl(loaded, [Steered(directions, gamma)], texts, progress=progress)
        ratio = kl / max(measured.value, LEAST_KL)
        tried.append((abs(log(ratio)), gamma))
        if abs(log(ratio)) <= log(1 + NEAR):
            break
        gamma *= min(LARGEST_STEP, max(1 / LARGEST_STEP, sqrt(ratio)))
    return min(tried)[1]
