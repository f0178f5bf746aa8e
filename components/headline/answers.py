"""Answers nobody picked: the first test prompts of every behaviour, untouched, steered and edited, for README.

Knows races, records and Markdown; scores nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from s2e_core import Behavior, compare
from s2e_core.measure import Race
from s2e_core.model import LoadedModel
from s2e_core.values import Original, Variant

from .records import Record, Records, chosen_variants
from .sections import markdown_table

N_PROMPTS = 3
N_TOKENS = 48
TEMPERATURES = (0.0, 1.0)
BEGIN, END = "<!-- answers -->", "<!-- end of answers -->"
"""Markers of the section: what a model says follows no rule of README's words."""


def answer_section(records: Records) -> list[str]:
    """A folded section with one table for each behaviour that has answers; nothing if none has."""
    tables = [line for record in records.values() if "answers" in record for line in _table(record)]
    if not tables:
        return []
    return [
        BEGIN,
        "<details>",
        f"<summary>Answers, not picked: the first {N_PROMPTS} test prompts of each behaviour</summary>",
        "",
        f"The first {N_TOKENS} tokens at temperature 0 and, sampled with the random seed 0, at temperature 1; a line "
        "break is shown as /.",
        *tables,
        "",
        "</details>",
        END,
    ]


def _table(record: Record) -> list[str]:
    what = record["what"].get("steering")
    titles = {"untouched": "untouched", "steering": f"steered ({what})", "edit": f"edited ({record['best']})"}
    arms = [arm for arm in titles if arm in record["answers"][0]]
    rows = []
    for row in record["answers"]:
        prompt = escape_markdown(row["prompt"]) if row["temperature"] == TEMPERATURES[0] else ""
        rows.append([prompt, f"{row['temperature']:g}", *(escape_markdown(row[arm]) for arm in arms)])
    table = markdown_table(("prompt", "temperature", *(titles[arm] for arm in arms)), rows)
    return ["", f"**{record['title']}**, wanted: {escape_markdown(record['wanted'])}", "", *table]


def first_answers(loaded: LoadedModel, behavior: Behavior, race: Race) -> list[dict[str, Any]]:
    """What the untouched model, the best steering and the best edit answer, a row for each prompt and temperature."""
    variants = {"untouched": Original(), **chosen_variants(race)}
    rows = [(row, temperature) for row in first_prompts(behavior) for temperature in TEMPERATURES]
    return [
        {"prompt": str(row["prompt"]), "temperature": temperature}
        | dict(zip(variants, _texts(loaded, row, list(variants.values()), temperature), strict=True))
        for row, temperature in rows
    ]


def _texts(
    loaded: LoadedModel, row: Mapping[str, Any], variants: Sequence[Variant], temperature: float
) -> Sequence[str]:
    asked = loaded, str(row["prompt"]), variants
    *_, texts = compare(*asked, system=row.get("system"), max_new_tokens=N_TOKENS, temperature=temperature, seed=0)
    return texts


def first_prompts(behavior: Behavior) -> list[Mapping[str, Any]]:
    """The first rows of the test split that measure the behaviour."""
    return [row for row in behavior.attribute if row.get("split") == "test"][:N_PROMPTS]


def escape_markdown(text: str) -> str:
    """A model's text as one line of a table cell that shows every sign as it is; line breaks become " / "."""
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    escaped = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(line, quote=False))
    return escaped.replace("](", "]&#40;") or "(no word)"
