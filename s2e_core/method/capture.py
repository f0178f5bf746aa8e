"""Capture the mean input of every projection over the response spans of a contrast set.

Knows forward passes. Activations are reduced inside the hooks and never kept; examples of similar length share a batch;
batches are added up in fp64 (fp32 if the device has no fp64): a direction is a small difference of large means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.data import LEAVE_OUT, content_hash, name_examples
from s2e_core.errors import ContrastDataError, S2EError
from s2e_core.model import LoadedModel, example_ids
from s2e_core.progress import Progress
from s2e_core.text import counted, dtype_name
from s2e_core.values import OUTLIERS, ActivationMeans, ContrastSet, Example, MeanInputs, Outliers

from .input_hooks import watch_inputs
from .outliers import reweigh, watch_ratios

MAX_BATCH_TOKENS = 4096
"""Most padded tokens of one forward pass."""


@dataclass(frozen=True, eq=False)
class ExampleSpan:
    """One example as token ids, with the start of its response span."""

    ids: list[int]
    start: int
    """Number of prompt tokens; the positions start-1 .. len(ids)-2 predict the response."""
    is_positive: bool

    @property
    def model_input(self) -> tuple[tuple[int, ...], int]:
        """All that the mean activations depend on: the last token is only predicted."""
        return tuple(self.ids[:-1]), self.start


def capture_means(
    loaded: LoadedModel,
    contrast: ContrastSet,
    *,
    outliers: Outliers = OUTLIERS,
    progress: Progress | None = None,
) -> ActivationMeans:
    """Mean input of every site over the response span, for each side: what README, step 1: direction starts from.

    Every example weighs the same, whatever its length, and so does every run of a site that runs several times in one
    forward pass. `outliers` says what becomes of positions with an extreme residual norm; "keep" is the paper's mean,
    and without such positions the others are the same to the bit. `progress` is called with (examples done, examples
    in total) after each batch. Raises ContrastDataError if a side has no response of at least one token, an example is
    too long for the model, or the model cannot distinguish the sides, and S2EError if the activations are too large for
    the model's number format.
    """
    spans = [
        *tokenize_examples(loaded, contrast.positive, f"the positive side of {contrast.name}"),
        *tokenize_examples(loaded, contrast.negative, f"the negative side of {contrast.name}", is_positive=False),
    ]
    n_positive = sum(span.is_positive for span in spans)
    _refuse_same_sides(contrast.name, spans, n_positive)
    sums, n_outliers = _sum_sides(loaded, spans, outliers, progress)
    counts = torch.tensor([n_positive, len(spans) - n_positive])
    sites = loaded.spec.sites
    means = [  # per site (2, n_captured)
        total.cpu().double() / counts.unsqueeze(1) / site.runs for site, total in zip(sites, sums, strict=True)
    ]
    inputs = [mean[:, : site.n_inputs].float() for site, mean in zip(sites, means, strict=True)]
    more = {i: mean[:, sites[i].n_inputs :] for i, mean in enumerate(means) if sites[i].has_extra_output}
    return ActivationMeans(
        spec=loaded.spec,
        positive=tuple(mean[0].clone() for mean in inputs),
        negative=tuple(mean[1].clone() for mean in inputs),
        n_positive=n_positive,
        n_negative=len(spans) - n_positive,
        n_tokens=sum(len(span.ids) - span.start for span in spans),
        provenance=loaded.provenance(contrast.name, contrast.content_hash),
        more={i: (mean[0] - mean[1]).float() for i, mean in more.items()},
        outliers=outliers,
        n_outliers=n_outliers,
    )


def capture_inputs(
    loaded: LoadedModel,
    examples: Sequence[Example],
    *,
    name: str = "examples",
    outliers: Outliers = OUTLIERS,
    progress: Progress | None = None,
) -> MeanInputs:
    """Mean input of every site over the response spans of examples without sides.

    For a direction from elsewhere: its scores need mean inputs and no contrast set. Choose texts like those that the
    edit is for; to weigh two sides equally, as the method does, use `capture_means`. Outliers, progress and errors are
    those of `capture_means`.
    """
    spans = tokenize_examples(loaded, examples, name)
    sums, _ = _sum_sides(loaded, spans, outliers, progress)
    mean = tuple(
        (total[0, : site.n_inputs].cpu().double() / len(spans) / site.runs).float()
        for site, total in zip(loaded.spec.sites, sums, strict=True)
    )
    return MeanInputs(loaded.spec, mean, len(spans), loaded.provenance(name, content_hash(examples)))


def tokenize_examples(
    loaded: LoadedModel, examples: Sequence[Example], name: str, *, is_positive: bool = True
) -> list[ExampleSpan]:
    """Examples as tokens, without those that have no prompt or no response; `name` names them in messages.

    Raises ContrastDataError if no example is left or one is too long for the model.
    """
    encoded = [example_ids(loaded.tokenizer, example) for example in examples]
    usable = [ExampleSpan(ids, start, is_positive) for ids, start in encoded if len(ids) > start > 0]
    _check_lengths(loaded, examples, [len(ids) for ids, _ in encoded])
    if not usable:
        raise ContrastDataError(f"No example of {name} has a prompt and a response of at least one token.")
    return usable


def _refuse_same_sides(name: str, spans: Sequence[ExampleSpan], n_positive: int) -> None:
    """The difference of equal means is rounding noise, whose direction would give scores like any other."""
    shares: Counter[tuple[tuple[int, ...], int]] = Counter()
    for span in spans:
        shares[span.model_input] += len(spans) - n_positive if span.is_positive else -n_positive
    if not any(shares.values()):
        raise ContrastDataError(
            f"Both sides of {name} are the same to the model, so no direction leads from one to the other. Responses "
            "to the same prompt must differ before their last token, which the model predicts but never reads. Give "
            "responses of several words."
        )


def _sum_sides(
    loaded: LoadedModel, spans: Sequence[ExampleSpan], outliers: Outliers, progress: Progress | None
) -> tuple[list[Tensor], int]:
    """Sums of the examples' means, positive and negative, per site (2, n_captured); the number of outliers."""
    sides = torch.tensor([[span.is_positive for span in spans], [not span.is_positive for span in spans]]).float()
    return weighted_sums(loaded, spans, sides, outliers, progress)


