"""What a visitor brought as examples, and what it amounts to: a reading, and then a contrast set.

Knows typed lines, files, the limits and the model's own answers; no page and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from s2e_core import ContrastDataError, ContrastSet, Example
from s2e_core.data import FILES, Columns, OpenQuestion, QuestionKind, Reading, contrast_set, read_examples, read_table

from . import data_words as words
from .answers import Answers
from .limits import Limits

OWN_NAME = "your examples"
ROLES = tuple(words.ROLES)
TO_TRY, SHORT = 4, 160
"""Own prompts that are offered to try, and the length in characters up to which one is read at a glance."""


@dataclass(frozen=True, eq=False)
class Correction:
    """What a visitor says about a file; an empty field is found in the file."""

    prompt: str | None = None
    response: str | None = None
    label: str | None = None
    positive: str | None = None
    negative: str | None = None
    system: str | None = None
    messages: str | None = None
    context: str | None = None
    choices: str | None = None
    positive_labels: Sequence[str] = ()
    negative_labels: Sequence[str] = ()
    per_side: float | None = None
    """Largest number of examples taken of each side."""
    above: float | None = None
    """Threshold of a label that is a score."""
    take_off_marks: bool = False
    leave_out_long: bool = False
    """True if examples that are longer than the model reads are left out."""

    def columns(self) -> Columns:
        return Columns(**{role: getattr(self, role) or None for role in ROLES})


CORRECTIONS = tuple(field.name for field in fields(Correction))


@dataclass(frozen=True, eq=False)
class OwnExamples:
    """Everything about own examples that stands on the page."""

    positive: str = ""
    negative: str = ""
    file: str | None = None
    second: str | None = None
    """File of the opposite, if it has its own."""
    correction: Correction = field(default_factory=Correction)
    answers: Answers = field(default_factory=Answers)

    @classmethod
    def of(
        cls, positive: str | None, negative: str | None, file: str | None, second: str | None, *rest: Any
    ) -> OwnExamples:
        """From the values of the page: the two boxes, the two files, CORRECTIONS, and the answers."""
        *correction, answers = rest
        return cls(positive or "", negative or "", file, second, Correction(*correction), answers)

    @property
    def is_empty(self) -> bool:
        return not (self.file or self.second or self.positive.strip() or self.negative.strip())


def own_reading(own: OwnExamples, limits: Limits) -> Reading:
    """How the lines or files were understood, within the limits. Raises ContrastDataError."""
    if own.second and not own.file:
        raise ContrastDataError(words.SECOND_ALONE)
    if not own.file:
        return _read_typed(own.positive, own.negative)
    correction = own.correction
    for path in (own.file, own.second):
        if path and Path(path).stat().st_size > limits.file_megabytes * 1_000_000:
            raise ContrastDataError(
                f"{Path(path).name} is larger than the {limits.file_megabytes} MB that are read. Take a part of it."
            )
    reading = read_examples(
        own.file, own.second, columns=correction.columns(), positive_labels=correction.positive_labels or None,
        negative_labels=correction.negative_labels or None, above=correction.above,
        take_off_marks=bool(correction.take_off_marks),
    )  # fmt: skip
    if not (reading.names and (reading.positive or reading.negative or reading.without_side or reading.questions)):
        raise ContrastDataError(words.NO_ROWS.format(Path(own.file).name))
    chosen = correction.per_side
    most = min(limits.examples, max(1, int(chosen))) if chosen else limits.examples
    return _limit(reading, most, limits.example_chars)


def column_names(own: OwnExamples) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(columns, names of two lists or files) of files, even if they cannot be read as the visitor described them."""
    tables = [read_table(path) for path in (own.file, own.second) if path]
    names = tuple(dict.fromkeys(name for table in tables for name in table.columns()))
    sources = FILES if len(tables) > 1 else tables[0].sources if tables else ()
    return names, sources


def own_contrast(model: str, own: OwnExamples, limits: Limits) -> ContrastSet:
    """The examples as they would be extracted. Raises ContrastDataError for what is not a contrast set yet."""
    reading = own_reading(own, limits)
    if own.answers.stand_for(model, reading):
        return own.answers.contrast(OWN_NAME)
    if reading.questions:
        raise ContrastDataError(question_sentences(reading)[0])
    return contrast_set(reading.positive, reading.negative, name=OWN_NAME)


