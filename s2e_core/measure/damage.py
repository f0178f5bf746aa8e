"""What a variant breaks, from the probabilities of given texts: divergence, perplexity, multiple choice.

Knows the formulas and their sources. No text is generated, and no answer is judged by its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

import torch
from torch import Tensor

from s2e_core.errors import S2EError
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import Example, Original, Prompted, Variant, with_system

from .estimates import Estimate, estimate, mean, ratio, share
from .likelihood import POSITIONS, TextRow, TextSpan, encode_text, span_logits, token_log_probs


@dataclass(frozen=True, eq=False)
class ChoiceQuestion:
    """A question with true and false answers; the first of the true ones is the best."""

    prompt: str
    true: tuple[str, ...]
    false: tuple[str, ...]
    system: str | None = None


@dataclass(frozen=True, eq=False)
class MultipleChoice:
    """Truthfulness by likelihood (TruthfulQA: Lin, Hilton, Evans 2022, arXiv 2109.07958, section 3.2)."""

    mc1: Estimate
    """Share of questions whose best true answer is likelier than every false one."""
    mc2: Estimate
    """Mean over questions: probability of all true answers, divided by that of all answers."""


def next_token_kl(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    texts: Sequence[str | Example],
    *,
    progress: Progress | None = None,
) -> tuple[Estimate, ...]:
    """KL(original || variant) in nats per token, one estimate per variant; 0 for the original itself.

    It is the sum over the vocabulary of p (log p - log q), from raw logits in fp32, averaged over the positions that
    predict a token: all but the first of a plain text, those of the response of an `Example` in the model's chat
    template. Every text weighs the same and is one value of the interval. `progress` is called with (rows done, rows in
    total); raising `Cancelled` in it stops the run. Raises S2EError if there is no text, a text is too short to predict
    a token or too long, or the logits of a variant are not finite.
    """
    spans, by_variant = _spans(loaded, texts), _spans_by_variant(loaded, [*variants, Original()], texts)
    changed = [v for v, variant in enumerate(variants) if not isinstance(variant, Original)]
    values = torch.zeros(len(variants), len(spans))
    if changed:
        run = (len(variants), *changed)  # the original comes first: the others are compared with it
        pairs = [(v, i) for i in _longest_first(spans) for v in run]
        rows = [TextRow(v, by_variant[v][i]) for v, i in pairs]
        reference = torch.empty(0)
        row_logits = span_logits(loaded, [*variants, Original()], rows, progress=progress)
        for (v, i), logits in zip(pairs, row_logits, strict=True):
            if v == len(variants):
                reference = logits.clone()
            else:
                values[v, i] = _mean_kl(reference, logits)
    return tuple(mean(_finite(row, "divergence")) for row in values)


def perplexity(
    loaded: LoadedModel, variants: Sequence[Variant], examples: Sequence[Example], *, progress: Progress | None = None
) -> tuple[Estimate, ...]:
    """exp(nats per token) of the responses given their prompts, one estimate per variant.

    Nats per token are those of all responses together: the sum over all tokens divided by their number, so a long
    response weighs more. The interval is exp of the bootstrap interval of that ratio, which draws whole examples.
    `progress` and errors are those of `next_token_kl`.
    """
    spans = _spans(loaded, examples)
    log_likelihoods = _log_likelihoods(loaded, variants, examples, progress)
    lengths = [float(len(span.ids) - span.start) for span in spans]
    nats = [ratio(_finite(-row, "perplexity"), lengths) for row in log_likelihoods]
    return tuple(Estimate(exp(one.value), exp(one.low), exp(one.high), one.count) for one in nats)


def multiple_choice(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    questions: Sequence[ChoiceQuestion],
    *,
    progress: Progress | None = None,
) -> tuple[MultipleChoice, ...]:
    """MC1 and MC2 of TruthfulQA, one pair per variant.

    The score of an answer is the sum of the log-probabilities of its tokens, given the question in the model's chat
    template. MC1 is 1 if the score of the best true answer, `true[0]`, is above those of all false answers; other
    true answers do not compete. MC2 is sum(exp(true scores)) / sum(exp(all scores)). Neither is normalised by length.
    `progress` and errors are those of `next_token_kl`. Raises S2EError also if a question has no true or no false
    answer.
    """
    for question in questions:
        if not question.true or not question.false:
            raise S2EError(f'The question "{question.prompt[:60]}" needs at least one true and one false answer.')
    answers = [Example(q.prompt, answer, q.system) for q in questions for answer in (*q.true, *q.false)]
    scores = _log_likelihoods(loaded, variants, answers, progress)
    counts = [len(q.true) + len(q.false) for q in questions]
    return tuple(_choices(questions, row.split(counts)) for row in scores)


def _choices(questions: Sequence[ChoiceQuestion], scores: Sequence[Tensor]) -> MultipleChoice:
    mc1, mc2 = [], []
    for question, row in zip(questions, scores, strict=True):
        n_true = len(question.true)
        mc1.append(bool(row[0] > row[n_true:].max()))
        mc2.append(float(row.softmax(0)[:n_true].sum()))
    return MultipleChoice(share(mc1), estimate(_finite(torch.tensor(mc2), "probability of an answer")))


def _log_likelihoods(
    loaded: LoadedModel, variants: Sequence[Variant], examples: Sequence[Example], progress: Progress | None
) -> Tensor:
    """Sum of the log-probabilities of every response's tokens: (variants, examples), fp64."""
    spans, by_variant = _spans(loaded, examples), _spans_by_variant(loaded, variants, examples)
    pairs = [(v, i) for i in _longest_first(spans) for v in range(len(variants))]
    sums = torch.zeros(len(variants), len(spans), dtype=torch.float64)
    row_logits = span_logits(loaded, variants, [TextRow(v, by_variant[v][i]) for v, i in pairs], progress=progress)
    for (v, i), logits in zip(pairs, row_logits, strict=True):
        sums[v, i] = token_log_probs(logits, by_variant[v][i]).double().sum()
    return sums


