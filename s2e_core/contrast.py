"""Contrast sets: examples of a wanted behaviour and of its opposite, read from files and checked.

Knows file formats and counts, not models. Rows that cannot be used are skipped and reported; too few is an error.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .chat import is_text
from .errors import ContrastDataError
from .types import ContrastSet, Example

POSITIVE_LABELS = frozenset({"positive", "pos", "true", "1", "yes", "good"})
NEGATIVE_LABELS = frozenset({"negative", "neg", "false", "0", "no", "bad"})
PROMPT_COLUMNS = ("prompt", "question", "instruction", "input")
RESPONSE_COLUMNS = ("response", "answer", "completion", "output")
LABEL_COLUMNS = ("label", "parsed_label", "side")
EXPECTED = (
    "Expected JSONL or CSV rows with either the columns prompt, response and label (positive or negative), "
    "or the columns positive and negative (with an optional prompt)."
)


def load_contrast_set(path: str | Path) -> ContrastSet:
    """Read a contrast set from a `.jsonl`, `.json` or `.csv` file (UTF-8, with or without a byte order mark).

    Raises ContrastDataError, naming the row, for anything that cannot be understood.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ContrastDataError(f"There is no file {path.name}. Choose an existing JSONL or CSV file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ContrastDataError(f"{path.name} could not be read as UTF-8 text ({error}). {EXPECTED}") from error
    return parse_contrast_set(text, name=path.stem, suffix=path.suffix.lower())


def parse_contrast_set(text: str, *, name: str, suffix: str) -> ContrastSet:
    """The contrast set in `text`, which has the format of a file with that suffix (".jsonl", ".json" or ".csv")."""
    readers = {".jsonl": _jsonl_rows, ".json": _json_rows, ".csv": _csv_rows}
    if suffix not in readers:
        raise ContrastDataError(f"{name}{suffix} is of a type this program does not read. {EXPECTED}")
    positive: list[Example] = []
    negative: list[Example] = []
    for number, row in readers[suffix](text):
        for is_positive, example in _row_examples(row, number):
            (positive if is_positive else negative).append(example)
    return contrast_set(positive, negative, name=name)


def contrast_set(positive: Sequence[Example], negative: Sequence[Example], *, name: str) -> ContrastSet:
    """A checked contrast set: empty responses are skipped and reported, a side without examples is an error."""
    notes = []
    for side, examples in (("positive", positive), ("negative", negative)):
        empty = sum(not example.response.strip() for example in examples)
        if empty:
            notes.append(f"{empty} {side} examples have an empty response and were skipped.")
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
    content = json.dumps([[_fields(example) for example in side] for side in (positive, negative)])
    digest = hashlib.sha256(content.encode()).hexdigest()
    return ContrastSet(positive, negative, name, tuple(notes), digest)


def swapped(contrast: ContrastSet) -> ContrastSet:
    """The same examples for the opposite behaviour."""
    return contrast_set(contrast.negative, contrast.positive, name=f"{contrast.name} (sides swapped)")


def _with_response(examples: Iterable[Example]) -> tuple[Example, ...]:
    return tuple(example for example in examples if example.response.strip())


def _fields(example: Example) -> list[str | None]:
    return [example.system, example.prompt, example.response]


def _overlap_notes(positive: Sequence[Example], negative: Sequence[Example]) -> list[str]:
    both = {(e.prompt, e.response) for e in positive} & {(e.prompt, e.response) for e in negative}
    return [f"{len(both)} examples stand on both sides and cancel out."] if both else []


def _jsonl_rows(text: str) -> Iterable[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split inside strings
        if line.strip():
            yield number, _mapping(_json(line, f"Line {number}"), number)


def _json_rows(text: str) -> Iterable[tuple[int, Mapping[str, object]]]:
    rows = _json(text, "The file")
    if not isinstance(rows, list):
        raise ContrastDataError(f"The JSON file does not hold a list of rows. {EXPECTED}")
    for number, row in enumerate(rows, start=1):
        yield number, _mapping(row, number)


def _csv_rows(text: str) -> Iterable[tuple[int, Mapping[str, object]]]:
    try:
        for number, row in enumerate(csv.DictReader(io.StringIO(text, newline=""), strict=True), start=2):
            yield number, _mapping({key: value for key, value in row.items() if key}, number)
    except csv.Error as error:
        raise ContrastDataError(f"The CSV file is malformed ({error}). {EXPECTED}") from error


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits
        raise ContrastDataError(f"{where} is not valid JSON ({error}). {EXPECTED}") from error


def _mapping(row: object, number: int) -> Mapping[str, object]:
    if not isinstance(row, dict):
        raise ContrastDataError(f"Row {number} is not an object with named columns. {EXPECTED}")
    return {str(key).strip().lower(): value for key, value in row.items()}


def _row_examples(row: Mapping[str, object], number: int) -> Iterable[tuple[bool, Example]]:
    """(is positive, example) once for a labelled row, twice for a row with both sides."""
    prompt, system = _text(row, PROMPT_COLUMNS, number) or "", _text(row, ("system",), number)
    if "positive" in row and "negative" in row:
        for side in ("positive", "negative"):
            yield side == "positive", Example(prompt, _text(row, (side,), number) or "", system)
        return
    label = next((str(row[column]).strip().lower() for column in LABEL_COLUMNS if row.get(column) is not None), None)
    response = _text(row, RESPONSE_COLUMNS, number)
    if label is None or response is None:
        found = ", ".join(row) or "nothing"
        raise ContrastDataError(f"Row {number} has the columns {found}. {EXPECTED}")
    if label not in POSITIVE_LABELS | NEGATIVE_LABELS:
        raise ContrastDataError(f'Row {number} has the label "{label[:40]}". {EXPECTED}')
    yield label in POSITIVE_LABELS, Example(prompt, response, system)


def _text(row: Mapping[str, object], columns: Sequence[str], number: int) -> str | None:
    """The first of `columns` that the row has, as text; None where it has none of them."""
    for column in columns:
        value = row.get(column)
        if value is None:
            continue
        if not isinstance(value, str):
            raise ContrastDataError(f"Row {number}: the column {column} holds {type(value).__name__}, expected text.")
        return value
    return None
