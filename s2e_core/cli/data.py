"""The command `data`: how a file of examples is understood and what is odd about it, before anything is extracted.

Knows the terminal and the parsed options; the reading itself is the core's public functions.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from s2e_core.data import Columns, Reading, averaged_span, contrast_set_from, lint, read_examples, read_table
from s2e_core.errors import SettingsError
from s2e_core.method import Reliability, reliability
from s2e_core.model import LoadedModel
from s2e_core.responses import OwnResponse, answer_sides, asked_prompts, own_responses, possible_rules
from s2e_core.text import counted
from s2e_core.values import ContrastSet

from .arguments import COLUMN_ROLES
from .terminal import check_place, chosen_model, output, progress_line

WIDTH = 100  # characters of a cell in the preview
SPAN_TOKENS = 60  # of the example whose averaged tokens are shown
OF_ANSWERS = {"sides": None, "share": 0.05, "marks": None, "samples": 1, "max_new_tokens": 256, "seed": 0}
"""Options that mean something with --answers alone, with their defaults."""


def show_data(options: argparse.Namespace) -> int:
    """How a file of examples is understood, with its first rows, and what is odd about it."""
    if options.answers is None:
        _refuse_answer_options(options)
    roles = (*COLUMN_ROLES, "positive", "negative")
    reading = read_examples(
        options.file,
        options.second,
        columns=Columns(**{role: getattr(options, role) for role in roles}),
        positive_labels=options.positive_labels,
        negative_labels=options.negative_labels,
    )
    print("\n".join(reading_lines(reading)))
    if reading.questions and not (options.answers or options.output):
        return 1
    contrast = _answered(options, reading) if options.answers else contrast_set_from(reading)
    _check(options, contrast)
    if options.output:
        _write(contrast, options.output)
    return 0


def _refuse_answer_options(options: argparse.Namespace) -> None:
    """Raise SettingsError for what was said of answers where the model is to give none."""
    said = [f"--{name.replace('_', '-')}" for name, usual in OF_ANSWERS.items() if getattr(options, name) != usual]
    if said:
        verb = "is" if len(said) == 1 else "are"
        raise SettingsError(
            f"{' and '.join(said)} {verb} for the model's own answers. Give --answers FILE, where they are kept, too."
        )


def _answered(options: argparse.Namespace, reading: Reading) -> ContrastSet:
    """The model's own responses to the prompts of a file, on the sides that the chosen rule gives them."""
    asked = asked_prompts(reading, samples=options.samples)
    rule = options.sides or possible_rules(asked)[0]
    if rule not in possible_rules(asked):
        answer_sides(rule, asked, ())  # raises, with what the rule needs
    if rule == "hand" and options.marks is None:
        raise SettingsError("Sides by hand are read from a file of marks. Name one with --marks, new or filled in.")
    if not options.model:
        raise SettingsError('Responses are those of a model. Name one with --model, "bundled" for instance.')
    check_place(options.answers)
    with progress_line("answering") as progress:
        made = own_responses(
            chosen_model(options),
            [one.example for one in asked],
            max_new_tokens=options.max_new_tokens,
            seed=options.seed,
            path=options.answers,
            progress=progress,
        )
    marks = _marks(options.marks, made) if rule == "hand" else ()
    contrast = answer_sides(rule, asked, made, share=options.share, marks=marks, name=reading.name)
    print(f"\nsides by {rule}\n" + "\n".join(contrast.notes))
    return contrast


MARKS = {"+": True, "-": False, "": None}


def _marks(path: Path, made: Sequence[OwnResponse]) -> list[bool | None]:
    """The marks in a CSV file, one per response; a file that is not there yet is written, to be filled in."""
    if not path.exists():
        with output(str(path)) as file:
            rows = ([number, "", r.example.prompt, r.example.response] for number, r in enumerate(made, start=1))
            csv.writer(file).writerows([("number", "mark", "prompt", "response"), *rows])
        raise SettingsError(
            f"{path} was written. Put + or - into its column mark, leave out what is neither, and run the same again."
        )
    rows_there = read_table(path).rows
    if len(rows_there) != len(made):
        raise SettingsError(f"{path} has {len(rows_there)} rows and there are {len(made)} responses. Write it anew.")
    marks = []
    for row, response in zip(rows_there, made, strict=True):
        mark = str(row.cells.get("mark", "?")).strip()
        if mark not in MARKS or row.cells.get("response", "") != response.example.response:
            raise SettingsError(f"Row {row.number} of {path} is not a response with the mark +, - or nothing.")
        marks.append(MARKS[mark])
    return marks


