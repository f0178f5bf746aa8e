"""What interventions on single components do to the likelihood of given responses: margin and divergence.

Knows forward passes and texts; which components are tried is decided elsewhere. Interventions share batches, and the
layers below an intervention run once for all of them. In memory are the log-probabilities of the untouched (or edited)
model on the texts and the input of one layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from s2e_core.errors import S2EError
from s2e_core.generation import apply_variants
from s2e_core.measure import Estimate, TextSpan, encode_text, mean, token_log_probs
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.spec import Component
from s2e_core.values import ContrastSet, Edited, Extraction, Original, WeightEdit

from .interventions import How, Intervention, apply_interventions, intervene_on, is_edited
from .resuming import hidden_at, resumable_layers, resume_at

MOST_TOKENS = 700
"""Most tokens of the texts, prompts included; longer ones are fewer."""
MOST_LOG_PROBS = 64 * 2**20
"""Most log-probabilities in memory: 256 MB in fp32."""
LEAST_PAIRS = 4
GROUP = 16
"""Texts of similar length that share a batch under every intervention."""
WORTH_SKIPPING = 8
"""Fewest interventions for which it is worth finding out whether layers can be skipped."""
BATCH_TOKENS = 2048
"""Most padded tokens of one forward pass."""


@dataclass(frozen=True, eq=False)
class PairedTexts:
    """Wanted and unwanted responses as tokens, as many of each."""

    wanted: tuple[TextSpan, ...]
    unwanted: tuple[TextSpan, ...]

    @property
    def spans(self) -> tuple[TextSpan, ...]:
        return (*self.wanted, *self.unwanted)


@dataclass(frozen=True, eq=False)
class Effect:
    """The measured effect of one intervention on one component, in nats a token, with 95 % intervals over texts."""

    component: Component
    how: How
    margin: Estimate
    """Change of the mean log-likelihood of wanted minus unwanted responses, from the model without the intervention."""
    wanted: Estimate
    """Change of the wanted responses' own."""
    kl: Estimate
    """KL on these responses, from the model without the intervention."""

    @property
    def is_clear(self) -> bool:
        """Whether the interval of the margin lies on one side of 0."""
        return self.margin.low > 0 or self.margin.high < 0


