"""A question of the small world, and which part of the world it belongs to.

Knows nothing about deeds, places or problems: only that every question has a
key naming its combination, and that the key alone decides train or held-out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

Split = Literal["train", "contrast", "development", "test"]
SPLITS: tuple[Split, ...] = ("train", "contrast", "development", "test")

HELD_OUT_BUCKETS: dict[int, Split] = {
    **dict.fromkeys(range(0, 7), "contrast"),
    **dict.fromkeys(range(7, 14), "development"),
    **dict.fromkeys(range(14, 21), "test"),
}


@dataclass(frozen=True)
class Question:
    """What a person asks; `detail` is what its family needs to answer it."""

    prompt: str
    family: str
    kind: str
    key: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def split_of(key: str) -> Split:
    """Training may use 79 of 100 buckets of combinations; the rest is held out."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100
    return HELD_OUT_BUCKETS.get(bucket, "train")


def toss(rng: Random, probability: float) -> bool:
    return rng.random() < probability


def draw_lean(rng: Random, leans: Mapping[float, float]) -> float:
    """The hidden mode of one conversation: lean -> how often it occurs."""
    return rng.choices(list(leans), weights=list(leans.values()))[0]
