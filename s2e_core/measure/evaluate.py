"""Measure every figure of a few variants: the behaviour, what is lost elsewhere, and what breaks.

Knows the order of the measurements; asking, judging and the damage are in `asking.py`, `plan.py` and `damage.py`, the
figures in `evaluation.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from s2e_core.errors import Cancelled, SettingsError
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.text import judge, opening_refusal
from s2e_core.values import Edited, Example, Original, Prompted, Steered, Variant

from .asking import ask
from .damage import ChoiceQuestion, MultipleChoice, multiple_choice, next_token_kl, perplexity
from .estimates import Estimate, difference, estimate, ratio
from .evaluation import Evaluation
from .plan import Answer, Outcome, Plan, Question, Share, per_prompt, results
from .sweep import order_shares
from .trials import Trial


def evaluate(
    loaded: LoadedModel,
    plan: Plan,
    variants: Sequence[Variant],
    *,
    labels: Sequence[str] | None = None,
    n_neutral: int | None = 60,
    neutral: Sequence[Example] | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> tuple[Evaluation, ...]:
    """Every figure of every variant; the untouched model comes first and is added if it is missing.

    The prompts of `plan` get the same random seeds for every variant. Divergence and perplexity are measured on the
    untouched model's greedy answers to `n_neutral` utility prompts, None for all; `neutral` passes these
    answers if they are known already, and `n_neutral` is ignored then. `labels` name the variants if
    "original", settings and strength do not say enough. `progress` counts answers and texts. Raises Cancelled if `stop`
    is set or `progress` raises it, BehaviorError if the split has no prompts, SettingsError for two variants of one
    name.
    """
    trials = _trials(variants, labels)
    questions = plan.questions()
    choices = choice_questions({q.prompt: q.row for q in questions if q.side == "attribute"}.values())
    if neutral is None:
        n_texts = sum(question.side == "utility" for question in _neutral_plan(plan, n_neutral).questions())
    else:
        n_texts = len(neutral)
    stages = Stages(
        progress,
        answers=len(trials) * len(questions),
        neutral=n_texts if neutral is None else 0,
        kl=len(trials) * n_texts,
        perplexity=len(trials) * n_texts,
        choices=len(trials) * sum(len(q.true) + len(q.false) for q in choices),
    )
    outcomes = _outcomes(loaded, trials, plan, stages, stop)
    if neutral is None:
        neutral = neutral_answers(loaded, plan, n_neutral, progress=stages.of("neutral"), stop=stop)
    damages = _damages(loaded, list(trials.values()), neutral, choices, stages, stop)
    stages.finish()
    return _evaluations(trials, questions, outcomes, damages, plan.less_is_better)


class _Damage(NamedTuple):
    next_token_kl: Estimate
    perplexity: Estimate
    choice: MultipleChoice | None


def _evaluations(
    trials: Mapping[Trial, Variant],
    questions: Sequence[Question],
    outcomes: Sequence[Outcome],
    damages: Sequence[_Damage],
    less_is_better: bool,
) -> tuple[Evaluation, ...]:
    gains = [per_prompt(questions, outcome, "attribute") for outcome in outcomes]
    lengths = [_lengths(questions, outcome) for outcome in outcomes]
    measured = zip(trials.items(), results(questions, outcomes), outcomes, damages, strict=True)
    return tuple(
        Evaluation(
            label=trial.label,
            variant=variant,
            result=result,
            against={other.label: difference(gains[t], gains[o]) for o, other in enumerate(trials) if o != t},
            length_drift=ratio(lengths[t], lengths[0]),
            benign_refusal=benign_refusal(questions, outcome),
            robustness=_robustness(questions, outcome),
            moved_wrong=_moved_wrong(gains[t], gains[0], less_is_better),
            next_token_kl=damage.next_token_kl,
            perplexity=damage.perplexity,
            choice=damage.choice,
        )
        for t, ((trial, variant), result, outcome, damage) in enumerate(measured)
    )


def _robustness(questions: Sequence[Question], outcome: Outcome) -> Estimate | None:
    """Mean score of the attribute prompts that are marked as tricked; None if none is."""
    scores: dict[int, list[float]] = {}
    for question, answer in zip(questions, outcome.answers, strict=True):
        if question.side == "attribute" and question.row.get("tricked"):
            verdict = judge(question.row, answer.text, answer.n_tokens)
            scores.setdefault(question.prompt, []).append(verdict.score)
    return estimate([sum(values) / len(values) for values in scores.values()]) if scores else None


def _moved_wrong(gains: Sequence[float], original: Sequence[float], less_is_better: bool) -> Estimate:
    """Share of the attribute prompts whose score is worse than the untouched model's."""
    worse = [(a > b) if less_is_better else (a < b) for a, b in zip(gains, original, strict=True)]
    return estimate([float(one) for one in worse])


def benign_refusal(questions: Sequence[Question], outcome: Outcome) -> Estimate | None:
    """Share of harmless requests that are refused, by one of the prompt's own phrases or in the usual wording.

    None if no utility prompt has the kind "help".
    """
    refused: dict[int, list[float]] = {}
    for question, answer in zip(questions, outcome.answers, strict=True):
        if question.side == "utility" and question.row["kind"] == "help":
            verdict = judge(question.row, answer.text, answer.n_tokens)
            by_phrase = verdict.score == 0 and bool(verdict.matched)
            refused.setdefault(question.prompt, []).append(float(by_phrase or bool(opening_refusal(answer.text))))
    return estimate([sum(values) / len(values) for values in refused.values()]) if refused else None


