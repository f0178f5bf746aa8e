"""Texts for the gates of tiny models."""

from s2e_core import Example
from s2e_core.data import GateTexts

TEXTS = GateTexts(
    on=(Example("Are you well?", ""), Example("And you?", "")),
    off=(Example("Count to three.", ""), Example("Two and two", "", "Be brief.")),
    harmless="a few sums",
    answer_tokens=4,
)
