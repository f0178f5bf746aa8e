"""The presets of the settings: suggested for the behaviour and for every family of edits, and printed in the paper.

Knows the core's edit settings; no page, no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from components.shared import texts
from s2e_core import EditSettings
from s2e_core.measure import Suggestion

PUBLISHED: Mapping[str, EditSettings] = MappingProxyType(
    {
        "Llama-2-7B chat, safety": EditSettings(0.18, 0.55, 0.8),
        "Mistral-7B Instruct, safety": EditSettings(0.42, 0.55, 0.75),
        "Gemma-2-2B IT, truthfulness": EditSettings(0.3, None, 0.9),
        "Llama-3-8B Instruct, truthfulness": EditSettings(0.1, 0.3, 0.4),
        "Qwen3-4B Thinking, reasoning": EditSettings(None, 0.8, 0.05),
        "Nemotron-7B, reasoning": EditSettings(0.3, 0.9, 0.2),
    }
)
"""Best settings printed in the paper, by model and behaviour."""
LEAST_KL = 0.005
"""KL of a suggestion from which its name gives the number, in nats a token."""


def suggestion_name(suggestion: Suggestion) -> str:
    """ "Suggested: gated steering (KL 0.04)"."""
    return texts.SUGGESTED_FAMILY.format(family=suggestion.family, kl=kl_words(suggestion))


def kl_words(suggestion: Suggestion) -> str:
    return f"{suggestion.kl:.2f}" if suggestion.kl >= LEAST_KL else "below 0.01"
