"""Which side the model's own responses are on: by prompt, by agreement with references, by length, or by hand.

Knows texts, counts and scores; no model. What no rule puts on a side is left out and said in the notes.
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

    Responses without a word and responses stuck in a loop are left out; one that was cut off stays, and is counted.
    """
    notes = _usual_notes((*positive, *negative))
    return _made([r for r in positive if _sound(r)], [r for r in negative if _sound(r)], name, notes)


def sides_by_agreement(
    responses: Responses, rows: Sequence[Mapping[str, Any]], *, name: str = "own responses"
) -> ContrastSet:
    """Right responses against wrong ones (truthfulness): a score of 1 is positive, of 0 negative.

    `rows` says what is right for each response, see `reference_row` and `scoring.judge`. A response that scores in
    between, says nothing of either side, has no word or is stuck in a loop is left out.
    """
    _check_aligned(responses, rows, "references")
    verdicts = [judge(row, r.marked, r.n_tokens) for r, row in zip(responses, rows, strict=True)]
    between = sum(0 < verdict.score < 1 for verdict in verdicts)
    neither = sum(verdict.flaw == "off-topic" for verdict in verdicts)
    notes = [
        *_usual_notes(responses),
        *_said(between, "say both something true and something false, and were left out."),
        *_said(neither, "say nothing that the references know, and were left out."),
    ]
    usable = [(r, v.score) for r, v in zip(responses, verdicts, strict=True) if v.flaw is None and _sound(r)]
    return _made([r for r, score in usable if score == 1], [r for r, score in usable if score == 0], name, notes)


def sides_by_length(
    responses: Responses,
    rows: Sequence[Mapping[str, Any]] | None = None,
    *,
    share: float = 0.05,
    name: str = "own responses",
) -> ContrastSet:
    """The shortest share of the right responses against the longest (efficient reasoning; the paper takes 5 %).

    With `rows` only right responses count; without, all. Where most responses think, the length is that of the thought
    and the others are left out; cut-off responses are always left out, as their length is not known. At least one
    response a side. Raises SettingsError for a share outside 0 to 0.5.
    """
    if not 0 < share <= 0.5:
        raise SettingsError(f"The share is {share}; it must be above 0 and at most 0.5.")
    if rows is not None:
        _check_aligned(responses, rows, "references")
    sound = [(i, r) for i, r in enumerate(responses) if _sound(r) and r.finished]
    right = [r for i, r in sound if rows is None or judge(rows[i], r.marked, r.n_tokens).score == 1]
    thinks = 2 * sum(r.n_thought > 0 for r in right) > len(right)
    pool = [r for r in right if r.n_thought > 0] if thinks else right
    ordered = sorted(pool, key=lambda r: r.n_thought if thinks else r.n_tokens)
    n = max(1, round(share * len(ordered)))
    lengths = [r.n_thought if thinks else r.n_tokens for r in ordered]
    notes = [
        *_unsound_notes(responses),
        *_said(sum(not r.finished for r in responses), "were cut off and left out, as their length is not known."),
        *_said(len(sound) - len(right), "are not right and were left out."),
        *_said(len(right) - len(pool), "do not think, as most others do, and were left out."),
    ]
    if len(ordered) < 2:
        left = f"{counted(len(ordered), 'response')} {'is' if len(ordered) == 1 else 'are'} left to choose from."
        raise ContrastDataError(" ".join([left, *notes, "Add prompts."]))
    notes.append(_lengths_note(lengths, n, " of thought" if thinks else ""))
    if lengths[n - 1] == lengths[-n]:
        notes.append("Both sides are of the same length: they differ by chance alone.")
    return _made(ordered[:n], ordered[-n:], name, notes)


def sides_by_hand(responses: Responses, positive: Sequence[bool | None], *, name: str = "own responses") -> ContrastSet:
    """The responses marked True against those marked False; None leaves one out."""
    _check_aligned(responses, positive, "marks")
    marked = list(zip(responses, positive, strict=True))
    notes = [*_usual_notes(responses), *_said(sum(mark is None for mark in positive), "were left out by hand.")]
    chosen, others = ([r for r, mark in marked if mark is side and _sound(r)] for side in (True, False))
    return _made(chosen, others, name, notes)


def reference_row(reference: object = None, *, true: Sequence[str] = (), false: Sequence[str] = ()) -> dict[str, Any]:
    """What `sides_by_agreement` and `sides_by_length` need to know of one prompt.

    A number must be the one the response states, a text must occur in it; with lists of `true` and `false` texts those
    that occur decide. Raises SettingsError where nothing is given.
    """
    if true or false:
        return {"kind": "truth", "true": list(true), "myth": list(false)}
    text = "" if reference is None else str(reference).strip()
    if not text:
        raise SettingsError("A reference is empty. Give the right answer, or lists of true and false ones.")
    number = text.rsplit("####", 1)[-1].strip()  # GSM8K's answers end with the number after this mark
    if same_number(number, number):
        return {"kind": "arithmetic", "answer": number, "anywhere": True}
    return {"kind": "source", "phrases": [text]}


def _made(positive: Responses, negative: Responses, name: str, notes: Sequence[str]) -> ContrastSet:
    verb = "is" if len(positive) == 1 else "are"
    counts = f"{counted(len(positive), 'response')} {verb} on the positive side and {len(negative)} on the negative."
    if not positive or not negative:
        raise ContrastDataError(f"{counts} {' '.join(notes)} Both sides need one at least: add prompts, or samples.")
    return contrast_set([r.example for r in positive], [r.example for r in negative], name=name, notes=(counts, *notes))


def _lengths_note(lengths: Sequence[int], n: int, what: str) -> str:
    """How long the `n` shortest and longest are, of all lengths from the shortest to the longest."""
    low, high = (
        str(a) if a == b else f"{a} to {b}" for a, b in ((lengths[0], lengths[n - 1]), (lengths[-n], lengths[-1]))
    )
    if n == 1:
        return f"Of {len(lengths)} responses the shortest has {counted(lengths[0], 'token')}{what}, the longest {high}."
    tokens = "token" if low == "1" else "tokens"
    return f"Of {len(lengths)} responses the {n} shortest have {low} {tokens}{what}, the {n} longest {high}."


def _sound(response: OwnResponse) -> bool:
    return not is_empty(response.example.response) and not is_repeated(response.example.response)


def _unsound_notes(responses: Responses) -> list[str]:
    texts = [r.example.response for r in responses]
    return [
        *_said(sum(map(is_empty, texts)), "have no word and were left out."),
        *_said(sum(map(is_repeated, texts)), "say the same over and over and were left out."),
    ]


def _usual_notes(responses: Responses) -> list[str]:
    cut = sum(not r.finished for r in responses)
    return [*_unsound_notes(responses), *_said(cut, "were cut off at the greatest length and may still count.")]


def _said(count: int, what: str) -> list[str]:
    """A note where there is anything to note; the verb is in the plural, as the count is one of responses."""
    return [f"Responses that {what[:-1]}: {count}."] if count else []


def _check_aligned(responses: Responses, others: Sequence[object], what: str) -> None:
    if len(responses) != len(others):
        raise SettingsError(f"There are {len(responses)} responses and {len(others)} {what}. Give one for each.")
