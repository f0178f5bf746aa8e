"""The command `data`: how a file of examples is understood and what is odd about it, before anything is extracted.

Knows options and the terminal; reading and checking are functions of the core.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from s2e_core.data import (
    Columns,
    Reading,
    contrast_set_from,
    lint,
    mark_averaged_tokens,
    read_examples,
    read_table,
    sampled,
    without_long,
)
from s2e_core.errors import SettingsError
from s2e_core.method import Reliability, reliability
from s2e_core.model import LoadedModel
from s2e_core.responses import OwnResponse, answer_sides, own_responses, possible_rules, read_prompts
from s2e_core.text import counted
from s2e_core.values import ContrastSet

from .arguments import (
    add_leave_out_long,
    add_model,
    add_outliers,
    chosen_outliers,
    parse_finite,
    parse_names,
    parse_positive,
    parse_seed,
)
from .command import Command
from .terminal import ProgressLine, check_writable, load_chosen_model, local_file, open_output

COLUMN_ROLES = {
    "prompt": "the prompt",
    "context": "more of the prompt, joined on a new line",
    "response": "the response",
    "label": "the label of the side",
    "choices": "a question's choices with their labels",
    "system": "the system text",
    "messages": "a whole chat",
}
WIDTH = 100
"""Largest number of characters of a cell in the preview."""
SPAN_TOKENS = 60
"""Number of tokens shown of the example whose averaged tokens are marked."""
ANSWER_OPTIONS = {"sides": None, "share": 0.05, "marks": None, "samples": 1, "max_new_tokens": 256, "seed": 0}
"""Options that need --answers, with their defaults."""


def add_data(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "file",
        type=Path,
        help="JSONL, JSON, CSV, TSV, TXT or Parquet, also as .gz; or a data set of the Hub, owner/name@revision or "
        "owner/name/file@revision",
    )
    sub.add_argument("second", type=Path, nargs="?", help="the negative side, if it is in a file of its own")
    sub.add_argument("-o", "--output", metavar="FILE", help="write the examples as JSONL, for --contrast")
    sub.add_argument("--lint", action="store_true", help="say what is odd about the examples")
    sub.add_argument(
        "--reliability", action="store_true", help="run the model: are the sides separable, the scores stable?"
    )
    sub.add_argument(
        "--answers", type=Path, metavar="FILE", help="let the model answer the prompts; its answers are kept here"
    )
    sub.add_argument(
        "--sides",
        choices=("prompt", "agreement", "length", "hand"),
        help="sides of --answers: the side of the prompt, agreement with the file's own answers (right ones, or true "
        "and false ones), the shortest against the longest, or your own marks (default: the first that the file "
        "allows)",
    )
    sub.add_argument("--share", type=float, default=0.05, help="for --sides length: share of each side (default 0.05)")
    sub.add_argument("--marks", type=Path, metavar="CSV", help="for --sides hand: written first, then to be filled in")
    sub.add_argument("--samples", type=parse_positive, default=1, metavar="N", help="answers to a prompt (default 1)")
    sub.add_argument("--max-new-tokens", type=int, default=256, help="length of an answer (default 256)")
    sub.add_argument("--seed", type=parse_seed, default=0)
    add_outliers(sub)
    add_model(sub, default=None, purpose="for --answers and --reliability, and for --lint to count in its tokens; ")
    for role, content in COLUMN_ROLES.items():
        sub.add_argument(f"--{role}", metavar="COLUMN", help=f"the column that contains {content}")
    for side in ("positive", "negative"):
        sub.add_argument(f"--{side}", metavar="COLUMN", help=f"the column, or the list, that is the {side} side")
        sub.add_argument(
            f"--{side}-labels",
            type=parse_names,
            metavar="A,B",
            help=f"the values of the label that mean the {side} side",
        )

    sub.add_argument(
        "--above",
        type=parse_finite,
        metavar="NUMBER",
        help="if the label is a score: rows above this are positive, all others negative",
    )
    sub.add_argument("--take-off-marks", action="store_true", help="take the marks of a chat template off the texts")
    sub.add_argument(
        "--sample", type=parse_positive, metavar="N", help="at most N examples of each side, evenly spaced"
    )
    add_leave_out_long(sub)


def show_data(options: argparse.Namespace) -> int:
    if options.answers is None:
        _refuse_answer_options(options)
    roles = (*COLUMN_ROLES, "positive", "negative")
    reading = read_examples(
        local_file(options.file),
        local_file(options.second) if options.second else None,
        columns=Columns(**{role: getattr(options, role) for role in roles}),
        positive_labels=options.positive_labels,
        negative_labels=options.negative_labels,
        above=options.above,
        take_off_marks=options.take_off_marks,
    )
    reading = sampled(reading, options.sample) if options.sample else reading
    print("\n".join(reading_lines(reading)))
    if reading.questions and not (options.answers or options.output):
        return 1
    contrast = _generate_answers(options, reading) if options.answers else contrast_set_from(reading)
    contrast = _check(options, contrast)
    if options.output:
        _write(contrast, options.output)
    return 0


def _refuse_answer_options(options: argparse.Namespace) -> None:
    """Raises SettingsError for options that need --answers."""
    names = [name for name, default in ANSWER_OPTIONS.items() if getattr(options, name) != default]
    if names:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in names)
        verb = "is" if len(names) == 1 else "are"
        raise SettingsError(
            f"{flags} {verb} for the model's own answers. Give --answers FILE, where they are kept, too."
        )


def _generate_answers(options: argparse.Namespace, reading: Reading) -> ContrastSet:
    """The model's own responses to the prompts of a file, put on sides by the chosen rule."""
    asked = read_prompts(reading, samples=options.samples)
    rule = options.sides or possible_rules(asked)[0]
    if rule not in possible_rules(asked):
        answer_sides(rule, asked, ())  # raises, with what the rule needs
    if rule == "hand" and options.marks is None:
        raise SettingsError("Sides by hand are read from a file of marks. Name one with --marks, new or filled in.")
    if not options.model:
        raise SettingsError('Responses are those of a model. Name one with --model, "bundled" for instance.')
    check_writable(options.answers)
    loaded = load_chosen_model(options)
    with ProgressLine("answering") as progress:
        responses = own_responses(
            loaded,
            [one.example for one in asked],
            max_new_tokens=options.max_new_tokens,
            seed=options.seed,
            path=options.answers,
            progress=progress,
        )
    marks = _read_marks(options.marks, responses) if rule == "hand" else ()
    contrast = answer_sides(rule, asked, responses, share=options.share, marks=marks, name=reading.name)
    print(f"\nsides by {rule}\n" + "\n".join(contrast.notes))
    return contrast