def paired_texts(loaded: LoadedModel, pairs: ContrastSet, *, most_tokens: int = MOST_TOKENS) -> PairedTexts:
    """Responses of both sides, at even distances, within `most_tokens` and MOST_LOG_PROBS but at least LEAST_PAIRS.

    Raises S2EError for a response that the model cannot read, or fewer than two examples a side.
    """
    n = min(len(pairs.positive), len(pairs.negative))
    if n < 2:
        raise S2EError(f"{pairs.name} has fewer than two examples a side, so an effect has no interval. Add examples.")
    sides = [[encode_text(loaded, example) for example in side[:n]] for side in (pairs.positive, pairs.negative)]
    tokens = sum(len(span.ids) for side in sides for span in side)
    answers = sum(len(span.ids) - span.start for side in sides for span in side)
    vocabulary = loaded.model.config.get_text_config().vocab_size
    share = min(1.0, most_tokens / tokens, MOST_LOG_PROBS / (answers * vocabulary))
    count = min(n, max(LEAST_PAIRS, int(n * share)))
    wanted, unwanted = (tuple(side[k * n // count] for k in range(count)) for side in sides)
    return PairedTexts(wanted, unwanted)


def measure_effects(
    loaded: LoadedModel,
    extraction: Extraction,
    edit: WeightEdit,
    wishes: Sequence[tuple[Component, How]],
    texts: PairedTexts,
    *,
    progress: Progress | None = None,
) -> tuple[Effect, ...]:
    """The effect of every (component, intervention), in their order.

    The effects of an edit on a component that it does not change are 0 and need no run. `progress` counts
    interventions. Raises Cancelled if `progress` raises it.
    """
    found: dict[int, Effect] = {}
    for n, (component, how) in enumerate(wishes):
        if how in ("edited alone", "left out") and not is_edited(edit, component):
            found[n] = _no_effect(component, how, len(texts.wanted))
    for whole in (False, True):
        numbers = [n for n, (_, how) in enumerate(wishes) if n not in found and (how == "left out") == whole]
        if not numbers:
            continue
        bench = _Bench(loaded, edit if whole else None, texts, is_short=len(numbers) < WORTH_SKIPPING)
        by_layer: dict[int, list[int]] = {}
        for n in numbers:
            by_layer.setdefault(loaded.spec.sites[wishes[n][0].site].layer, []).append(n)
        for layer in sorted(by_layer):
            bench.advance(layer)
            for some in _split(by_layer[layer], bench.most_interventions):
                interventions = [intervene_on(loaded, *wishes[n], extraction.means, edit) for n in some]
                for n, effect in zip(some, bench.measure(interventions), strict=True):
                    found[n] = effect
                if progress is not None:
                    progress(len(found), len(wishes))
    return tuple(found[n] for n in range(len(wishes)))


class _Bench:
    """The texts with what the model without an intervention says of them, and their state at one layer."""

    def __init__(self, loaded: LoadedModel, edit: WeightEdit | None, texts: PairedTexts, *, is_short: bool) -> None:
        self.loaded, self.edit, self.n_pairs = loaded, edit, len(texts.wanted)
        self.spans = texts.spans
        order = sorted(range(len(self.spans)), key=lambda i: len(self.spans[i].ids))
        self.groups = [_Group(loaded, [self.spans[i] for i in some], some) for some in _even_parts(order)]
        self.most_interventions = max(1, BATCH_TOKENS // max(group.ids.numel() for group in self.groups))
        self.layer = 0
        self.layers: Sequence[nn.Module] = ()
        if not is_short:
            with loaded.lock, torch.inference_mode():
                self.layers = resumable_layers(loaded, self.groups[0].ids, self.groups[0].mask)
        self.nats = torch.zeros(len(self.spans))
        self.log_probs: dict[int, Tensor] = {}
        for group in self.groups:
            for i, logits in zip(group.numbers, self._logits(group, []), strict=True):
                self.nats[i] = token_log_probs(logits, self.spans[i]).mean().cpu()
                self.log_probs[i] = logits.float().log_softmax(-1)

    def advance(self, layer: int) -> None:
        """Bring the texts to the input of a layer."""
        if layer == 0 or layer <= self.layer or not self.layers:
            return
        for group in self.groups:
            with self._running(len(group.numbers)), resume_at(self.layers, self.layer, group.hidden):
                group.hidden = hidden_at(self.loaded, self.layers, layer, group.inputs(1))
        self.layer = layer

    def measure(self, interventions: Sequence[Intervention]) -> Iterator[Effect]:
        shape = (len(interventions), len(self.spans))
        nats, kl = torch.zeros(shape), torch.zeros(shape)
        for group in self.groups:
            rows = [(k, i) for k in range(len(interventions)) for i in group.numbers]
            for (k, i), logits in zip(rows, self._logits(group, interventions), strict=True):
                q, p = logits.float().log_softmax(-1), self.log_probs[i]
                ids = torch.tensor(self.spans[i].ids[self.spans[i].start :], device=q.device)
                nats[k, i] = q.gather(1, ids.unsqueeze(1)).mean()
                kl[k, i] = nn.functional.kl_div(q, p, reduction="sum", log_target=True) / len(p)
        changes = nats - self.nats
        for one, change, divergence in zip(interventions, changes, kl, strict=True):
            yield _effect(one.component, one.how, change, divergence.clamp(min=0), self.n_pairs)

    def _logits(self, group: _Group, interventions: Sequence[Intervention]) -> Iterator[Tensor]:
        """Logits (tokens of the response, vocabulary) of every text of a group under every intervention."""
        times, n = max(1, len(interventions)), len(group.numbers)
        hidden = None if group.hidden is None else group.hidden.repeat(times, 1, 1)
        with self._running(times * n), resume_at(self.layers, self.layer, hidden):
            with apply_interventions(self.loaded, interventions, n):
                logits = self.loaded.model(**group.inputs(times)).logits
        for row, one in enumerate(logits):
            span = group.spans[row % n]
            yield one[span.start - 1 : len(span.ids) - 1]

    @contextmanager
    def _running(self, n_rows: int) -> Iterator[None]:
        """The model with the edit that all rows run under, locked for one forward pass."""
        variant = Original() if self.edit is None else Edited(self.edit)
        with self.loaded.lock, torch.inference_mode(), apply_variants(self.loaded, [variant], [0] * n_rows):
            yield


class _Group:
    """Texts of similar length as one padded batch, with the input of the layer that is being tried."""

    def __init__(self, loaded: LoadedModel, spans: Sequence[TextSpan], numbers: Sequence[int]) -> None:
        self.spans, self.numbers = spans, numbers
        length = max(len(span.ids) for span in spans)
        padded = [[*span.ids, *[0] * (length - len(span.ids))] for span in spans]
        mask = [[1] * len(span.ids) + [0] * (length - len(span.ids)) for span in spans]
        self.ids, self.mask = torch.tensor(padded).to(loaded.device), torch.tensor(mask).to(loaded.device)
        self.hidden: Tensor | None = None

    def inputs(self, times: int) -> dict[str, Any]:
        """Arguments of a forward pass that reads every text `times` times."""
        return {
            "input_ids": self.ids.repeat(times, 1), "attention_mask": self.mask.repeat(times, 1), "use_cache": False
        }  # fmt: skip


def _effect(component: Component, how: How, change: Tensor, kl: Tensor, n_pairs: int) -> Effect:
    """The figures of one intervention from what it changes in every text; `change` and `kl` are (2 * n_pairs,)."""
    if not bool(change.isfinite().all()) or not bool(kl.isfinite().all()):
        broken = Estimate(-inf, -inf, inf, n_pairs)
        return Effect(component, how, broken, broken, Estimate(inf, 0.0, inf, len(kl)))
    wanted, unwanted = change.split(n_pairs)
    return Effect(component, how, mean((wanted - unwanted).tolist()), mean(wanted.tolist()), mean(kl.tolist()))


def _no_effect(component: Component, how: How, n_pairs: int) -> Effect:
    none = Estimate(0.0, 0.0, 0.0, n_pairs)
    return Effect(component, how, none, none, replace(none, count=2 * n_pairs))


def _even_parts(order: Sequence[int]) -> Iterator[list[int]]:
    """As few parts of at most GROUP as possible, of about the same size."""
    count = -(-len(order) // GROUP)
    return _split(order, -(-len(order) // count))


def _split(items: Sequence[int], size: int) -> Iterator[list[int]]:
    return (list(items[first : first + size]) for first in range(0, len(items), size))
