"""Contrast sets: examples of a wanted behaviour and of its opposite, read from files and checked.

Knows counts and sides, not models; how a file is understood is in `reading.py`. Rows that cannot be used are skipped
and reported; too few is an error.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from s2e_core.errors import ContrastDataError
from s2e_core.model import is_text
from s2e_core.text import counted
from s2e_core.values import ContrastSet, Example

from .columns import EXPECTED
from .reading import Reading, parse_examples, read_examples


def load_contrast_set(path: str | Path) -> ContrastSet:
    """Read a contrast set from a `.jsonl`, `.json`, `.csv` or `.tsv` file; see `read_examples` for what is understood.

    Raises ContrastDataError, naming the row, for anything that cannot be understood.
    """
    return contrast_set_from(read_examples(path))


def parse_contrast_set(text: str, *, name: str, suffix: str) -> ContrastSet:
    """The contrast set in `text`, which has the format of a file with that suffix (".jsonl", ".csv", ...)."""
    return contrast_set_from(parse_examples(text, name=name, suffix=suffix))


def contrast_set_from(reading: Reading) -> ContrastSet:
    """The contrast set that a data file was understood as; the reading's notes come first.

    Raises ContrastDataError with the first of the reading's questions where it leaves any, for prompts that have no
    responses among them.
    """
    if reading.questions:
        raise ContrastDataError(reading.questions[0])
    return contrast_set(reading.positive, reading.negative, name=reading.name, notes=reading.notes)


def contrast_set(
    positive: Sequence[Example], negative: Sequence[Example], *, name: str, notes: Sequence[str] = ()
) -> ContrastSet:
    """A checked contrast set: empty responses are skipped and reported, a side without examples is an error.

    `notes` are what is known of the examples already, as sentences.
    """
    notes = list(notes)
    for side, examples in (("positive", positive), ("negative", negative)):
        empty = sum(not example.response.strip() for example in examples)
        if empty:
            have, were = ("has", "was") if empty == 1 else ("have", "were")
            notes.append(f"{counted(empty, f'{side} example')} {have} an empty response and {were} skipped.")
    for example in (*positive, *negative):
        if not is_text(example.prompt + example.response + (example.system or "")):
            raise ContrastDataError(
                f'An example holds half of a character pair: "{ascii(example.prompt)[1:41]}". Remove it.'
            )
    positive, negative = _with_response(positive), _with_response(negative)
    for side, examples in (("positive", positive), ("negative", negative)):
        if not examples:
            raise ContrastDataError(f"The {side} side of {name} has no example with a response. {EXPECTED}")
    if min(len(positive), len(negative)) < 8:
        notes.append(
            f"Only {len(positive)} positive and {len(negative)} negative examples: directions from so few vary a lot."
        )
    notes.extend(_overlap_notes(positive, negative))
    return ContrastSet(positive, negative, name, tuple(notes), content_hash(positive, negative))


def content_hash(*sides: Sequence[Example]) -> str:
    """SHA-256 of examples in order, hexadecimal."""
    content = json.dumps([[_fields(example) for example in side] for side in sides])
    return hashlib.sha256(content.encode()).hexdigest()


def swapped(contrast: ContrastSet) -> ContrastSet:
    """The same examples for the opposite behaviour."""
    return contrast_set(contrast.negative, contrast.positive, name=f"{contrast.name} (sides swapped)")


def _with_response(examples: Iterable[Example]) -> tuple[Example, ...]:
    return tuple(example for example in examples if example.response.strip())


def _fields(example: Example) -> list[str | None]:
    return [example.system, example.prompt, example.response]


def _overlap_notes(positive: Sequence[Example], negative: Sequence[Example]) -> list[str]:
    both = {(e.prompt, e.response) for e in positive} & {(e.prompt, e.response) for e in negative}
    stand = "stands on both sides and cancels" if len(both) == 1 else "stand on both sides and cancel"
    return [f"{counted(len(both), 'example')} {stand} out."] if both else []
