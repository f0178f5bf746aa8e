"""Pairs of the model's own answers to one prompt, of which the behaviour's scoring prefers one: what a screen reads.

Knows prompts, answers and scores; no edit. Written examples can be words that the model would never choose, on prompts
where nothing is to be gained; its own answers to the behaviour's prompts are neither.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

from s2e_core.data import contrast_set
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.text import judge
from s2e_core.values import ContrastSet, Example, Original, Prompted, Variant

from .asking import ask
from .plan import Plan, Question, Share
from .screening import LEAST_PAIRS

PROMPTS = 24
"""Attribute prompts that are answered, spread evenly over the split."""
SAMPLES = 4
"""Answers to each prompt."""
ANSWER_TOKENS = 64
"""Longest answer, in tokens."""
Answers = dict[int, list[tuple[float, str]]]
"""Score (larger is better) and text of each answer that is not flawed, by the number of the prompt."""


def own_pairs(
    loaded: LoadedModel,
    plan: Plan,
    seed: int,
    *,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> ContrastSet | None:
    """For each prompt of the plan's split the best and the worst of its sampled answers, if their scores differ.

    Where the untouched model's answers do not differ, those with the behaviour's system prompt are added, if it has
    one. None if fewer than LEAST_PAIRS prompts have a pair. `progress` counts answers, batch by batch. Raises Cancelled
    if `stop` is set or `progress` raises it.
    """
    length = min(plan.length, ANSWER_TOKENS)
    asked = replace(plan, n_attribute=PROMPTS, samples=SAMPLES, temperature=1.0, seed=seed, max_new_tokens=length)
    questions = [question for question in asked.questions() if question.side == "attribute"]
    told = progress or (lambda done, total: None)
    count = len(questions)
    answers = _answers(loaded, Original(), asked, questions, told, stop)
    alike = [question for question in questions if not _differ(answers[question.prompt])]
    if plan.behavior.system_prompt and alike:

        def more(done: int, total: int) -> None:
            told(count + done, count + total)

        prompted = _answers(loaded, Prompted(plan.behavior.system_prompt), asked, alike, more, stop)
        answers |= {prompt: [*answers[prompt], *others] for prompt, others in prompted.items()}
    rows = {question.prompt: question.row for question in questions}
    pairs = [(rows[number], found) for number, found in answers.items() if _differ(found)]
    if len(pairs) < LEAST_PAIRS:
        return None
    sides = [
        [Example(str(row["prompt"]), pick(found, key=itemgetter(0))[1], row.get("system")) for row, found in pairs]
        for pick in (max, min)
    ]
    return contrast_set(*sides, name=f"the model's own answers to {len(pairs)} prompts of {plan.behavior.name}")


def _answers(
    loaded: LoadedModel,
    variant: Variant,
    plan: Plan,
    questions: Sequence[Question],
    progress: Progress,
    stop: threading.Event | None,
) -> Answers:
    sign = -1 if plan.less_is_better else 1
    found: Answers = {question.prompt: [] for question in questions}
    shares = [Share(0, number) for number in range(len(questions))]
    done = 0
    progress(done, len(shares))  # the first batch may take minutes
    for batch in ask(loaded, [variant], plan, questions, shares, stop=stop):
        done += len(batch)
        progress(done, len(shares))
        for share, answer in batch:
            question = questions[share.question]
            verdict = judge(question.row, answer.text, answer.n_tokens)
            if not verdict.flaw:
                found[question.prompt].append((sign * verdict.score, answer.text))
    return found


def _differ(answers: Sequence[tuple[float, str]]) -> bool:
    return len({score for score, _ in answers}) > 1
