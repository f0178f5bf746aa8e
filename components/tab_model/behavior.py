"""What a tab knows of a behaviour to ask and judge by itself: its words, its prompts, and how answers are judged.

Knows behaviours and the rows of their prompts; no model. The other end is asking.js.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from components.shared.prompt_chips import chip_label
from s2e_core import Behavior, BehaviorError
from s2e_core.measure import is_utility, row_for

JUDGED = (
    "kind", "phrases", "not_phrases", "true", "myth", "wanted", "unwanted", "cheerful", "gloomy", "answer", "anywhere",
)  # fmt: skip
"""Fields of a row that its verdicts depend on."""


def behavior_data(behavior: Behavior) -> dict[str, Any]:
    """The behaviour for the page; `prompts` gives the place of a prompt's row in `rows`, `other` that of any other."""
    rows: dict[str, int] = {}
    prompts = {str(row["prompt"]): _place(row, rows) for row in (*behavior.attribute, *behavior.utility)}
    return {
        "title": behavior.title,
        "summary": behavior.summary,
        "lesson": behavior.lesson,
        "positive": behavior.positive,
        "examples": [{"prompt": prompt, "label": chip_label(prompt)} for prompt in behavior.examples],
        "length": behavior.max_new_tokens,
        "gamma": behavior.gamma,
        "prompts": prompts,
        "utility": [prompt for prompt in prompts if is_utility(behavior, prompt)],
        "other": _other(behavior, rows),
        "rows": [json.loads(row) for row in rows],
    }


def own_data() -> dict[str, Any]:
    """The same for a visitor's own examples, whose answers nothing judges."""
    return {"positive": "", "prompts": {}, "utility": [], "other": None, "rows": []}


def _other(behavior: Behavior, rows: dict[str, int]) -> int | None:
    """The row of prompts that the behaviour does not contain; None if their answers cannot be judged."""
    try:
        return _place(row_for(behavior, ""), rows)
    except BehaviorError:
        return None


def _place(row: Mapping[str, Any], rows: dict[str, int]) -> int:
    text = json.dumps({name: row[name] for name in JUDGED if name in row}, ensure_ascii=False)
    return rows.setdefault(text, len(rows))