def weighted_sums(
    loaded: LoadedModel,
    spans: Sequence[ExampleSpan],
    weights: Tensor,
    outliers: Outliers = "keep",
    progress: Progress | None = None,
) -> tuple[list[Tensor], int]:
    """R weighted sums of the examples' means in one pass; `weights` is (R, examples). Per site: (R, n_captured).

    A mean consists of the n_inputs and, if the site has extra output, the mean of that, (d,), after them. The sums are
    on the model's device, in fp64 if it has fp64. All runs of a site that runs several times in a pass are added up.
    The second value is the number of outliers. Raises S2EError if a sum is not finite.
    """
    dtype = torch.float32 if loaded.device.type == "mps" else torch.float64
    sizes = [site.n_inputs + site.has_extra_output * loaded.spec.d_model for site in loaded.spec.sites]
    sums = [torch.zeros(len(weights), n_captured, dtype=dtype, device=loaded.device) for n_captured in sizes]

    def add(site: int, indices: Sequence[int], captured: Tensor) -> None:
        sums[site].add_(captured.to(sums[site]))

    n_outliers = reduce_spans(loaded, spans, weights, add, outliers, progress)
    refuse_not_finite(loaded, sums)
    return sums, n_outliers


def refuse_not_finite(loaded: LoadedModel, sums: Sequence[Tensor]) -> None:
    """Scores of NaN would pass no threshold: no component would seem to matter, without any message."""
    for site, total in zip(loaded.spec.sites, sums, strict=True):
        if not bool(total.isfinite().all()):
            raise S2EError(
                f"On these examples the model computes numbers that are not finite (NaN or infinity), first at the "
                f"input of {site.name}. They are probably too large for {dtype_name(loaded.dtype)}. Load the model in "
                "float32 (--dtype float32)."
            )


