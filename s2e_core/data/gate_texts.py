"""The prompts that a gate is fitted on: those of the behaviour (on) and harmless ones (off).

Knows behaviours and examples; the model's own answers to the prompts are made where the gate is fitted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s2e_core.errors import ContrastDataError
from s2e_core.values import ContrastSet, Example

from .behaviors import Behavior, choose_behaviors_folder
from .contrast import content_hash

NEUTRAL = "neutral.jsonl"
"""File name of the neutral prompts beside the behaviours, for examples that bring no harmless prompts of their own."""
FIRST_PROMPTS = 24
"""Prompts of each side that a gate is fitted on whatever the model, at even distances."""
MOST_PROMPTS = 100
"""Prompts of each side for a small model, which keeps more token positions than the first ones have."""
PROBES = 8
"""Harmless prompts that nothing is fitted on: what an edit changes elsewhere is measured on them."""


@dataclass(frozen=True, eq=False)
class GateTexts:
    """Prompts on which an edit should act (on) and on which nothing should change (off); responses are not used.

    The first FIRST_PROMPTS of a side are spread evenly over all that there are, and so are those that follow.
    """

    on: tuple[Example, ...]
    off: tuple[Example, ...]
    probes: tuple[Example, ...]
    """Harmless prompts that no gate is fitted on, to measure what an edit changes elsewhere."""
    harmless: str
    """Name of the harmless prompts."""
    answer_tokens: int = 48
    """Longest answer of the model to a prompt."""

    @property
    def content_hash(self) -> str:
        """SHA-256 of all prompts in order and the length of the answers, in hexadecimal."""
        return content_hash([*self.on, Example(str(self.answer_tokens), self.harmless), *self.off, *self.probes])


def behavior_gate_texts(behavior: Behavior, harmless: Path | None = None) -> GateTexts:
    """Attribute prompts of the development split, and as harmless ones those of a file or that split's utility prompts.

    Raises ContrastDataError for a file without prompts.
    """
    on = _in_order(_prompts(behavior.attribute))
    if harmless is not None:
        return GateTexts(on, *_set_aside(read_harmless(harmless)), harmless.name)
    off, probes = _set_aside(_prompts(behavior.utility))
    return GateTexts(on, off, probes, f"the utility prompts of {behavior.name}")


def example_gate_texts(contrast: ContrastSet, model: Path | None, harmless: Path | None = None) -> GateTexts:
    """Prompts of the positive side, and as harmless ones those of a file or of the neutral set that ships.

    Prompts of the positive side that the negative side has too are used only if there are no others. `model` is the
    folder of the checkpoint, whose words the neutral set has. Raises ContrastDataError for a file without prompts.
    """
    negative = {example.prompt for example in contrast.negative}
    positive = list({example.prompt: example for example in contrast.positive}.values())
    own = [example for example in positive if example.prompt not in negative] or positive
    on = tuple(replace(example, response="") for example in _in_order(own))
    path = choose_behaviors_folder(model) / NEUTRAL if harmless is None else harmless
    name = "the neutral prompts of this program" if harmless is None else harmless.name
    return GateTexts(on, *_set_aside(read_harmless(path)), name)


def read_harmless(path: Path) -> tuple[Example, ...]:
    """Prompts of a file: JSONL rows with "prompt", or one prompt a line. Raises ContrastDataError if there are none."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        rows = [json.loads(line) if path.suffix == ".jsonl" else {"prompt": line.strip()} for line in lines]
    except (OSError, ValueError) as error:
        raise ContrastDataError(f"The harmless prompts of {path.name} cannot be read ({error}).") from error
    if not rows or not all(isinstance(row, dict) and isinstance(row.get("prompt"), str) for row in rows):
        raise ContrastDataError(
            f'{path.name} contains no harmless prompts. Write one prompt a line, or JSONL rows with a "prompt".'
        )
    return tuple(Example(row["prompt"], "", row.get("system")) for row in rows)


def _prompts(rows: Sequence[Mapping[str, Any]], split: str = "development") -> tuple[Example, ...]:
    """Prompts of a split of a behaviour, or of all rows if none belongs to it."""
    inside = [row for row in rows if row.get("split", split) == split] or list(rows)
    return tuple(Example(str(row["prompt"]), "", row.get("system")) for row in inside)


def _in_order(prompts: Sequence[Example]) -> tuple[Example, ...]:
    """Up to MOST_PROMPTS of the prompts: FIRST_PROMPTS at even distances, then some of the others."""
    first = _spread(prompts, FIRST_PROMPTS)
    return (*first, *_others(prompts, first))


def _set_aside(prompts: Sequence[Example]) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Prompts to fit on, and up to PROBES others (a quarter of few) to measure on."""
    chosen = _spread(prompts, FIRST_PROMPTS + PROBES)
    step = max(2, len(chosen) // PROBES)
    probes = chosen[step - 1 :: step][:PROBES] or chosen
    fitted = [prompt for prompt in chosen if prompt not in probes] or chosen
    return (*fitted, *_others(prompts, chosen)), tuple(probes)


def _others(prompts: Sequence[Example], chosen: Sequence[Example]) -> list[Example]:
    """What follows the first prompts of a side, at even distances; none of the chosen ones."""
    rest = [prompt for prompt in prompts if prompt not in chosen]
    return _spread(rest, max(0, MOST_PROMPTS - FIRST_PROMPTS))


def _spread(rows: Sequence[Any], most: int) -> list[Any]:
    n = min(most, len(rows))
    return [rows[number * len(rows) // n] for number in range(n)]
