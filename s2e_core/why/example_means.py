"""Mean projection inputs of every single example: what chance, deciles and histograms of any component are read from.

Knows forward passes over examples; no formula. One number per example and input is kept, in fp32, so that resampling
the examples needs no further pass of the model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.errors import ContrastDataError
from s2e_core.method import ExampleSpan, reduce_spans, refuse_not_finite, split_batches, tokenize_examples
from s2e_core.model import LoadedModel, example_ids
from s2e_core.progress import Progress
from s2e_core.spec import ModelSpec
from s2e_core.values import OUTLIERS, ContrastSet, Example, Outliers

MOST_BYTES = 256_000_000
"""Memory for the means of all examples; a side of a model that needs more is thinned out evenly."""
LEAST_EXAMPLES = 8
"""Number of examples of a side that are read even if they need more memory."""
PART_TOKENS = 512
"""Padded tokens after which other threads can take the model."""
PAUSE_SECONDS = 0.002
"""Pause between two parts so that a waiting thread can take the lock."""


@dataclass(frozen=True, eq=False)
class ExampleMeans:
    """Mean inputs over the response span of every example, the positive ones first."""

    spec: ModelSpec
    examples: tuple[Example, ...]
    inputs: tuple[Tensor, ...]
    """Mean input of every example. Per site: (examples, n_inputs), and d more columns if it has extra output."""
    n_positive: int
    n_left_out: int = 0
    """Number of usable examples that were not read, so that the memory suffices."""

    @property
    def n_bytes(self) -> int:
        """Memory in bytes."""
        return sum(inputs.numel() * inputs.element_size() for inputs in self.inputs)


def example_means(
    loaded: LoadedModel, contrast: ContrastSet, *, outliers: Outliers = OUTLIERS, progress: Progress | None = None
) -> ExampleMeans:
    """Read every example once and keep its mean inputs, at most MOST_BYTES of them.

    Takes `loaded.lock` part by part, so that other threads can run the model in between. `outliers` and `progress` are
    those of `capture_means`. Raises ContrastDataError if a side has fewer than two usable examples or one is too long
    for the model, S2EError for numbers that are not finite, Cancelled if `progress` raises it.
    """
    usable = [_usable(loaded, side) for side in (contrast.positive, contrast.negative)]
    if min(map(len, usable)) < 2:
        raise ContrastDataError(
            f"{contrast.name} has {len(usable[0])} positive and {len(usable[1])} negative examples that can be used; "
            "at least two a side are needed to tell chance from the behaviour. Add examples."
        )
    per_example = 4 * sum(site.n_inputs for site in loaded.spec.sites)
    most = max(LEAST_EXAMPLES, MOST_BYTES // (2 * per_example))
    positive, negative = (_thinned(side, most) for side in usable)
    examples = [*positive, *negative]
    spans = tokenize_examples(loaded, examples, contrast.name)
    sizes = [site.n_inputs + site.has_extra_output * loaded.spec.d_model for site in loaded.spec.sites]
    inputs = [torch.zeros(len(spans), size) for size in sizes]
    done = 0
    for part in split_batches(spans, PART_TOKENS):
        _read_part(loaded, spans, part, inputs, outliers)
        done += len(part)
        if progress is not None:
            progress(done, len(spans))
        time.sleep(PAUSE_SECONDS)
    refuse_not_finite(loaded, inputs)
    n_left_out = sum(map(len, usable)) - len(examples)
    return ExampleMeans(loaded.spec, tuple(examples), tuple(inputs), len(positive), n_left_out)


def _read_part(
    loaded: LoadedModel, spans: Sequence[ExampleSpan], part: Sequence[int], inputs: Sequence[Tensor], outliers: Outliers
) -> None:
    """Write the mean inputs of the examples with these indices into `inputs`."""

    def take(site: int, indices: Sequence[int], captured: Tensor) -> None:
        inputs[site][[part[i] for i in indices]] += captured.cpu() / loaded.spec.sites[site].runs

    reduce_spans(loaded, [spans[i] for i in part], None, take, outliers)


def _usable(loaded: LoadedModel, side: Sequence[Example]) -> list[Example]:
    """The examples with a prompt and a response of at least one token each."""
    encoded = ((example, *example_ids(loaded.tokenizer, example)) for example in side)
    return [example for example, ids, start in encoded if len(ids) > start > 0]


def _thinned(side: list[Example], most: int) -> list[Example]:
    n = min(len(side), most)
    return [side[number * len(side) // n] for number in range(n)]
