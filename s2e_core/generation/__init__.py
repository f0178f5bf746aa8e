"""Generate text under many variants of one model in one batch."""

from .batching import POLL_SECONDS, BatchRow, answers, rows_that_fit
from .compare import checked_prompt, compare, generate_responses
from .intervene import intervening, preview_logits

__all__ = [
    "POLL_SECONDS",
    "BatchRow",
    "answers",
    "checked_prompt",
    "compare",
    "generate_responses",
    "intervening",
    "preview_logits",
    "rows_that_fit",
]