def choice_questions(rows: Iterable[Mapping[str, Any]]) -> tuple[ChoiceQuestion, ...]:
    """The rows with whole true and false answers, as multiple-choice questions.

    Single values are not enough, since the sentence in which a model would state them is unknown.
    """
    return tuple(
        ChoiceQuestion(str(row["prompt"]), tuple(row["true_answers"]), tuple(row["false_answers"]), row.get("system"))
        for row in rows
        if row.get("true_answers") and row.get("false_answers")
    )


def _trials(variants: Sequence[Variant], labels: Sequence[str] | None) -> dict[Trial, Variant]:
    """Each variant with the trial that names it, the untouched model first. Raises SettingsError if two are equal."""
    names = [""] * len(variants) if labels is None else list(labels)
    if len(names) != len(variants):
        raise SettingsError(f"There are {len(variants)} variants and {len(names)} labels. Give one label per variant.")
    pairs = [(_trial(variant, name), variant) for variant, name in zip(variants, names, strict=True)]
    first = [pair for pair in pairs if isinstance(pair[1], Original)][:1] or [(Trial(), Original())]
    ordered = [*first, *(pair for pair in pairs if not isinstance(pair[1], Original))]
    names = [trial.label for trial, _ in ordered]
    if len(set(names)) < len(names):
        raise SettingsError(f"Two variants have the same name ({', '.join(names)}). Give each its own label.")
    return dict(ordered)


def _trial(variant: Variant, name: str) -> Trial:
    match variant:
        case Edited(edit):
            return Trial(edit.settings, name=name)
        case Steered(_, gamma):
            return Trial(gamma=gamma, name=name)
        case Prompted(system):
            return Trial(name=name or "system prompt", system=system)
        case Original():
            return Trial()


def _outcomes(
    loaded: LoadedModel, trials: Mapping[Trial, Variant], plan: Plan, stages: Stages, stop: threading.Event | None
) -> list[Outcome]:
    questions = range(len(plan.questions()))
    shares = order_shares(len(trials), plan.questions())
    answers = _ask(loaded, list(trials.values()), plan, shares, stages.of("answers"), stop)
    return [Outcome(trial, tuple(answers[Share(t, q)] for q in questions)) for t, trial in enumerate(trials)]


def neutral_answers(
    loaded: LoadedModel,
    plan: Plan,
    n_neutral: int | None,
    *,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> list[Example]:
    """Utility prompts with the untouched model's greedy answers: texts that have nothing to do with the behaviour."""
    greedy = _neutral_plan(plan, n_neutral)
    rows = {Share(0, n): q.row for n, q in enumerate(greedy.questions()) if q.side == "utility"}
    answers = _ask(loaded, [Original()], greedy, list(rows), progress or (lambda done, total: None), stop)
    return [
        Example(str(row["prompt"]), answers[share].text, row.get("system"))
        for share, row in rows.items()
        if answers[share].text.strip()
    ]


def _neutral_plan(plan: Plan, n_neutral: int | None) -> Plan:
    return replace(plan, n_utility=n_neutral, samples=1, temperature=0.0)


def _ask(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    plan: Plan,
    shares: Sequence[Share],
    progress: Progress,
    stop: threading.Event | None,
) -> dict[Share, Answer]:
    answers: dict[Share, Answer] = {}
    progress(0, len(shares))
    for batch in ask(loaded, variants, plan, plan.questions(), shares, stop=stop):
        answers.update(batch)
        progress(len(answers), len(shares))
    return answers


def _damages(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    texts: Sequence[Example],
    choices: Sequence[ChoiceQuestion],
    stages: Stages,
    stop: threading.Event | None,
) -> list[_Damage]:
    divergences = next_token_kl(loaded, variants, texts, progress=stoppable(stop, stages.of("kl")))
    perplexities = perplexity(loaded, variants, texts, progress=stoppable(stop, stages.of("perplexity")))
    choice_figures: Sequence[MultipleChoice | None] = [None] * len(variants)
    if choices:
        choice_figures = multiple_choice(loaded, variants, choices, progress=stoppable(stop, stages.of("choices")))
    return [_Damage(*figures) for figures in zip(divergences, perplexities, choice_figures, strict=True)]


def stoppable(stop: threading.Event | None, progress: Progress) -> Progress:
    """Progress that ends the stage once `stop` is set."""

    def show(done: int, total: int) -> None:
        if stop is not None and stop.is_set():
            raise Cancelled("Stopped while given texts were measured.")
        progress(done, total)

    return show


def _lengths(questions: Sequence[Question], outcome: Outcome) -> list[float]:
    """Mean length of the answers to each utility prompt, in tokens."""
    tokens: dict[int, list[int]] = {}
    for question, answer in zip(questions, outcome.answers, strict=True):
        if question.side == "utility":
            tokens.setdefault(question.prompt, []).append(answer.n_tokens)
    return [sum(counts) / len(counts) for counts in tokens.values()]
