"""Several sampled answers of every variant to one prompt, each judged by the behaviour's own scoring.

Knows prompts, answers and scores; no page. One greedy text can hide what an edit does: how often an answer shows the
behaviour tells more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s2e_core.data import Behavior
from s2e_core.generation import BatchRow, answers, encode_prompt, rows_that_fit
from s2e_core.model import LoadedModel, response_text
from s2e_core.text import Verdict, judge
from s2e_core.values import Variant, with_system

N_ROLLS = 8
"""Answers of every variant."""
NOT_SHARED = ("prompt", "split", "system", "tricked", "expression")
"""Fields of a row that say nothing about how an answer is scored."""


@dataclass(frozen=True, eq=False)
class Roll:
    """One sampled answer with its verdict; None if the behaviour cannot judge answers to this prompt."""

    text: str
    n_tokens: int
    verdict: Verdict | None


def row_for(behavior: Behavior, prompt: str) -> dict[str, Any]:
    """How answers to a prompt are scored: by the prompt's own row, or by what all rows of the behaviour share.

    Raises BehaviorError if the scoring has to know the prompt, as for facts that differ from prompt to prompt.
    """
    for row in (*behavior.attribute, *behavior.utility):
        if row["prompt"] == prompt:
            return dict(row)
    first, *others = behavior.attribute
    shared = {key: value for key, value in first.items() if all(row.get(key) == value for row in others)}
    row = {"prompt": prompt, **{key: value for key, value in shared.items() if key not in NOT_SHARED}}
    judge(row, "word", 1)
    return row


def is_utility(behavior: Behavior, prompt: str) -> bool:
    """Whether a prompt measures what else the model can do, so that its verdicts say nothing of the behaviour."""
    attribute, utility = ({row["prompt"] for row in rows} for rows in (behavior.attribute, behavior.utility))
    return prompt in utility - attribute


def rolls(
    loaded: LoadedModel,
    prompt: str,
    variants: Sequence[Variant],
    row: Mapping[str, Any] | None = None,
    *,
    count: int = N_ROLLS,
    temperature: float = 1.0,
    seed: int = 0,
    max_new_tokens: int = 64,
    stop: threading.Event | None = None,
) -> Iterator[tuple[tuple[Roll, ...], ...]]:
    """The answers so far, one tuple for every variant; answer n of every variant has the random seed `seed` + n.

    `row` says how they are judged, as from `row_for`; None judges none. Raises SettingsError for a prompt that is empty
    or too long, Cancelled if `stop` is set.
    """
    ids = [
        tuple(encode_prompt(loaded, prompt, with_system(variant, None), max_new_tokens, temperature))
        for variant in variants
    ]
    rows = [BatchRow(v, ids[v], seed + n) for n in range(count) for v in range(len(variants))]
    size = rows_that_fit(loaded, max(map(len, ids)) + max_new_tokens)
    found: list[list[Roll]] = [[] for _ in variants]
    for first in range(0, len(rows), size):
        batch = rows[first : first + size]
        tokens = answers(
            loaded, variants, batch, max_new_tokens=max_new_tokens, temperature=temperature,
            stops=[] if stop is None else [stop],
        )  # fmt: skip
        for each, new in zip(batch, tokens, strict=True):
            text = response_text(loaded.tokenizer, new)
            found[each.variant].append(Roll(text, len(new), None if row is None else judge(row, text, len(new))))
        yield tuple(map(tuple, found))


def shows(verdict: Verdict) -> bool:
    """Whether an answer shows the behaviour: it scores more than half and is no flawed answer."""
    return verdict.flaw is None and verdict.score > 0.5