MARKS = {"+": True, "-": False, "": None}


def _read_marks(path: Path, responses: Sequence[OwnResponse]) -> list[bool | None]:
    """The marks in a CSV file, one per response. Writes the file if it does not exist, and raises SettingsError."""
    if not path.exists():
        with open_output(str(path)) as file:
            lines = ([number, "", r.example.prompt, r.example.response] for number, r in enumerate(responses, start=1))
            csv.writer(file).writerows([("number", "mark", "prompt", "response"), *lines])
        raise SettingsError(
            f"{path} was written. Put + or - into its column mark, nothing for neither, and run the same command again."
        )
    rows = read_table(path).rows
    if len(rows) != len(responses):
        raise SettingsError(
            f"{path} has {len(rows)} rows and there are {len(responses)} responses. Delete it to have it written again."
        )
    marks = []
    for row, response in zip(rows, responses, strict=True):
        mark = str(row.cells.get("mark", "?")).strip()
        if mark not in MARKS or row.cells.get("response", "") != response.example.response:
            raise SettingsError(f"Row {row.number} of {path} is not a response with the mark +, - or nothing.")
        marks.append(MARKS[mark])
    return marks


def reading_lines(reading: Reading) -> Iterator[str]:
    """How the file is understood, its first rows, and the open questions."""
    counts = f"{len(reading.positive)} positive, {len(reading.negative)} negative"
    if reading.without_side:
        counts += f", {len(reading.without_side)} without a side"
    rows = [("format", reading.format), ("sides", SIDES[reading.layout])]
    rows += reading.columns.roles().items()
    rows += [
        ("label", f'"{label.value[:40]}" is {label.side}: {counted(label.count, "row")}')
        for label in reading.labels[:20]
    ]
    rows += [("not used", ", ".join(reading.unused))] if reading.unused else []
    rows += [("examples", f"{counts}, {counted(reading.n_skipped, 'row')} skipped")]
    notes = reading.notes if reading.questions else contrast_set_from(reading).notes
    rows += [("note", note) for note in notes] + [("open", question.with_format) for question in reading.questions]
    yield from (f"{label:<10} {value}" for label, value in rows)
    for number, cells in enumerate(reading.preview, start=1):
        yield f"\nrow {number} of {len(reading.preview)} shown"
        yield from (f"  {name}: {_shorten(cell)}" for name, cell in cells.items())


