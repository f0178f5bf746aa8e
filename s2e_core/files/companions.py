"""Which files belong to a model besides its weights, by their names: what a download brings and an export copies.

Knows names alone. Everything else beside a model (weights in other formats, programs, remains of training) stays out.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
"""Licence of a model."""
CARD = "README.md"
COMPANIONS = (
    "*.json", "*merges.txt", "*vocab*.txt", "dict*.txt", "*.bpe", "*.codes", "*.model", "*.tiktoken", "*.jinja", CARD,
    *LICENCES,
)  # fmt: skip
"""Configurations, tokenizers, templates, card and licence, beside the weights."""
TEMPLATES = ("additional_chat_templates/*.jinja", "templates/*.jinja")
"""Templates in folders of their own."""
NOT_COMPANIONS = (
    "*.index.json", "adapter_config.json", "params.json", "trainer_state.json", "*_results.json",
)  # fmt: skip
"""JSON files that belong to an adapter, to weights in another format, or to a training run."""


def is_companion(name: str) -> bool:
    """Whether a file belongs to a model; `name` is its path in the model's folder, with slashes."""
    if "/" in name:
        return any(fnmatchcase(name, pattern) for pattern in TEMPLATES)
    return any(fnmatchcase(name, it) for it in COMPANIONS) and not any(fnmatchcase(name, it) for it in NOT_COMPANIONS)