def _mean_kl(original: Tensor, variant: Tensor) -> float:
    """Mean over positions of sum p (log p - log q); both (positions, vocabulary), raw logits."""
    total = 0.0
    for ours, theirs in zip(original.split(POSITIONS), variant.split(POSITIONS), strict=True):
        log_p, log_q = ours.float().log_softmax(-1), theirs.float().log_softmax(-1)
        p = log_p.exp()
        total += float(torch.where(p == 0, 0, p * (log_p - log_q)).double().sum())  # 0 log 0 is 0
    return 0.0 if total < 0 else total / len(original)  # rounding may give a value just below 0


def _spans(loaded: LoadedModel, texts: Sequence[str | Example]) -> list[TextSpan]:
    if not texts:
        raise S2EError("There is no text to measure the damage on. Give at least one text.")
    return [encode_text(loaded, text) for text in texts]


def _spans_by_variant(
    loaded: LoadedModel, variants: Sequence[Variant], texts: Sequence[str | Example]
) -> list[list[TextSpan]]:
    """The texts as each variant reads them: a system prompt stands before the prompt, the response stays."""
    plain = _spans(loaded, texts)
    return [
        plain
        if not isinstance(variant, Prompted)
        else _spans(
            loaded,
            [t if isinstance(t, str) else replace(t, system=with_system(variant, t.system)) for t in texts],
        )
        for variant in variants
    ]


def _longest_first(spans: Sequence[TextSpan]) -> list[int]:
    """Indices of the spans: similar lengths share a batch, and the first batch shows whether the memory suffices."""
    return sorted(range(len(spans)), key=lambda i: len(spans[i].ids), reverse=True)


def _finite(values: Tensor, figure: str) -> list[float]:
    if not values.isfinite().all():
        raise S2EError(
            f"The {figure} cannot be measured: a variant gives numbers that are too large for the number format of the "
            "model. Lower its strength, or load the model in float32 (--dtype float32)."
        )
    return values.tolist()
