"""Prompts to try as small buttons: what a button says, and what it puts into the prompt's field.

Knows no behaviour and no page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def prompt_chips(prompts: Sequence[str]) -> dict[str, Any]:
    """Arguments of the `gr.Dataset` of the prompts."""
    return {"samples": [[prompt] for prompt in prompts], "sample_labels": [chip_label(prompt) for prompt in prompts]}


def chip_label(prompt: str, *, first: int = 10, last: int = 31) -> str:
    """The first and the last words of a prompt in so many characters each: examples often begin alike."""
    text = " ".join(prompt.split())
    if len(text) <= first + last + 3:
        return text
    head, tail = text[: first + 1], text[-last - 1 :]
    # A text without spaces is cut where it is.
    return f"{head.rpartition(' ')[0] or head[:-1]} … {tail.partition(' ')[2] or tail[1:]}"
