"""What the words of a text say, and numbers as words: no model, no file."""

from .judge import Verdict, judge, less_is_better
from .refusals import opening_refusal
from .wording import is_empty, is_repeated, is_think_tag, opens_thought, same_number, thinking, without_open_tag
from .words import counted, dtype_name, layer_ranges, readable_size

__all__ = [
    "Verdict",
    "counted",
    "dtype_name",
    "is_empty",
    "is_repeated",
    "is_think_tag",
    "judge",
    "layer_ranges",
    "less_is_better",
    "opening_refusal",
    "opens_thought",
    "readable_size",
    "same_number",
    "thinking",
    "without_open_tag",
]
