"""A behaviour that needs no file: a few prompts on each side, whose scores a tiny random model's answers can have."""

from __future__ import annotations

from typing import Any

from s2e_core import Behavior, EditSettings
from tests.core.chain import EXAMPLES

SPLITS = ("development", "test")


def toy_behavior(n_attribute: int = 4, n_utility: int = 3, **changes: Any) -> Behavior:
    """Half of the rows of each side belong to each split; the attribute is the length, help the utility."""
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
