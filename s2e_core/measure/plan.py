"""What every trial is asked, and the figures that follow from its answers.

Knows behaviours, questions and scoring; no model. Every trial gets the same questions with the same random seeds, so
that two trials are compared prompt by prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal, NamedTuple

from s2e_core.data import Behavior
from s2e_core.errors import BehaviorError, SettingsError
from s2e_core.text import Verdict, judge, less_is_better

from .estimates import Estimate, estimate, kept_share, mean
from .trials import Trial

Side = Literal["attribute", "utility"]
FLAWS = ("empty", "repeated", "off-topic")
MOST_ERROR = 0.1
"""Largest standard error of the untouched model's utility, as a share of it, with which shares of it are told apart."""


@dataclass(frozen=True, eq=False)
class Question:
    """One prompt with one random seed."""

    row: Mapping[str, Any]
    """Row of the behaviour: "prompt", "kind" and what scoring needs."""
    side: Side
    seed: int
    prompt: int
    """Number of the prompt: samples of one prompt are averaged before any interval is computed."""
    greedy: bool = False
    """Whether it is answered at temperature 0, whatever that of the plan is."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How a behaviour is measured: which prompts, how many samples of each, and how long the answers may be.

    Raises SettingsError for less than one sample, and for several at temperature 0.
    """

    behavior: Behavior
    split: str = "development"
    n_attribute: int | None = 60
    """Number of attribute prompts, spread evenly over the split; None takes all."""
    n_utility: int | None = 60
    """Number of utility prompts, spread evenly over the split; None takes all."""
    samples: int = 1
    """Answers per prompt, each with its own random seed."""
    temperature: float = 1.0
    seed: int = 0
    max_new_tokens: int | None = None
    """Longest answer; None takes the behaviour's own."""

    def __post_init__(self) -> None:
        if self.samples < 1 or (self.temperature == 0 and self.samples > 1):
            raise SettingsError(
                f"{self.samples} samples at temperature {self.temperature:g} were requested. Request at least one, and "
                "only one at temperature 0, where all samples are the same."
            )

    @property
    def length(self) -> int:
        return self.max_new_tokens or self.behavior.max_new_tokens

    @property
    def less_is_better(self) -> bool:
        return less_is_better(str(self.behavior.attribute[0]["kind"]))

    def questions(self) -> tuple[Question, ...]:
        """All questions, attribute prompts first; one for each utility prompt if the behaviour wants them greedy.

        Raises BehaviorError if the split has no prompts or one that cannot be scored.
        """
        sides: tuple[tuple[Side, Sequence[Mapping[str, Any]], int | None], ...] = (
            ("attribute", self.behavior.attribute, self.n_attribute),
            ("utility", self.behavior.utility, self.n_utility),
        )
        rows = [(side, row) for side, all_rows, count in sides for row in self._spread(side, all_rows, count)]
        for _, row in rows:
            judge(row, "word", 1)  # fails now and not after the model has answered everything
        greedy = self.behavior.greedy_utility
        return tuple(
            Question(row, side, self.seed + sample * len(rows) + number, number, greedy and side == "utility")
            for sample in range(self.samples)
            for number, (side, row) in enumerate(rows)
            if not (sample and greedy and side == "utility")
        )

    def _spread(self, side: Side, rows: Sequence[Mapping[str, Any]], count: int | None) -> list[Mapping[str, Any]]:
        """`count` rows of the split at even distances, since a file contains its kinds one after the other."""
        inside = [row for row in rows if row.get("split", self.split) == self.split]
        if not inside:
            raise BehaviorError(f"{self.behavior.name} has no {side} prompts in the split {self.split}.")
        n = len(inside) if count is None else min(count, len(inside))
        return [inside[number * len(inside) // n] for number in range(n)]


class Share(NamedTuple):
    """One question put to one trial, both as indices."""

    trial: int
    question: int


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer of a trial to a question."""

    text: str
    n_tokens: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """All answers of one trial."""

    trial: Trial
    answers: tuple[Answer, ...]
    """Answers in the order of the questions."""


@dataclass(frozen=True, eq=False)
class Result:
    """The figures of one trial, each with its 95 % interval and its number of prompts."""

    trial: Trial
    attribute: Estimate
    """Mean score on the attribute prompts; for thinking length the mean number of tokens."""
    utility: Estimate
    """Mean score on the utility prompts."""
    kept: Estimate
    """Utility as a share of the untouched model's, prompt by prompt."""
    tokens: Estimate
    """Mean length of the answers to the utility prompts, in tokens."""
    flaws: Mapping[str, Estimate]
    """Share of empty, repeated and off-topic answers to the attribute prompts."""
    utility_flaws: Mapping[str, Estimate]
    """Share of empty, repeated and off-topic answers to the utility prompts."""
    kinds: Mapping[str, Estimate]
    """Mean score of the utility prompts by their kind."""
    utility_told: bool = True
    """Whether the untouched model answers enough utility prompts rightly for shares of its utility to be told apart."""
    kl: Estimate | None = None
    """KL from the untouched model on harmless texts, in nats a token; None if it was not measured."""


def results(questions: Sequence[Question], outcomes: Sequence[Outcome]) -> tuple[Result, ...]:
    """The figures of every trial, relative to those of the untouched model, which must be among the outcomes.

    Raises SettingsError if it is not, or if it answers none of the utility prompts.
    """
    verdicts = [[judge(q.row, a.text, a.n_tokens) for q, a in zip(questions, o.answers, strict=True)] for o in outcomes]
    original = next((n for n, outcome in enumerate(outcomes) if outcome.trial.arm == "original"), None)
    if original is None:
        raise SettingsError("The untouched model is not among the trials, but utility is relative to it. Add it.")
    base = _per_prompt(questions, verdicts[original], "utility")
    if not any(base):
        raise SettingsError(
            "The untouched model answers none of the utility prompts correctly, so there is no utility to keep. Choose "
            "prompts that the model can answer, or allow longer answers."
        )
    told = _is_told(base)
    return tuple(_result(questions, outcome, row, base, told) for outcome, row in zip(outcomes, verdicts, strict=True))


def _is_told(base: Sequence[float]) -> bool:
    """Whether the mean of the untouched model's scores is known to MOST_ERROR of itself."""
    average = sum(base) / len(base)
    variance = sum((score - average) ** 2 for score in base) / len(base)
    return sqrt(variance / len(base)) <= MOST_ERROR * average


def _result(
    questions: Sequence[Question], outcome: Outcome, verdicts: Sequence[Verdict], base: Sequence[float], told: bool
) -> Result:
    utility = _per_prompt(questions, verdicts, "utility")
    lengths = [Verdict(float(answer.n_tokens)) for answer in outcome.answers]
    kinds = dict.fromkeys(str(q.row["kind"]) for q in questions if q.side == "utility")
    return Result(
        trial=outcome.trial,
        attribute=estimate(_per_prompt(questions, verdicts, "attribute")),
        utility=estimate(utility),
        kept=Estimate(1.0, 1.0, 1.0, len(base)) if outcome.trial.arm == "original" else kept_share(utility, base),
        tokens=mean(_per_prompt(questions, lengths, "utility")),
        flaws=_flaws(questions, verdicts, "attribute"),
        utility_flaws=_flaws(questions, verdicts, "utility"),
        kinds={kind: estimate(_per_prompt(questions, verdicts, "utility", kind)) for kind in kinds},
        utility_told=told,
    )


def per_prompt(questions: Sequence[Question], outcome: Outcome, side: Side) -> list[float]:
    """Mean score of each prompt of one side over its samples: the values of paired intervals."""
    verdicts = [judge(q.row, a.text, a.n_tokens) for q, a in zip(questions, outcome.answers, strict=True)]
    return _per_prompt(questions, verdicts, side)


def _per_prompt(
    questions: Sequence[Question], verdicts: Sequence[Verdict], side: Side, kind: str | None = None
) -> list[float]:
    scores: dict[int, list[float]] = {}
    for question, verdict in zip(questions, verdicts, strict=True):
        if question.side == side and kind in (None, question.row["kind"]):
            scores.setdefault(question.prompt, []).append(verdict.score)
    return [sum(values) / len(values) for values in scores.values()]


def _flaws(questions: Sequence[Question], verdicts: Sequence[Verdict], side: Side) -> dict[str, Estimate]:
    return {
        flaw: estimate(_per_prompt(questions, [Verdict(float(v.flaw == flaw)) for v in verdicts], side))
        for flaw in FLAWS
    }