def _check(options: argparse.Namespace, contrast: ContrastSet) -> ContrastSet:
    """The examples that are left, after the linter's findings and what a model says about them."""
    for wanted, what in ((options.reliability, "Reliability is"), (options.leave_out_long, "Lengths are")):
        if wanted and not options.model:
            raise SettingsError(f'{what} measured with a model. Name one with --model, "bundled" for instance.')
    loaded = load_chosen_model(options) if options.model else None
    if options.leave_out_long and loaded is not None:
        contrast, before = without_long(contrast, loaded), contrast
        print("\n".join(("", *contrast.notes)) if contrast is not before else "\nNo example is too long.")
    if options.lint:
        print("\n" + "\n".join(lint_lines(contrast, loaded)))
    if options.reliability and loaded is not None:
        with ProgressLine("measuring") as progress:
            result = reliability(loaded, contrast, outliers=chosen_outliers(options), progress=progress)
        print("\n" + "\n".join(reliability_lines(result)))
    return contrast


def reliability_lines(result: Reliability) -> Iterator[str]:
    """The figures of every site, then what they mean."""
    yield "layer  kind     held-out accuracy  direction cosine  deviation of g"
    for site, accuracy, cosine, deviation in zip(
        result.spec.sites, result.accuracy.tolist(), result.direction_cosine.tolist(), result.g_deviation, strict=True
    ):
        yield f"{site.layer:>5}  {site.kind:<7}  {accuracy:>17.0%}  {cosine:>16.2f}  {float(deviation.median()):>14.3f}"
    yield ""
    yield from result.sentences()


def lint_lines(contrast: ContrastSet, loaded: LoadedModel | None) -> Iterator[str]:
    """The linter's findings; with a model also the tokens of the first example, the averaged ones in brackets."""
    yield from (f"{finding.severity:<10} {finding.sentence}" for finding in lint(contrast, loaded))
    if loaded is not None:
        shown = mark_averaged_tokens(loaded, contrast.positive[0])[-SPAN_TOKENS:]
        yield f"\nThe first positive example, its last {len(shown)} tokens; [activations here are averaged]"
        yield " ".join(f"[{_escape(text)}]" if averaged else _escape(text) for text, averaged in shown)


def _escape(text: str) -> str:
    return text.replace("\n", "\\n")


def _write(contrast: ContrastSet, path: str) -> None:
    """Write the contrast set as JSONL that every command reads without a correction."""
    sides = (("positive", contrast.positive), ("negative", contrast.negative))
    with open_output(path) as file:
        for label, example in ((label, example) for label, examples in sides for example in examples):
            earlier = [{"role": role, "content": text} for role, text in example.earlier]
            prompt = [*earlier, {"role": "user", "content": example.prompt}] if earlier else example.prompt
            row = {"system": example.system, "prompt": prompt, "response": example.response, "label": label}
            entries = {name: text for name, text in row.items() if text is not None}
            file.write(json.dumps(entries, ensure_ascii=False) + "\n")


def _shorten(cell: str) -> str:
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
COMMANDS = (
    Command(
        "data",
        "How a file of examples is understood, with its first rows, and what is odd about it.",
        add_data,
        show_data,
        needs_model=False,
    ),
)