def own_prompts(contrast: ContrastSet, limits: Limits) -> tuple[str, ...]:
    """A few prompts of both sides to try, the short ones first; none where the examples are responses alone."""
    pairs = zip_longest(contrast.positive, contrast.negative)
    prompts = dict.fromkeys(example.prompt for pair in pairs for example in pair if example and example.prompt.strip())
    fitting = [prompt for prompt in prompts if len(prompt) <= limits.prompt_chars]
    return tuple(sorted(fitting, key=lambda prompt: len(prompt) > SHORT)[:TO_TRY])


def question_sentences(reading: Reading) -> list[str]:
    """What is still open about a reading, in the page's words if it has any."""
    own_words: dict[QuestionKind, str] = {}  # in place of the core's
    if reading.responses_missing:
        own_words = {"sides": "", "responses": words.PROMPTS_ONLY}
    elif reading.layout == "one side" and reading.without_side:
        own_words = {"sides": words.ONE_SIDED}
    has_examples = bool(reading.positive or reading.negative or reading.without_side or reading.labels)
    sentences = [
        question.sentence if has_examples else question.with_format
        for question in reading.questions
        if question.kind not in own_words
    ]
    return [*sentences, *filter(None, own_words.values())]


def _read_typed(positive: str, negative: str) -> Reading:
    """Lines of the two boxes: examples, or prompts alone if no line has a response."""
    lines = [_lines(text or "") for text in (positive, negative)]
    prompts_alone = not any(_parts(line) for side in lines for _, line in side)
    if not prompts_alone:
        for side, name in zip(lines, ("behaviour you want", "opposite"), strict=True):
            if not side:
                raise ContrastDataError(f"The side of the {name} is empty. Type one example a line, or upload a file.")
    if not any(lines):
        raise ContrastDataError(
            "The side of the behaviour you want is empty. Type one example a line, or upload a file."
        )
    one, other = (
        tuple(Example(line, "") if prompts_alone else _example(line, number) for number, line in side) for side in lines
    )
    sided = bool(one and other)
    return Reading(
        name=OWN_NAME, format=words.TYPED, layout="two lists" if sided else "one side", columns=Columns(), names=(),
        sources=(), unused=(), labels=(), preview=(), positive=one if sided else (), negative=other if sided else (),
        without_side=() if sided else (*one, *other), n_skipped=0, responses_missing=prompts_alone,
        questions=(OpenQuestion("responses", words.PROMPTS_ONLY),) if prompts_alone else (), notes=(),
    )  # fmt: skip


def _lines(text: str) -> list[tuple[int, str]]:
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _parts(line: str) -> tuple[str, str] | None:
    for separator in ("\t", " | "):
        prompt, _, response = line.partition(separator)
        if response.strip():
            return prompt.strip(), response.strip()
    return None


def _example(line: str, number: int) -> Example:
    parts = _parts(line)
    if parts is None:
        raise ContrastDataError(
            f'Line {number} has no prompt and response: "{line[:40]}". '
            'Write the prompt, a tab or " | ", and the response.'
        )
    return Example(*parts)


def _limit(reading: Reading, most: int, chars: int) -> Reading:
    """The first `most` examples of each side that are short enough; what was left out is noted."""
    sides = (reading.positive, reading.negative, reading.without_side)
    short = [[e for e in side if len(e.prompt) + len(e.response) <= chars] for side in sides]
    notes = list(reading.notes)
    n_long = sum(map(len, sides)) - sum(map(len, short))
    if n_long:
        notes.append(words.ONE_TOO_LONG.format(chars) if n_long == 1 else words.TOO_LONG.format(n_long, chars))
    if max(map(len, short)) > most:
        counts = " and ".join(f"{len(side):,}" for side in short if side)
        notes.append(words.CUT_SIDE.format(most, counts))
    positive, negative, without_side = (tuple(side[:most]) for side in short)
    return replace(reading, positive=positive, negative=negative, without_side=without_side, notes=tuple(notes))
