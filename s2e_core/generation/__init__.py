"""Generate text under many variants of one model in one batch."""

from .batching import POLL_SECONDS, BatchRow, answers, rows_that_fit
from .compare import compare, encode_prompt, generate_responses
from .intervene import apply_variants, preview_logits

__all__ = [
    "POLL_SECONDS",
    "BatchRow",
    "answers",
    "encode_prompt",
    "compare",
    "generate_responses",
    "apply_variants",
    "preview_logits",
    "rows_that_fit",
]
