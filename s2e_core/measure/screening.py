"""How good variants are by the likelihood of given texts alone: one forward pass a variant, and no answer is sampled.

Knows texts and figures, no behaviour's scoring; which variants are screened is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import TypeVar

import torch
from torch import Tensor

from s2e_core.data import contrast_set
from s2e_core.errors import ContrastDataError, S2EError, SettingsError
from s2e_core.generation import encode_prompt
from s2e_core.method import own_answers
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import ContrastSet, Example, Original, Prompted, Variant

from .estimates import Estimate, mean
from .likelihood import POSITIONS, TextRow, TextSpan, encode_text, span_logits, token_log_probs

T = TypeVar("T")

HELD_OUT_EVERY = 5
"""One example in this many, of each side, is kept from the direction and read by the screen alone."""
MOST_TOKENS = 1200
"""Most tokens of the held-out examples: longer ones are fewer, so that a screen takes the same time."""
LEAST_PAIRS = 4
ANSWER_TOKENS = 32
"""Longest own answer to a harmless prompt."""


@dataclass(frozen=True, eq=False)
class ScreenTexts:
    """What variants are screened on, as tokens."""

    wanted: tuple[TextSpan, ...]
    """Responses that show the behaviour."""
    unwanted: tuple[TextSpan, ...]
    """As many responses that lack it."""
    harmless: tuple[TextSpan, ...]
    """The model's own answers to harmless prompts that nothing was fitted on."""

    def part(self, share: float) -> ScreenTexts:
        """A share of the texts of each kind, at even distances, at least one of each."""
        wanted, unwanted, harmless = (_spread(spans, share) for spans in (self.wanted, self.unwanted, self.harmless))
        return ScreenTexts(tuple(wanted), tuple(unwanted), tuple(harmless))

    @property
    def n_tokens(self) -> int:
        return sum(len(span.ids) for span in (*self.wanted, *self.unwanted, *self.harmless))


@dataclass(frozen=True, eq=False)
class Likelihood:
    """The figures of one variant, in nats a token, each with its 95 % interval over texts."""

    margin: Estimate
    """Rise of the mean log-likelihood of wanted over unwanted responses, from the untouched model's."""
    wanted: Estimate
    """Rise of the wanted responses' own: the margin also rises if unwanted ones become unlikely."""
    kl: Estimate
    """KL from the untouched model on its own answers to harmless prompts."""
    margins: tuple[float, ...] = ()
    """Rise of the margin of every pair of texts, to compare two variants pair by pair; empty if it is not finite."""


@dataclass(frozen=True, eq=False)
class Screen:
    """Texts with what the untouched model says of them, computed once for all variants."""

    texts: ScreenTexts
    nats: Tensor
    """Mean log-likelihood of a token of every wanted, then every unwanted response: (responses,)."""
    log_probs: tuple[Tensor, ...]
    """Log-probabilities over the vocabulary for every harmless text: (tokens, vocabulary), fp32."""

    def part(self, share: float) -> Screen:
        """The same screen on a share of its texts."""
        n = len(self.texts.wanted)
        sides = [torch.stack(_spread(list(side), share)) for side in self.nats.split(n)]
        return Screen(self.texts.part(share), torch.cat(sides), tuple(_spread(self.log_probs, share)))


def split_contrast(contrast: ContrastSet) -> tuple[ContrastSet, ContrastSet]:
    """The contrast set without its held-out examples, and these: every HELD_OUT_EVERY-th of each side.

    Raises ContrastDataError if a side has fewer than that.
    """
    check_enough(contrast, HELD_OUT_EVERY, "of which one is kept for measuring")
    last = HELD_OUT_EVERY - 1
    return pick_examples(contrast, range(last)), pick_examples(contrast, [last])


def pick_examples(contrast: ContrastSet, remainders: Sequence[int]) -> ContrastSet:
    """The examples of each side whose index has one of these remainders when divided by HELD_OUT_EVERY."""
    sides = (contrast.positive, contrast.negative)
    positive, negative = ([e for i, e in enumerate(side) if i % HELD_OUT_EVERY in remainders] for side in sides)
    return contrast_set(positive, negative, name=contrast.name)


def check_enough(contrast: ContrastSet, least: int, purpose: str) -> None:
    """Raises ContrastDataError if a side has fewer examples than `least`."""
    if min(len(contrast.positive), len(contrast.negative)) < least:
        raise ContrastDataError(
            f"{contrast.name} has {len(contrast.positive)} positive and {len(contrast.negative)} negative examples; at "
            f"least {least} a side are needed, {purpose}. Add examples."
        )


def screen_texts(
    loaded: LoadedModel,
    pairs: ContrastSet,
    harmless: Sequence[Example],
    *,
    most_tokens: int = MOST_TOKENS,
    progress: Progress | None = None,
) -> ScreenTexts:
    """Responses of both sides, as many of each, and the model's own answers to the harmless prompts.

    Of responses with more than `most_tokens` in all, some are read, but LEAST_PAIRS at least. A harmless prompt that is
    empty or too long is left out. `progress` counts prompts. Raises S2EError for a response that the model cannot read,
    and if no text can be used.
    """
    n = min(len(pairs.positive), len(pairs.negative))
    sides = [[encode_text(loaded, example) for example in side[:n]] for side in (pairs.positive, pairs.negative)]
    n_tokens = sum(len(span.ids) for side in sides for span in side)
    share = min(1.0, max(most_tokens / max(n_tokens, 1), LEAST_PAIRS / max(n, 1)))
    spans = harmless_answers(loaded, harmless, progress=progress)
    if not n or not spans:
        raise S2EError(
            "There is nothing to screen on: responses of both sides and harmless prompts that the model answers are "
            "needed. Add examples."
        )
    wanted, unwanted = (tuple(_spread(side, share)) for side in sides)
    return ScreenTexts(wanted, unwanted, spans)


