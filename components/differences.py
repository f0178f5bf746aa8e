"""Which words of a text differ from another text. Knows strings only; the page decides how a mark looks."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

Segment = tuple[str, bool]
"""A stretch of text and whether it differs from the reference."""

WORD = re.compile(r"\s+|[^\W_]+(?:['’][^\W_]+)*|.", re.DOTALL)
MAX_WORDS = 2000


def differences(reference: str, text: str) -> list[Segment]:
    """`text` in segments, marked where its words are not those of `reference`; the segments joined are `text`.

    White space is never marked by itself; it joins the marks on both sides of it.
    """
    before, after = _words(reference), WORD.findall(text)
    if len(before) + len(after) > 2 * MAX_WORDS:
        return [(text, text != reference)]
    places = [i for i, word in enumerate(after) if not word.isspace()]
    matcher = SequenceMatcher(None, before, [after[i] for i in places], autojunk=False)
    changed = [True] * len(after)
    for block in matcher.get_matching_blocks():
        for i in places[block.b : block.b + block.size]:
            changed[i] = False
    for i, word in enumerate(after):
        if word.isspace():
            changed[i] = 0 < i < len(after) - 1 and changed[i - 1] and changed[i + 1]
    return _joined(after, changed)


def changed_share(segments: list[Segment]) -> float:
    """Share of the words that are marked."""
    counts = [(len(_words(text)), marked) for text, marked in segments]
    total = sum(count for count, _ in counts)
    return sum(count for count, marked in counts if marked) / total if total else 0.0


def _words(text: str) -> list[str]:
    return [word for word in WORD.findall(text) if not word.isspace()]


def _joined(words: list[str], marks: list[bool]) -> list[Segment]:
    segments: list[Segment] = []
    for word, mark in zip(words, marks, strict=True):
        if segments and segments[-1][1] == mark:
            segments[-1] = (segments[-1][0] + word, mark)
        else:
            segments.append((word, mark))
    return segments
