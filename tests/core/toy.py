"""A behaviour without files: a few prompts whose measures also work for the answers of a tiny random model."""

from __future__ import annotations

from typing import Any

from s2e_core import Behavior, EditSettings
from tests.core.chain import EXAMPLES

SPLITS = ("development", "test")


def toy_behavior(n_attribute: int = 4, n_utility: int = 3, **changes: Any) -> Behavior:
    """A behaviour whose attribute is the length and whose utility is help; each split has the given number of rows."""
    attribute = [
        {"prompt": f"Count {'on and ' * (n % 3)}{n}", "kind": "length", "split": split}
        for split in SPLITS
        for n in range(n_attribute)
    ]
    utility = [{"prompt": f"Help {n}", "kind": "help", "split": split} for split in SPLITS for n in range(n_utility)]
    fields = {
        "name": "toy",
        "title": "Toy",
        "summary": "",
        "positive": "short",
        "negative": "long",
        "lesson": "",
        "settings": EditSettings(0.3, 0.3, 0.5),
        "gamma": 0.5,
        "examples": ("Hello",),
        "max_new_tokens": 6,
        "source": "",
        "contrast": EXAMPLES,
        "attribute": tuple(attribute),
        "utility": tuple(utility),
    }
    return Behavior(**fields | changes)
