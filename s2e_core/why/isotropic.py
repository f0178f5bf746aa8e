"""How large a cosine with a random direction gets: the null without any example.

Knows the width of the residual stream alone. Real residual streams have fewer directions than their width, so that this
band is too narrow where the permutations of `chance.py` are not.
"""

from __future__ import annotations

from math import asin, exp, lgamma, pi, sqrt

import torch

POINTS = 4001
"""Points of the integral over the angle."""


def isotropic_share(threshold: float, d_model: int) -> float:
    """Probability that |cos| between a fixed and a uniformly random direction of R^d exceeds a threshold, d >= 2.

    With cos = sin(a) the density of the angle a is proportional to cos(a)^(d-2), from -pi/2 to pi/2.
    """
    if threshold <= 0:
        return 1.0
    if threshold >= 1:
        return 0.0
    start = asin(threshold)
    # Beyond this width the density has fallen by e^-40, whatever d.
    angles = torch.linspace(start, min(pi / 2, start + 9 / sqrt(max(d_model - 2, 1))), POINTS, dtype=torch.float64)
    density = angles.cos().clamp(min=0) ** (d_model - 2)
    whole = sqrt(pi) * exp(lgamma((d_model - 1) / 2) - lgamma(d_model / 2))
    return min(1.0, 2 * float(torch.trapezoid(density, angles)) / whole)


def isotropic_band(d_model: int, share: float = 0.05) -> float:
    """The |g| that a random direction exceeds with this probability."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if isotropic_share(middle, d_model) > share else (low, middle)
    return high
