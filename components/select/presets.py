"""The presets of the settings: suggested for the behaviour and for every family of edits, and printed in the paper.

Knows sessions and the core's edit settings; no page, no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from components.shared import texts
from components.shared.session import Session
from s2e_core import EditSettings
from s2e_core.measure import Suggestion
from s2e_core.settings_json import settings_to_json

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


def presets(session: Session) -> dict[str, EditSettings]:
    """Settings by name; where the dials start has a name of its own unless it is the suggestion of a family."""
    families = {suggestion_name(each): each.settings for each in session.scored.suggestions}
    start = {texts.SUGGESTED: session.suggested}
    if any(_are_same(session.suggested, settings) for settings in families.values()):
        start = {}
    return {**start, **families, **PUBLISHED}


def preset_name(session: Session) -> str:
    """The preset that the session's settings are; empty where they were changed, or the edit is a recipe's."""
    if session.recipe:
        return ""
    return next((name for name, it in presets(session).items() if _are_same(it, session.settings)), "")


def set_preset(session: Session, name: str) -> Session:
    """The settings of a preset, or the behaviour's own; the selection by hand is dropped."""
    if name == texts.BY_HAND:
        return session  # it says what is, and is nothing to go to
    return session.with_settings(presets(session).get(name, session.suggested))


def suggestion_name(suggestion: Suggestion) -> str:
    """ "Suggested: gated steering (KL 0.04)"."""
    return texts.SUGGESTED_FAMILY.format(family=suggestion.family, kl=kl_words(suggestion))


def kl_words(suggestion: Suggestion) -> str:
    return f"{suggestion.kl:.2f}" if suggestion.kl >= LEAST_KL else "below 0.01"


def current_suggestion(session: Session) -> Suggestion | None:
    """The suggestion of a family that the session's settings are; None if they are no such."""
    if session.recipe:
        return None
    return next((each for each in session.scored.suggestions if _are_same(each.settings, session.settings)), None)


def _are_same(one: EditSettings, other: EditSettings) -> bool:
    return settings_to_json(one) == settings_to_json(other)
