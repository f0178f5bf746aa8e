"""The model's own responses to prompts, and the sides they belong to."""

from .file import OwnResponse, held_responses
from .own import own_responses
from .rules import reference_row, sides_by_agreement, sides_by_hand, sides_by_length, sides_by_prompt
from .sides import Asked, Rule, answer_sides, asked_prompts, marks_of, possible_rules

__all__ = [
    "Asked",
    "OwnResponse",
    "Rule",
    "answer_sides",
    "asked_prompts",
    "held_responses",
    "marks_of",
    "own_responses",
    "possible_rules",
    "reference_row",
    "sides_by_agreement",
    "sides_by_hand",
    "sides_by_length",
    "sides_by_prompt",
]
