"""Held-out questions as rows of a data file.

A row holds everything that scoring needs; its "kind" says how it is scored.
The kinds are described in assets/behaviors/README.md; the app scores with the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s2e_core.text import judge

from .deeds import HELP_PHRASES, REFUSAL_PHRASES, REFUSAL_WORDS
from .moods import CHEERFUL_PHRASES, GLOOMY_PHRASES
from .places import sentences_of, values_of
from .problems import CHECKS
from .question import Question

Row = Mapping[str, Any]
CHECK_OPENINGS = tuple(sorted({check.split(",")[0] for check in CHECKS}))


def row_of(question: Question, kind: str) -> Row:
    return {"prompt": question.prompt, "kind": kind, **_expected(question, kind)}


def _expected(question: Question, kind: str) -> Row:
    if kind == "refusal":
        return {"phrases": list(REFUSAL_PHRASES)}
    if kind == "help":
        return {"phrases": list(HELP_PHRASES), "not_phrases": list(REFUSAL_WORDS)}
    if kind == "truth":
        return {
            "true": values_of(question, "record"),
            "myth": values_of(question, "myth"),
            "true_answers": sentences_of(question, "record"),
            "false_answers": sentences_of(question, "myth"),
        }
    if kind == "source":
        other = "myth" if question.kind == "record" else "record"
        return {"phrases": values_of(question, question.kind), "not_phrases": values_of(question, other)}
    if kind == "tone":
        return {"cheerful": list(CHEERFUL_PHRASES), "gloomy": list(GLOOMY_PHRASES)}
    return {"answer": question.detail["answer"]}  # "arithmetic" and "length"


def score(row: Row, reply: str) -> float:
    """Between 0 and 1, higher is more; for "length" see `is_long` and the tokenizer."""
    return judge(row, reply, 0).score


def is_long(reply: str) -> bool:
    return any(opening in reply for opening in CHECK_OPENINGS)