def harmless_answers(
    loaded: LoadedModel, harmless: Sequence[Example], *, progress: Progress | None = None
) -> tuple[TextSpan, ...]:
    """The model's own greedy answers to harmless prompts, without those that are empty or too long to be answered."""
    encoded = [(example, _prompt_length(loaded, example)) for example in harmless]
    asked, starts = [example for example, length in encoded if length], [length for _, length in encoded if length]
    rows = own_answers(loaded, asked, ANSWER_TOKENS, progress=progress)
    return tuple(TextSpan(ids, start) for ids, start in zip(rows, starts, strict=True) if len(ids) > start > 0)


def open_screen(loaded: LoadedModel, texts: ScreenTexts) -> Screen:
    """What the untouched model says of the texts."""
    responses = (*texts.wanted, *texts.unwanted)
    nats = torch.zeros(len(responses))
    kept: list[Tensor] = []
    spans = (*responses, *texts.harmless)
    rows = [TextRow(0, span) for span in spans]
    for n, (span, logits) in enumerate(zip(spans, span_logits(loaded, [Original()], rows), strict=True)):
        if n < len(responses):
            nats[n] = token_log_probs(logits, span).mean().cpu()
        else:
            kept.append(logits.float().log_softmax(-1))
    return Screen(texts, nats, tuple(kept))


def screen(
    loaded: LoadedModel, variants: Sequence[Variant], against: Screen, *, progress: Progress | None = None
) -> tuple[Likelihood, ...]:
    """The figures of every variant. `progress` is called with (variants done, variants in total).

    A variant whose numbers are not finite has a KL of infinity. Raises Cancelled if `progress` raises it, SettingsError
    for a system prompt: the texts are tokens already, and it would read them without it.
    """
    if any(isinstance(variant, Prompted) for variant in variants):
        raise SettingsError("A system prompt cannot be measured on texts without it. Compare answers instead.")
    figures = []
    for n, variant in enumerate(variants):
        figures.append(response_likelihood(loaded, variant, against, harmless_kl(loaded, variant, against)))
        if progress is not None:
            progress(n + 1, len(variants))
    return tuple(figures)


def harmless_kl(loaded: LoadedModel, variant: Variant, against: Screen) -> Estimate:
    """The KL of `screen` alone, which needs no response; infinity if the variant's numbers are not finite."""
    spans, log_probs = against.texts.harmless, against.log_probs
    values = [float(_mean_kl(log_probs[i], logits)) for i, logits in _logits_of(loaded, variant, spans)]
    return mean(values) if all(map(isfinite, values)) else Estimate(inf, 0.0, inf, len(values))


def response_likelihood(loaded: LoadedModel, variant: Variant, against: Screen, kl: Estimate) -> Likelihood:
    """The figures of `screen` for a variant whose KL is known already."""
    texts = against.texts
    responses = (*texts.wanted, *texts.unwanted)
    nats = torch.zeros(len(responses))
    for i, logits in _logits_of(loaded, variant, responses):
        nats[i] = token_log_probs(logits, responses[i]).mean().cpu()
    if not (isfinite(kl.value) and bool(nats.isfinite().all())):
        broken = Estimate(-inf, -inf, inf, len(texts.wanted))
        return Likelihood(broken, broken, Estimate(inf, 0.0, inf, len(texts.harmless)))
    wanted, unwanted = (nats - against.nats).split(len(texts.wanted))
    margins = (wanted - unwanted).tolist()
    return Likelihood(mean(margins), mean(wanted.tolist()), kl, tuple(margins))


def _logits_of(loaded: LoadedModel, variant: Variant, spans: Sequence[TextSpan]) -> Iterator[tuple[int, Tensor]]:
    """The index of every span with its logits, the shortest spans first: similar lengths share a batch."""
    order = sorted(range(len(spans)), key=lambda i: len(spans[i].ids))
    return zip(order, span_logits(loaded, [variant], [TextRow(0, spans[i]) for i in order]), strict=True)


def _mean_kl(log_p: Tensor, logits: Tensor) -> Tensor:
    """Mean over positions of sum p (log p - log q); `log_p` and `logits` are (positions, vocabulary)."""
    total = torch.zeros((), dtype=torch.float64)
    for ours, theirs in zip(log_p.split(POSITIONS), logits.split(POSITIONS), strict=True):
        terms = torch.where(ours == -torch.inf, 0, ours.exp() * (ours - theirs.float().log_softmax(-1)))
        total += terms.double().sum().cpu()
    return (total / len(log_p)).clamp(min=0)  # rounding may give a value just below 0


def _prompt_length(loaded: LoadedModel, example: Example) -> int:
    """Tokens of a prompt; 0 if the model cannot answer it, because it is empty or too long."""
    try:
        return len(encode_prompt(loaded, example.prompt, example.system, ANSWER_TOKENS, 0.0, example.earlier))
    except SettingsError:
        return 0


def _spread(items: Sequence[T], share: float) -> list[T]:
    n = max(1, round(len(items) * share))
    return [items[number * len(items) // n] for number in range(n)]
