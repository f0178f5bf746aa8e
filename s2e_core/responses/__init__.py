"""The model's own responses to prompts, and the sides they belong to."""

from .file import OwnResponse, read_responses
from .own import own_responses
from .rules import reference_row, sides_by_agreement, sides_by_hand, sides_by_length, sides_by_prompt
from .sides import Asked, Rule, answer_sides, find_marks, possible_rules, read_prompts

__all__ = [
    "Asked",
    "OwnResponse",
    "Rule",
    "answer_sides",
    "read_prompts",
    "read_responses",
    "find_marks",
    "own_responses",
    "possible_rules",
    "reference_row",
    "sides_by_agreement",
    "sides_by_hand",
    "sides_by_length",
    "sides_by_prompt",
]
