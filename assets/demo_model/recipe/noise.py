"""Invented words, so that the model has met words it does not know."""

from __future__ import annotations

from random import Random

from .question import toss

SYLLABLES = (
    "ba", "ter", "lin", "gro", "sha", "mi", "tion", "per", "ka", "do", "ness", "ful", "re", "st",
    "ing", "ed", "ble", "com", "un", "ph", "ex", "qu", "z", "w", "ly", "or", "er", "an", "on",
    "al", "ic", "ment", "ou", "th", "ch", "y", "x", "v", "j", "k",
)  # fmt: skip


def invent_word(rng: Random) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 5)))


def invent_name(rng: Random) -> str:
    word = invent_word(rng)
    return word.capitalize() if toss(rng, 0.4) else word
