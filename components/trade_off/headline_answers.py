"""Answers nobody picked: the first test prompts of every behaviour, untouched, steered and edited, for README.

Knows races and Markdown; scores nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from s2e_core import Behavior, compare
from s2e_core.measure import Race
from s2e_core.model import LoadedModel
from s2e_core.values import Original

from .headline_sections import Run, chosen_variants, markdown_table

N_PROMPTS = 3
N_TOKENS = 48
TEMPERATURES = (0.0, 1.0)
BEGIN, END = "<!-- answers -->", "<!-- end of answers -->"
"""Markers of the section: what a model says follows no rule of README's words."""


def answer_section(loaded: LoadedModel, runs: Sequence[Run]) -> list[str]:
    """A folded section with one table for each behaviour."""
    lines = [
        BEGIN,
        "<details>",
        f"<summary>Answers, not picked: the first {N_PROMPTS} test prompts of each behaviour</summary>",
        "",
        f"The first {N_TOKENS} tokens at temperature 0 and, sampled with the random seed 0, at temperature 1; a line "
        "break is shown as /.",
    ]
    for behavior, race in runs:
        lines += ["", f"**{behavior.title}**, wanted: {escape_markdown(behavior.positive)}", ""]
        lines += _table(loaded, behavior, race)
    return [*lines, "", "</details>", END]


def first_prompts(behavior: Behavior) -> list[Mapping[str, Any]]:
    """The first rows of the test split that measure the behaviour."""
    return [row for row in behavior.attribute if row.get("split") == "test"][:N_PROMPTS]


def escape_markdown(text: str) -> str:
    """A model's text as one line of a table cell that shows every sign as it is; line breaks become " / "."""
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    escaped = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(line, quote=False))
    return escaped.replace("](", "]&#40;") or "(no word)"


def _table(loaded: LoadedModel, behavior: Behavior, race: Race) -> list[str]:
    titles = {"untouched": "untouched", "steering": _steering_title(race), "edit": f"edited ({race.best})"}
    variants = {"untouched": Original(), **chosen_variants(race)}
    header = ("prompt", "temperature", *(titles[name] for name in variants))
    return markdown_table(header, list(_rows(loaded, behavior, list(variants.values()))))


def _rows(loaded: LoadedModel, behavior: Behavior, variants: Sequence[Any]) -> Iterator[list[str]]:
    for row in first_prompts(behavior):
        for temperature in TEMPERATURES:
            *_, texts = compare(
                loaded,
                str(row["prompt"]),
                variants,
                system=row.get("system"),
                max_new_tokens=N_TOKENS,
                temperature=temperature,
                seed=0,
            )
            prompt = escape_markdown(str(row["prompt"])) if temperature == TEMPERATURES[0] else ""
            yield [prompt, f"{temperature:g}", *map(escape_markdown, texts)]


def _steering_title(race: Race) -> str:
    trial = race.chosen.get("steering")
    return "steered" if trial is None else f"steered (γ {trial.gamma:g})"
