"""What a person may have changed about examples after they were read: long ones left out, or a sample taken.

Knows readings, and for the length in tokens a model; no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from s2e_core.model import LoadedModel, example_ids
from s2e_core.values import ContrastSet, Example

from .contrast import contrast_set
from .reading import Reading

LEAVE_OUT = (
    "Shorten or remove such examples, or have them left out: with --leave-out-long, or on the page in the correction "
    "of how the file was read."
)
"""What to do about examples that are longer than the model reads, as a sentence."""
NAMED = 8
"""Largest number of rows that a sentence names."""


def sampled(reading: Reading, most: int) -> Reading:
    """At most `most` examples of each side, at even distances; always the same. A note says it."""
    sides = (reading.positive, reading.negative, reading.without_side)
    if max(map(len, sides)) <= most:
        return reading
    counts = " and ".join(f"{len(side):,}" for side in sides if side)
    note = f"A sample was taken: {most:,} examples of each side at even distances, of {counts}."
    positive, negative, without_side = (_spread(side, most) for side in sides)
    notes = (*reading.notes, note)
    return replace(reading, positive=positive, negative=negative, without_side=without_side, notes=notes)


def without_long(contrast: ContrastSet, loaded: LoadedModel) -> ContrastSet:
    """The contrast set without examples that are longer than the model reads; a note names their rows.

    Raises ContrastDataError if a side is empty then.
    """
    long = long_examples(contrast, loaded)
    if not long:
        return contrast
    ids = {id(example) for example in long}
    positive, negative = (
        [example for example in side if id(example) not in ids] for side in (contrast.positive, contrast.negative)
    )
    were = "example was" if len(long) == 1 else "examples were"
    note = f"{len(long)} {were} longer than the model reads and left out: {name_examples(long)}."
    return contrast_set(positive, negative, name=contrast.name, notes=(*contrast.notes, note))


def long_examples(contrast: ContrastSet, loaded: LoadedModel) -> list[Example]:
    """The examples with more tokens than the model reads, prompt and response together."""
    limit = loaded.context_length
    if limit is None:
        return []
    examples = (*contrast.positive, *contrast.negative)
    return [example for example in examples if len(example_ids(loaded.tokenizer, example)[0]) > limit]


def name_examples(examples: Sequence[Example]) -> str:
    """The rows of examples, or the beginning of the prompt if there is no row; at most NAMED."""
    names = list(
        dict.fromkeys(f"row {e.row}" if e.row is not None else f'"{" ".join(e.prompt.split())[:40]}"' for e in examples)
    )
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} others" if len(names) > NAMED else "")


def _spread(side: tuple[Example, ...], most: int) -> tuple[Example, ...]:
    n = min(most, len(side))
    return tuple(side[k * len(side) // n] for k in range(n))