def reading_lines(reading: Reading) -> Iterator[str]:
    """The reading as text: what was understood, the first rows, and what is still open."""
    counts = f"{len(reading.positive)} positive, {len(reading.negative)} negative"
    if reading.unsided:
        counts += f", {len(reading.unsided)} without a side"
    rows = [("format", reading.format), ("sides", SIDES[reading.layout])]
    rows += reading.columns.roles().items()
    rows += [
        ("label", f'"{label.value[:40]}" is {label.side}: {counted(label.count, "row")}')
        for label in reading.labels[:20]
    ]
    rows += [("not used", ", ".join(reading.unused))] if reading.unused else []
    rows += [("examples", f"{counts}, {counted(reading.n_skipped, 'row')} skipped")]
    notes = reading.notes if reading.questions else contrast_set_from(reading).notes
    rows += [("note", note) for note in notes] + [("open", question) for question in reading.questions]
    yield from (f"{label:<10} {value}" for label, value in rows)
    for number, cells in enumerate(reading.preview, start=1):
        yield f"\nrow {number} of {len(reading.preview)} shown"
        yield from (f"  {name}: {_line(cell)}" for name, cell in cells.items())


def _check(options: argparse.Namespace, contrast: ContrastSet) -> None:
    """The linter's findings, and what a model says about the examples."""
    if options.reliability and not options.model:
        raise SettingsError('Reliability is measured with a model. Name one with --model, "bundled" for instance.')
    loaded = chosen_model(options) if options.model else None
    if options.lint:
        print("\n" + "\n".join(lint_lines(contrast, loaded)))
    if options.reliability and loaded is not None:
        with progress_line("measuring") as progress:
            found = reliability(loaded, contrast, progress=progress)
        print("\n" + "\n".join(reliability_lines(found)))


def reliability_lines(found: Reliability) -> Iterator[str]:
    """The figures of every site, then what they mean."""
    yield "layer  kind     held-out accuracy  direction cosine  deviation of g"
    for site, accuracy, cosine, deviation in zip(
        found.spec.sites, found.accuracy.tolist(), found.direction_cosine.tolist(), found.g_deviation, strict=True
    ):
        yield f"{site.layer:>5}  {site.kind:<7}  {accuracy:>17.0%}  {cosine:>16.2f}  {float(deviation.median()):>14.3f}"
    yield ""
    yield from found.sentences()


def lint_lines(contrast: ContrastSet, loaded: LoadedModel | None) -> Iterator[str]:
    """The linter's findings; with a model also the tokens of the first example, the averaged ones in brackets."""
    yield from (f"{finding.severity:<10} {finding.sentence}" for finding in lint(contrast, loaded))
    if loaded is not None:
        shown = averaged_span(loaded, contrast.positive[0])[-SPAN_TOKENS:]
        yield f"\nThe first positive example, its last {len(shown)} tokens; [activations here are averaged]"
        yield " ".join(f"[{_visible(text)}]" if averaged else _visible(text) for text, averaged in shown)


def _visible(text: str) -> str:
    return text.replace("\n", "\\n")


def _write(contrast: ContrastSet, path: str) -> None:
    """The contrast set as JSONL that every command reads without a correction."""
    sides = (("positive", contrast.positive), ("negative", contrast.negative))
    with output(path) as file:
        for label, example in ((label, example) for label, examples in sides for example in examples):
            row = {"system": example.system, "prompt": example.prompt, "response": example.response, "label": label}
            kept = {name: text for name, text in row.items() if text is not None}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")


def _line(cell: str) -> str:
    line = " ".join(cell.split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


SIDES = {
    "pairs": "two columns of every row",
    "choices": "the choices of every row, true ones against false ones",
    "two lists": "two lists",
    "two files": "two files, the positive one first",
    "labelled": "the label column",
    "one side": "nothing says",
}
