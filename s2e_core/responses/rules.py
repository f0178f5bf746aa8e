"""Sides of the model's own responses: by prompt, by agreement with references, by length, or by hand.

Knows texts, counts and scores; no model. The notes of a contrast set count the responses that were left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from s2e_core.data import contrast_set
from s2e_core.errors import ContrastDataError, SettingsError
from s2e_core.text import counted, is_empty, is_repeated, judge, same_number
from s2e_core.values import ContrastSet

from .file import OwnResponse

Responses = Sequence[OwnResponse]


def sides_by_prompt(positive: Responses, negative: Responses, *, name: str = "own responses") -> ContrastSet:
    """The responses to one set of prompts against those to another (safety: malicious against benign instructions).

    Empty responses and responses stuck in a loop are left out; responses that were cut off stay, and are counted.
    Raises ContrastDataError if a side is empty.
    """
    notes = _common_notes((*positive, *negative))
    return _build([r for r in positive if _is_usable(r)], [r for r in negative if _is_usable(r)], name, notes)


def sides_by_agreement(
    responses: Responses, rows: Sequence[Mapping[str, Any]], *, name: str = "own responses"
) -> ContrastSet:
    """Right responses against wrong ones (truthfulness): a score of 1 is positive, 0 is negative.

    `rows` are the references, one per response; see `reference_row` and `scoring.judge`. Responses are left out if
    their score is in between, if they match no reference, if they are empty or if they are stuck in a loop. Raises
    ContrastDataError if a side is empty, SettingsError if the numbers of responses and references differ.
    """
    _check_aligned(responses, rows, "references")
    verdicts = [judge(row, r.marked, r.n_tokens) for r, row in zip(responses, rows, strict=True)]
    n_mixed = sum(0 < verdict.score < 1 for verdict in verdicts)
    n_off_topic = sum(verdict.flaw == "off-topic" for verdict in verdicts)
    notes = [
        *_common_notes(responses),
        *_count_notes(n_mixed, "say both something true and something false, and were left out"),
        *_count_notes(n_off_topic, "match no reference, and were left out"),
    ]
    usable = [(r, v.score) for r, v in zip(responses, verdicts, strict=True) if v.flaw is None and _is_usable(r)]
    return _build([r for r, score in usable if score == 1], [r for r, score in usable if score == 0], name, notes)


def sides_by_length(
    responses: Responses,
    rows: Sequence[Mapping[str, Any]] | None = None,
    *,
    share: float = 0.05,
    name: str = "own responses",
) -> ContrastSet:
    """The shortest share of the right responses against the longest (efficient reasoning; the paper uses 5 %).

    With `rows`, only right responses count; without, all. If most responses contain a thought, its tokens are the
    length, and responses without one are left out. Responses that were cut off are always left out, because their
    length is unknown. Each side has at least one response. Raises SettingsError if the share is not above 0 and at most
    0.5, ContrastDataError if fewer than two responses are left.
    """
    if not 0 < share <= 0.5:
        raise SettingsError(f"The share is {share}; it must be above 0 and at most 0.5.")
    if rows is not None:
        _check_aligned(responses, rows, "references")
    usable = [(i, r) for i, r in enumerate(responses) if _is_usable(r) and r.finished]
    right = [r for i, r in usable if rows is None or judge(rows[i], r.marked, r.n_tokens).score == 1]
    most_think = 2 * sum(r.n_thought > 0 for r in right) > len(right)
    pool = [r for r in right if r.n_thought > 0] if most_think else right
    pool = sorted(pool, key=lambda r: r.n_thought if most_think else r.n_tokens)
    n = max(1, round(share * len(pool)))
    lengths = [r.n_thought if most_think else r.n_tokens for r in pool]
    n_cut_off = sum(not r.finished for r in responses)
    notes = [
        *_unusable_notes(responses),
        *_count_notes(n_cut_off, "were cut off, and were left out because their length is unknown"),
        *_count_notes(len(usable) - len(right), "are not right, and were left out"),
        *_count_notes(len(right) - len(pool), "contain no thought, as most others do, and were left out"),
    ]
    if len(pool) < 2:
        remainder = f"{counted(len(pool), 'response')} {'is' if len(pool) == 1 else 'are'} left to choose from."
        raise ContrastDataError(" ".join([remainder, *notes, "Add prompts."]))
    notes.append(_lengths_note(lengths, n, " of thought" if most_think else ""))
    if lengths[n - 1] == lengths[-n]:
        notes.append("Both sides have the same length, so they differ only by chance.")
    return _build(pool[:n], pool[-n:], name, notes)


def sides_by_hand(responses: Responses, positive: Sequence[bool | None], *, name: str = "own responses") -> ContrastSet:
    """The responses with the mark True against those with the mark False; None leaves a response out.

    Raises ContrastDataError if a side is empty, SettingsError if the numbers of responses and marks differ.
    """
    _check_aligned(responses, positive, "marks")
    pairs = list(zip(responses, positive, strict=True))
    n_left_out = sum(mark is None for mark in positive)
    notes = [*_common_notes(responses), *_count_notes(n_left_out, "were left out by hand")]
    positives, negatives = ([r for r, mark in pairs if mark is side and _is_usable(r)] for side in (True, False))
    return _build(positives, negatives, name, notes)


def reference_row(reference: object = None, *, true: Sequence[str] = (), false: Sequence[str] = ()) -> dict[str, Any]:
    """The reference of one prompt for `sides_by_agreement` and `sides_by_length`.

    If `reference` is a number, a right response states it; if it is a text, a right response contains it. With lists of
    `true` and `false` texts, those that occur decide. Raises SettingsError if all are empty.
    """
    if true or false:
        return {"kind": "truth", "true": list(true), "myth": list(false)}
    text = "" if reference is None else str(reference).strip()
    if not text:
        raise SettingsError("A reference is empty. Provide the right answer, or lists of true and false answers.")
    number = text.rsplit("####", 1)[-1].strip()  # GSM8K's answers end with the number after this mark
    if same_number(number, number):
        return {"kind": "arithmetic", "answer": number, "anywhere": True}
    return {"kind": "source", "phrases": [text]}


def _build(positive: Responses, negative: Responses, name: str, notes: Sequence[str]) -> ContrastSet:
    verb = "is" if len(positive) == 1 else "are"
    counts = f"{counted(len(positive), 'response')} {verb} on the positive side and {len(negative)} on the negative."
    if not positive or not negative:
        raise ContrastDataError(f"{counts} {' '.join(notes)} Both sides need at least one: add prompts or samples.")
    return contrast_set([r.example for r in positive], [r.example for r in negative], name=name, notes=(counts, *notes))


def _lengths_note(lengths: Sequence[int], n: int, suffix: str) -> str:
    """A note on the lengths of the `n` shortest and the `n` longest responses; `lengths` are in ascending order."""
    low, high = (
        str(a) if a == b else f"{a} to {b}" for a, b in ((lengths[0], lengths[n - 1]), (lengths[-n], lengths[-1]))
    )
    if n == 1:
        return (
            f"Of {len(lengths)} responses the shortest has {counted(lengths[0], 'token')}{suffix}, the longest {high}."
        )
    tokens = "token" if low == "1" else "tokens"
    return f"Of {len(lengths)} responses the {n} shortest have {low} {tokens}{suffix}, the {n} longest {high}."


def _is_usable(response: OwnResponse) -> bool:
    return not is_empty(response.example.response) and not is_repeated(response.example.response)


def _unusable_notes(responses: Responses) -> list[str]:
    texts = [r.example.response for r in responses]
    return [
        *_count_notes(sum(map(is_empty, texts)), "have no word, and were left out"),
        *_count_notes(sum(map(is_repeated, texts)), "repeat themselves over and over, and were left out"),
    ]


def _common_notes(responses: Responses) -> list[str]:
    n_cut_off = sum(not r.finished for r in responses)
    return [
        *_unusable_notes(responses),
        *_count_notes(n_cut_off, "were cut off at the maximum length, and may still count"),
    ]


def _count_notes(count: int, clause: str) -> list[str]:
    """A note on the number of responses to which a clause applies; empty if there are none."""
    return [f"Responses that {clause}: {count}."] if count else []


def _check_aligned(responses: Responses, others: Sequence[object], what: str) -> None:
    if len(responses) != len(others):
        raise SettingsError(f"There are {len(responses)} responses and {len(others)} {what}. Provide one for each.")
