"""Eight answers a side: (store, session, prompt and options) to the value of the widget that shows them.

Knows the core's `rolls` and the variants of the comparison; no event. The drawing is in components/compare/rolls.js,
which writes every text with `textContent`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.shared import texts
from components.shared.session import Session
from components.shared.store import ModelStore
from s2e_core import Behavior, BehaviorError
from s2e_core.measure import N_ROLLS, Roll, is_utility, rolls, row_for, shows

from .handlers import EMPTY, Request, check_request, request_variants, short

USUAL_TEMPERATURE = 1.0
"""Temperature of the answers if the page's is 0, where all of them would be the same."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What was asked, and how answers are judged."""

    request: Request
    row: dict[str, Any] | None
    """How answers are scored; None if nothing says so."""
    wanted: str
    """What an answer that counts shows: the label of the wanted side, or that it is a good answer to another prompt."""
    swapped: bool

    @classmethod
    def of(cls, behavior: Behavior | None, session: Session, request: Request) -> Asked:
        request = replace(request, temperature=request.temperature or USUAL_TEMPERATURE)
        try:
            row = None if behavior is None else row_for(behavior, request.prompt)
        except BehaviorError:
            row = None
        if behavior is not None and is_utility(behavior, request.prompt):
            return cls(request, row, texts.ROLLS_GOOD, swapped=False)
        sides = ("", "") if behavior is None else (behavior.positive, behavior.negative)
        return cls(request, row, sides[session.swapped], session.swapped)

    def is_wanted(self, roll: Roll) -> bool | None:
        """Whether an answer shows the wanted side; None if that is not judged answer by answer."""
        if roll.verdict is None or self.is_length:
            return None
        return roll.verdict.flaw is None and shows(roll.verdict) != self.swapped

    @property
    def is_length(self) -> bool:
        return self.row is not None and self.row["kind"] == "length"


def rolled(store: ModelStore, session: Session, request: Request) -> Iterator[dict[str, Any]]:
    """Values of the widget: first that the model is being asked, in the end all answers with their verdicts."""
    check_request(request, store.limits)
    asked = Asked.of(store.named_behavior(session.behavior), session, request)
    variants = request_variants(store.named_behavior(session.behavior), session, request)
    stop = threading.Event()
    titles = [title for title, _ in variants]
    found: Sequence[Sequence[Roll]] = [()] * len(titles)
    yield rolls_value(titles, found, asked, busy=True)
    stream = rolls(
        store.model(session.model), request.prompt, [variant for _, variant in variants], asked.row,
        temperature=float(asked.request.temperature), seed=int(request.seed), max_new_tokens=int(request.length),
        stop=stop,
    )  # fmt: skip
    try:
        for found in stream:
            yield rolls_value(titles, found, asked, busy=True)
    finally:
        stop.set()  # also where the visitor pressed Stop
    yield rolls_value(titles, found, asked)


def rolls_value(
    titles: Sequence[str], found: Sequence[Sequence[Roll]], asked: Asked, *, busy: bool = False
) -> dict[str, Any]:
    """The widget's value; `busy` while answers are still to come."""
    request = asked.request
    return {
        "busy": busy,
        "asked": texts.ROLLS_ASKED.format(
            count=N_ROLLS, prompt=short(request.prompt), temperature=request.temperature, seed=int(request.seed)
        ),
        "columns": [
            {
                "title": title,
                "told": "" if busy else told(answers, asked),
                "rolls": [_entry(roll, asked) for roll in answers],
            }
            for title, answers in zip(titles, found, strict=True)
        ],
    }


def told(answers: Sequence[Roll], asked: Asked) -> str:
    """What the answers of one variant come to, in a few words."""
    if asked.row is None:
        return texts.ROLLS_UNJUDGED.format(count=len({roll.text for roll in answers}), total=len(answers))
    if asked.is_length:
        mean = sum(roll.n_tokens for roll in answers) / max(1, len(answers))
        return texts.ROLLS_TOKENS.format(tokens=mean)
    count = sum(bool(asked.is_wanted(roll)) for roll in answers)
    return texts.ROLLS_COUNT.format(wanted=asked.wanted, count=count, total=len(answers))


def _entry(roll: Roll, asked: Asked) -> dict[str, Any]:
    verdict = roll.verdict
    return {
        "text": roll.text if roll.text.strip() else EMPTY,
        "wanted": asked.is_wanted(roll),
        "matched": "" if verdict is None or asked.is_length else verdict.matched,
        "flaw": (verdict.flaw or "") if verdict is not None else "",
        "tokens": roll.n_tokens,
    }
