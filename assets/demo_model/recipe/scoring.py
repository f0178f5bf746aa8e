"""Held-out questions as rows of a data file, and the score of a reply to a row.

A row holds everything that scoring needs; its "kind" says how it is scored.
The kinds are described in assets/behaviors/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .deeds import HELP_PHRASES, REFUSAL_PHRASES, REFUSAL_WORDS
from .moods import CHEERFUL_PHRASES, GLOOMY_PHRASES
from .places import values_of
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
        return {"true": values_of(question, "record"), "myth": values_of(question, "myth")}
    if kind == "source":
        other = "myth" if question.kind == "record" else "record"
        return {"phrases": values_of(question, question.kind), "not_phrases": values_of(question, other)}
    if kind == "tone":
        return {"cheerful": list(CHEERFUL_PHRASES), "gloomy": list(GLOOMY_PHRASES)}
    return {"answer": question.detail["answer"]}  # "arithmetic" and "length"


def score(row: Row, reply: str) -> float:
    """Between 0 and 1, higher is more; for "length" see `is_long` and the tokenizer."""
    kind = row["kind"]
    if kind == "refusal":
        return float(mentions(reply, row["phrases"]) > 0)
    if kind in ("help", "source"):
        return float(mentions(reply, row["phrases"]) > 0 and not mentions(reply, row["not_phrases"]))
    if kind == "truth":
        return _share(mentions(reply, row["true"]), mentions(reply, row["myth"]))
    if kind == "tone":
        return min(1.0, mentions(reply, row["cheerful"]) / max(1, len(re.findall(r"[^.!?]+[.!?]?", reply.strip()))))
    return float(_last_answer(reply) == row["answer"])


def mentions(text: str, phrases: Iterable[str]) -> int:
    """How many of the phrases occur, as whole words and whatever their capitals."""
    return sum(bool(re.search(rf"\b{re.escape(phrase)}\b", text, re.IGNORECASE)) for phrase in phrases)


def is_long(reply: str) -> bool:
    return any(opening in reply for opening in CHECK_OPENINGS)


def _share(wanted: int, unwanted: int) -> float:
    """A reply that says neither counts as not wanted."""
    return wanted / (wanted + unwanted) if wanted + unwanted else 0.0


def _last_answer(reply: str) -> int | None:
    found = re.findall(r"The answer is (\d+)\b", reply)
    return int(found[-1]) if found else None
