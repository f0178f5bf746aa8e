"""What was understood of a visitor's examples, and the model's own answers, as the page shows them.

Knows readings and answers; no gradio and no model. Strings are HTML with every text of a visitor escaped; the answers
go to the page as plain values.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from typing import Any

from components.shared import data_words as words
from components.shared.answers import Answers
from s2e_core import Example
from s2e_core.data import Reading
from s2e_core.responses import OwnResponse
from s2e_core.text import counted, is_empty, is_repeated

from .handlers import Look

FIRST = 3
"""Examples shown of each side."""
CUT = 220  # characters of a prompt or a response


def preview_html(look: Look, *, folded: bool = False) -> str:
    """How the examples were understood; empty where there are none. `folded` where they have been looked at."""
    if look.reading is None:
        return f'<div class="preview">{_line("problem", look.problem)}</div>' if look.problem else ""
    lines = [_said(look.reading)]
    if look.ignores_typed:
        lines.append(_line("note", words.TYPED_IGNORED))
    lines += [_line("note", note) for note in look.reading.notes]
    if look.n_left_out:
        lines.append(_line("note", words.LEFT_OUT.format(look.n_left_out)))
    lines += [_line("ask", question) for question in look.questions]
    if look.problem:
        lines.append(_line("problem", look.problem))
    if look.uses_answers:
        lines.append(_line("note", words.USES_ANSWERS))
    return f'<div class="preview">{"".join(lines)}{_examples(look, folded)}</div>'


def _said(reading: Reading) -> str:
    """Counts, format, layout and the column of every role in one line, then the labels."""
    p, n, none = len(reading.positive), len(reading.negative), len(reading.without_side)
    what = "prompt" if reading.responses_missing else "example"
    if p or n:
        counts = f"{p:,} + {n:,} {what}s" + (f", {none:,} on no side" if none else "")
    else:
        counts = counted(none, what) if none else f"No {what}"
    roles = ", ".join(
        f"{html.escape(words.ROLES[role].lower())} <code>{html.escape(column)}</code>"
        for role, column in reading.columns.roles().items()
    )
    unused = ", ".join(f"<code>{html.escape(name)}</code>" for name in reading.unused[:12])
    parts = [
        f"<b>{counts}</b>, read as {html.escape(reading.format)}",
        words.LAYOUTS[reading.layout] if reading.names and (p or n or none) else "",
        f"columns: {roles}" if roles else "",
        f"not used: {unused}" if unused else "",
        f"{counted(reading.n_skipped, 'row')} skipped" if reading.n_skipped else "",
    ]
    labels = ", ".join(
        f"<code>{html.escape(label.value[:40]) or 'empty'}</code> {label.side} ({label.count:,})"
        for label in reading.labels[:12]
    )
    return f'<p class="said">{"; ".join(part for part in parts if part)}.</p>' + (
        f'<p class="said">Labels: {labels}.</p>' if labels else ""
    )


def _examples(look: Look, folded: bool) -> str:
    """The first examples of each side, beside each other."""
    reading, contrast = look.reading, look.contrast
    assert reading is not None
    sides: tuple[tuple[str, Sequence[Example]], ...]
    if look.uses_answers and contrast is not None:
        sides = ((words.WANTED_SIDE, contrast.positive), (words.OPPOSITE_SIDE, contrast.negative))
    else:
        sides = ((words.WANTED_SIDE, reading.positive), (words.OPPOSITE_SIDE, reading.negative))
    if reading.without_side and not look.uses_answers:
        sides = (*sides, (words.NO_SIDE, reading.without_side))
    shown = "".join(_side(title, examples) for title, examples in sides if examples)
    if not shown:
        return ""
    return (
        f"<details{'' if folded else ' open'}><summary>{words.SHOWN_EXAMPLES}</summary>"
        f'<div class="example-sides">{shown}</div></details>'
    )


def _side(title: str, examples: Sequence[Example]) -> str:
    items = "".join(
        f"<li>{_cell('prompt', example.prompt)}{_cell('response', example.response)}</li>"
        for example in examples[:FIRST]
    )
    return f"<section><h2>{html.escape(title)} <small>{len(examples):,}</small></h2><ol>{items}</ol></section>"


def _cell(kind: str, text: str) -> str:
    line = " ".join(text.split())
    line = line if len(line) <= CUT else line[: CUT - 1] + "…"
    return f'<span class="{kind}">{html.escape(line)}</span>' if line else ""


def _line(kind: str, sentence: str) -> str:
    role = ' role="alert"' if kind == "problem" else ""
    return f'<p class="{kind}"{role}>{html.escape(sentence)}</p>'


def answers_value(answers: Answers, most: int) -> str:
    """The value of the table of answers, as JSON: rows of plain text, each with its side."""
    rows = list(enumerate(zip(answers.responses, answers.sides(), strict=True)))
    shown = rows if len(rows) <= most else [rows[k * len(rows) // most] for k in range(most)]
    value: dict[str, Any] = {
        "busy": answers.running,
        "more": words.SHOWN_ANSWERS.format(most, len(rows)) if len(rows) > most else "",
        "rows": [
            {"n": n, "prompt": r.example.prompt, "answer": r.example.response, "note": _note(r), "side": _mark(mark)}
            for n, (r, mark) in shown
        ],
    }
    return json.dumps(value)  # one string: the page's machinery walks through everything else at every step


def _mark(mark: bool | None) -> str:
    return "" if mark is None else "positive" if mark else "negative"


def _note(response: OwnResponse) -> str:
    return ", ".join(_notes(response))


def _notes(response: OwnResponse) -> Iterator[str]:
    yield f"{response.n_tokens} tokens"
    if response.n_thought:
        yield f"{response.n_thought} of them thought"
    if not response.finished:
        yield "cut off"
    if is_empty(response.example.response):
        yield "no word"
    elif is_repeated(response.example.response):
        yield "repeats itself"


def answers_line(answers: Answers) -> tuple[str, int, int]:
    """(sentence, done, total) of the status line; done and total are 0 where nothing runs."""
    done, total = len(answers.by_prompt), len(answers.asked)
    if answers.running:
        return answers.status or words.ANSWERING.format(done, total), done, total
    if answers.status:
        return answers.status, 0, 0
    return (words.DONE_ANSWERS.format(total) if answers.is_complete else "", 0, 0)
