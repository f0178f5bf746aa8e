"""Contrast sets: examples of a wanted behaviour and of its opposite, read from files and checked.

Knows counts and sides, not models; `reading.py` interprets files. Empty responses are skipped and reported; a side
without examples is an error.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from s2e_core.errors import ContrastDataError
from s2e_core.model import is_encodable
from s2e_core.text import counted
from s2e_core.values import ContrastSet, Example

from .columns import EXPECTED
from .reading import Reading, parse_examples, read_examples


def load_contrast_set(path: str | Path) -> ContrastSet:
    """Read a contrast set from a `.jsonl`, `.json`, `.csv` or `.tsv` file; `read_examples` says what it can contain.

    Raises ContrastDataError, naming the row, if anything cannot be understood.
    """
    return contrast_set_from(read_examples(path))


def parse_contrast_set(text: str, *, name: str, suffix: str) -> ContrastSet:
    """The contrast set in `text`, which has the format of a file with that suffix (".jsonl", ".csv", ...)."""
    return contrast_set_from(parse_examples(text, name=name, suffix=suffix))


def contrast_set_from(reading: Reading) -> ContrastSet:
    """The contrast set of a reading; the reading's notes come first.

    Raises ContrastDataError with the reading's first open question, if it has one.
    """
    if reading.questions:
        raise ContrastDataError(reading.questions[0].with_format)
    return contrast_set(reading.positive, reading.negative, name=reading.name, notes=reading.notes)


def contrast_set(
    positive: Sequence[Example], negative: Sequence[Example], *, name: str, notes: Sequence[str] = ()
) -> ContrastSet:
    """A checked contrast set: empty responses are skipped and reported.

    `notes` are sentences about the examples that come before those of the check. Raises ContrastDataError if a side
    has no example with a response, or a text contains an unpaired surrogate.
    """
    notes = list(notes)
    for side, examples in (("positive", positive), ("negative", negative)):
        empty = sum(not example.response.strip() for example in examples)
        if empty:
            have, were = ("has", "was") if empty == 1 else ("have", "were")
            notes.append(f"{counted(empty, f'{side} example')} {have} an empty response and {were} skipped.")
    for example in (*positive, *negative):
        texts = (example.prompt, example.response, example.system or "", *(text for _, text in example.earlier))
        if not is_encodable("".join(texts)):
            raise ContrastDataError(
                f'The example "{ascii(example.prompt[:40])[1:-1]}" contains a broken Unicode character (an unpaired '
                "surrogate). Retype or remove it."
            )
    positive, negative = _with_response(positive), _with_response(negative)
    for side, examples in (("positive", positive), ("negative", negative)):
        if not examples:
            raise ContrastDataError(f"The {side} side of {name} has no example with a response. {EXPECTED}")
    if min(len(positive), len(negative)) < 8:
        notes.append(
            f"Only {len(positive)} positive and {len(negative)} negative examples: with so few, directions vary a lot."
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


def _fields(example: Example) -> list[object]:
    """The content of an example; one question has the same hash as before there were chats of several turns."""
    return [example.system, example.prompt, example.response, *([example.earlier] if example.earlier else [])]


def _overlap_notes(positive: Sequence[Example], negative: Sequence[Example]) -> list[str]:
    one, other = ({(e.system, e.earlier, e.prompt, e.response) for e in side} for side in (positive, negative))
    both = one & other
    verbs = "is on both sides and cancels" if len(both) == 1 else "are on both sides and cancel"
    return [f"{counted(len(both), 'example')} {verbs} out."] if both else []