def reduce_spans(
    loaded: LoadedModel,
    spans: Sequence[ExampleSpan],
    weights: Tensor | None,
    take: Callable[[int, Sequence[int], Tensor], None],
    outliers: Outliers = "keep",
    progress: Progress | None = None,
) -> int:
    """Run every batch and call take(site, indices of the batch's spans, captured) for every site.

    `captured` is (R, n_captured) in fp32: the sums of the batch's means weighted by `weights` (R, examples), or without
    weights the mean of every example of the batch, in the order of the indices. It is not kept. A batch with
    outliers that are to be left out or weighed down runs again. Returns the number of outliers.
    """
    done, n_outliers = 0, 0
    with loaded.lock, torch.inference_mode():
        for indices in split_batches(spans):
            batch, rows = [spans[i] for i in indices], None if weights is None else weights[:, indices]
            captured, n = _run_batch(loaded, batch, rows, outliers)
            for site, part in captured:
                take(site, indices, part)
            n_outliers += n
            done += len(indices)
            if progress is not None:
                progress(done, len(spans))
    return n_outliers


def _check_lengths(loaded: LoadedModel, examples: Sequence[Example], lengths: Sequence[int]) -> None:
    limit, longest = loaded.context_length, max(lengths, default=0)
    if limit is not None and longest > limit:
        long = [example for example, length in zip(examples, lengths, strict=True) if length > limit]
        raise ContrastDataError(
            f"{counted(len(long), 'example')} longer than the {limit} tokens that the model reads: "
            f"{name_examples(long)} (the longest has {longest}). {LEAVE_OUT}"
        )


def split_batches(spans: Sequence[ExampleSpan], most_tokens: int | None = None) -> Iterator[list[int]]:
    """Indices of the spans of each batch: similar lengths, longest first, at most `most_tokens` padded tokens.

    By default MAX_BATCH_TOKENS.
    """
    most = MAX_BATCH_TOKENS if most_tokens is None else most_tokens
    batch: list[int] = []
    for i in sorted(range(len(spans)), key=lambda i: len(spans[i].ids), reverse=True):
        if batch and (len(batch) + 1) * len(spans[batch[0]].ids) > most:
            yield batch
            batch = []
        batch.append(i)
    yield batch


def _run_batch(
    loaded: LoadedModel, batch: Sequence[ExampleSpan], weights: Tensor | None, outliers: Outliers
) -> tuple[list[tuple[int, Tensor]], int]:
    """What each run of a site gives, as (site, (R, n_captured)), and the number of outliers."""
    ids, mask, shares = _padded(batch)
    with watch_ratios(loaded, mask) as ratios:
        captured = _captured(loaded, ids, mask, shares, weights)
    reduced, n_outliers = reweigh(shares, ratios, outliers)
    if n_outliers and outliers != "keep":
        captured = _captured(loaded, ids, mask, reduced, weights)
    return captured, n_outliers


def _padded(batch: Sequence[ExampleSpan]) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, mask, and the weight of every position in its example's mean: (B, T) each."""
    width = max(len(span.ids) for span in batch)
    ids, mask = torch.zeros(2, len(batch), width, dtype=torch.long)
    shares = torch.zeros(len(batch), width)
    for row, span in enumerate(batch):
        n = len(span.ids)
        ids[row, :n] = torch.tensor(span.ids)
        mask[row, :n] = 1
        shares[row, span.start - 1 : n - 1] = 1 / (n - span.start)
    return ids, mask, shares


def _captured(
    loaded: LoadedModel, ids: Tensor, mask: Tensor, shares: Tensor, weights: Tensor | None
) -> list[tuple[int, Tensor]]:
    """One forward pass; without weights R is B, and row r the mean of example r."""
    means = torch.diag_embed(shares.T).permute(1, 2, 0).flatten(1)  # (example, example * position)
    positions = means if weights is None else weights @ means
    captured: list[tuple[int, Tensor]] = []
    with watch_inputs(loaded, positions.to(loaded.device), lambda site, part: captured.append((site, part))):
        # The language-model head is left out: its logits would be the largest tensor of all.
        loaded.model.base_model(input_ids=ids.to(loaded.device), attention_mask=mask.to(loaded.device), use_cache=False)
    return captured
