"""One greedy answer of every variant to every attribute prompt: the behaviour as a person sees it at temperature 0.

Knows prompts, answers and scores. No utility prompt is asked: a small model may not answer one of them rightly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s2e_core.data import Behavior
from s2e_core.model import LoadedModel
from s2e_core.text import judge
from s2e_core.values import Variant

from .asking import ask
from .estimates import Estimate, difference, estimate
from .plan import Answer, Plan, Share
from .sweep import order_shares


@dataclass(frozen=True, eq=False)
class Greedy:
    """The verdicts on the answers of one variant, prompt by prompt."""

    scores: tuple[float, ...]
    flawed: tuple[bool, ...]
    """Answers that are empty, repeated or off the subject."""

    @property
    def attribute(self) -> Estimate:
        """Mean score; for thinking length the mean number of tokens."""
        return estimate(self.scores)

    def lead(self, other: Greedy) -> Estimate:
        """Attribute minus that of another variant, prompt by prompt."""
        return difference(self.scores, other.scores)


def greedy_answers(
    loaded: LoadedModel, behavior: Behavior, variants: Mapping[str, Variant], split: str = "test"
) -> dict[str, Greedy]:
    """What every variant answers to all attribute prompts of a split, by the variants' names.

    Raises BehaviorError if the split lacks prompts of a side.
    """
    plan = Plan(behavior, split, n_attribute=None, temperature=0.0)
    questions = [question for question in plan.questions() if question.side == "attribute"]
    shares = order_shares(len(variants), questions)
    answers: dict[Share, Answer] = {}
    for batch in ask(loaded, list(variants.values()), plan, questions, shares):
        answers.update(batch)
    return {
        name: _judged([(questions[q].row, answers[Share(t, q)]) for q in range(len(questions))])
        for t, name in enumerate(variants)
    }


def _judged(answered: Sequence[tuple[Mapping[str, object], Answer]]) -> Greedy:
    verdicts = [judge(row, answer.text, answer.n_tokens) for row, answer in answered]
    return Greedy(tuple(verdict.score for verdict in verdicts), tuple(bool(verdict.flaw) for verdict in verdicts))
