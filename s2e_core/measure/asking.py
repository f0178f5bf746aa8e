"""Ask every variant every question, many at once, and yield the answers batch by batch.

Knows prompts, tokens and batches; no score and no file.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Protocol

from s2e_core.generation import BatchRow, answers, encode_prompt, rows_that_fit
from s2e_core.model import LoadedModel, response_text
from s2e_core.values import Extraction, Original, Prompted, Variant, with_system

from .plan import Answer, Plan, Question, Share
from .trials import Trial, trial_variant

Answers = Generator[list[tuple[Share, Answer]]]
"""Answers batch by batch; a consumer that has enough closes the iterator, which stops the model."""


class Asker(Protocol):
    """Whoever answers the shares of a sweep: this process, or workers elsewhere."""

    def __call__(
        self,
        loaded: LoadedModel,
        extraction: Extraction,
        plan: Plan,
        trials: Sequence[Trial],
        shares: Sequence[Share],
        stop: threading.Event | None,
    ) -> Answers: ...


def ask_here(
    loaded: LoadedModel,
    extraction: Extraction,
    plan: Plan,
    trials: Sequence[Trial],
    shares: Sequence[Share],
    stop: threading.Event | None,
) -> Answers:
    """The answers to `shares` from the loaded model itself."""
    variants = [trial_variant(trial, extraction) for trial in trials]
    return ask(loaded, variants, plan, plan.questions(), shares, stop=stop)


def ask(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    plan: Plan,
    questions: Sequence[Question],
    shares: Sequence[Share],
    *,
    stop: threading.Event | None = None,
) -> Answers:
    """The answers to `shares`, batch by batch, in the order of the shares, greedy ones last.

    Raises Cancelled if `stop` is set.

    Every step of a batch serves all its rows, whatever their variants: 120 questions to 125 settings are 15,000 rows of
    one model, not 125 models.
    """
    systems = {v.system for v in variants if isinstance(v, Prompted)} | {None}
    prompts = {s: [_ids(loaded, plan, question, s) for question in questions] for s in systems}
    longest = max((len(ids) for row in prompts.values() for ids in row), default=0) + plan.length
    size = rows_that_fit(loaded, longest)
    stops = [] if stop is None else [stop]
    sampled, greedy = ([s for s in shares if questions[s.question].greedy == kind] for kind in (False, True))
    parts = ((part, n) for part in (sampled, greedy) for n in range(0, len(part), size))
    for batch in (part[n : n + size] for part, n in parts):
        used = sorted({share.trial for share in batch})
        position = {variant: n for n, variant in enumerate(used)}
        rows = [
            BatchRow(position[s.trial], prompts[_system(variants[s.trial])][s.question], questions[s.question].seed)
            for s in batch
        ]
        batch_variants = [variants[variant] for variant in used]
        temperature = 0.0 if questions[batch[0].question].greedy else plan.temperature
        tokens = answers(loaded, batch_variants, rows, max_new_tokens=plan.length, temperature=temperature, stops=stops)
        yield [(share, _answer(loaded, ids)) for share, ids in zip(batch, tokens, strict=True)]


def _system(variant: Variant) -> str | None:
    return variant.system if isinstance(variant, Prompted) else None


def _ids(loaded: LoadedModel, plan: Plan, question: Question, before: str | None) -> tuple[int, ...]:
    own = question.row.get("system")
    system = with_system(Original() if before is None else Prompted(before), own)
    return tuple(encode_prompt(loaded, str(question.row["prompt"]), system, plan.length, plan.temperature))


def _answer(loaded: LoadedModel, ids: Sequence[int]) -> Answer:
    return Answer(response_text(loaded.tokenizer, ids), len(ids))
