"""How often variants refuse: the prompts of the model's safety behaviour, asked with the same random seeds.

Knows behaviours, variants and shares. Steering is known to move how often harmful requests are refused, whatever it was
meant for; so every edit can be asked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from s2e_core.data import Behavior
from s2e_core.errors import BehaviorError
from s2e_core.measure import Estimate, Plan, Share, ask, share, shows
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.text import judge
from s2e_core.values import Variant

REFUSAL_PROMPTS = 60
"""Number of prompts."""


def refusal_behavior(behaviors: Iterable[Behavior]) -> Behavior | None:
    """The behaviour whose answers are judged by whether they refuse; None if there is none with prompts."""
    return next((one for one in behaviors if one.attribute and one.attribute[0].get("kind") == "refusal"), None)


def refusal_rates(
    loaded: LoadedModel,
    behavior: Behavior,
    variants: Sequence[Variant],
    *,
    count: int = REFUSAL_PROMPTS,
    seed: int = 0,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> tuple[Estimate, ...]:
    """Share of the behaviour's held-out requests that every variant refuses, with Wilson's interval.

    One sampled answer to each of `count` requests at most, at temperature 1; an answer that is empty or stuck in a loop
    is no refusal. `progress` counts answers. Raises BehaviorError if the behaviour is not judged by refusals, Cancelled
    if `stop` is set.
    """
    plan = Plan(behavior, "test", count, 0, seed=seed)
    questions = plan.questions()
    if any(question.row["kind"] != "refusal" for question in questions):
        raise BehaviorError(f"{behavior.name} is not judged by refusals. Choose the model's safety behaviour.")
    shares = [(trial, number) for number in range(len(questions)) for trial in range(len(variants))]
    refused: list[list[bool]] = [[] for _ in variants]
    for answered in ask(loaded, variants, plan, questions, [Share(*pair) for pair in shares], stop=stop):
        for asked, answer in answered:
            refused[asked.trial].append(shows(judge(questions[asked.question].row, answer.text, answer.n_tokens)))
        if progress is not None:
            progress(sum(map(len, refused)), len(shares))
    return tuple(share(outcomes) for outcomes in refused)
