"""Which words of a text differ from another text. Knows strings only; the page decides how a mark looks."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Literal

Mark = Literal["", "new", "gone"]
Segment = tuple[str, Mark]
"""A stretch of the text, marked "new" where the reference has other words; or words "gone" that only it has."""

WORD = re.compile(r"\s+|[^\W_]+(?:['’][^\W_]+)*|.", re.DOTALL)
MAX_WORDS = 2000


def differences(reference: str, text: str) -> list[Segment]:
    """`text` in segments; those that are not "gone", joined, are `text`.

    Words that were replaced are marked "new" in their new form alone; only words left out without a replacement are
    "gone". White space is marked where the words on both sides of it are.
    """
    before, after = _words(reference), WORD.findall(text)
    places = [i for i, word in enumerate(after) if not word.isspace()]
    if len(before) + len(places) > 2 * MAX_WORDS:
        return [(text, "new" if text != reference else "")]
    marks: list[Mark] = [""] * len(after)
    gone: dict[int, str] = {}
    matcher = SequenceMatcher(None, before, [after[i] for i in places], autojunk=False)
    for change, start, end, first, last in matcher.get_opcodes():
        if change in ("insert", "replace"):
            for i in range(places[first], places[last - 1] + 1):
                marks[i] = "new"
        elif change == "delete":
            gone[places[first] if first < len(places) else len(after)] = " ".join(before[start:end])
    return _joined(after, marks, gone)


def changed_share(reference: str, text: str) -> float:
    """Share of the words, of the longer text, that are not in both."""
    before, after = _words(reference), _words(text)
    longest = max(len(before), len(after))
    if not longest:
        return 0.0
    matcher = SequenceMatcher(None, before[:MAX_WORDS], after[:MAX_WORDS], autojunk=False)
    return 1 - sum(block.size for block in matcher.get_matching_blocks()) / min(longest, MAX_WORDS)


def _words(text: str) -> list[str]:
    return [word for word in WORD.findall(text) if not word.isspace()]


def _joined(words: list[str], marks: list[Mark], gone: dict[int, str]) -> list[Segment]:
    """Neighbours with the same mark in one segment, and the words that are gone where they stood."""
    segments: list[Segment] = []
    for i, (word, mark) in enumerate(zip(words, marks, strict=True)):
        if i in gone:
            segments.append((gone[i], "gone"))
        if segments and segments[-1][1] == mark:
            segments[-1] = (segments[-1][0] + word, mark)
        else:
            segments.append((word, mark))
    return [*segments, (gone[len(words)], "gone")] if len(words) in gone else segments
