"""From a file to a contrast set: reading, columns, labels, the linter, and the bundled behaviours."""

from .behaviors import (
    BUNDLED_BEHAVIORS,
    CHAT_BEHAVIORS,
    Behavior,
    choose_behaviors_folder,
    is_for_other_models,
    list_behaviors,
    load_behavior,
)
from .columns import Columns
from .contrast import content_hash, contrast_set, contrast_set_from, load_contrast_set, parse_contrast_set, swapped
from .corrections import LEAVE_OUT, long_examples, name_examples, sampled, without_long
from .gate_texts import FIRST_PROMPTS, NEUTRAL, GateTexts, behavior_gate_texts, example_gate_texts, read_harmless
from .lint import FEW, Finding, lint, mark_averaged_tokens
from .probes import ProbeKind, ProbeRow, load_probes
from .questions import OpenQuestion, QuestionKind
from .reading import Reading, parse_examples, read_examples
from .row_examples import Side
from .table import FILES, SUFFIXES, read_table

__all__ = [
    "BUNDLED_BEHAVIORS",
    "Behavior",
    "CHAT_BEHAVIORS",
    "Columns",
    "FEW",
    "FILES",
    "Finding",
    "FIRST_PROMPTS",
    "LEAVE_OUT",
    "NEUTRAL",
    "GateTexts",
    "OpenQuestion",
    "ProbeKind",
    "ProbeRow",
    "QuestionKind",
    "Reading",
    "SUFFIXES",
    "Side",
    "mark_averaged_tokens",
    "behavior_gate_texts",
    "content_hash",
    "contrast_set",
    "contrast_set_from",
    "choose_behaviors_folder",
    "example_gate_texts",
    "is_for_other_models",
    "lint",
    "list_behaviors",
    "load_behavior",
    "load_contrast_set",
    "load_probes",
    "long_examples",
    "name_examples",
    "parse_contrast_set",
    "parse_examples",
    "read_examples",
    "read_harmless",
    "read_table",
    "sampled",
    "swapped",
    "without_long",
]
