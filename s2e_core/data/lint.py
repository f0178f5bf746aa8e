"""Checks of a contrast set before anything is extracted: counts, lengths, duplicates, cut-off responses.

Knows the examples, and with a model their tokens; runs nothing. A finding is never an error: the person decides, after
a look at the tokens that would be averaged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal, get_args

from s2e_core.model import LoadedModel, begins_in_thought, example_ids, has_chat_template, prompt_ids
from s2e_core.text import is_empty, is_repeated, thinking
from s2e_core.values import ContrastSet, Example, Turn

from .corrections import LEAVE_OUT, name_examples
from .marks import marks_sentence

Severity = Literal["problem", "warning", "note"]
"""Severity of a finding. Problem: the direction will not mean what it should; warning: it may not; note: the rest."""

FEW, SOME = 8, 30
"""Numbers of examples a side below which there are too few, and few."""
UNEVEN = 4.0
"""Ratio of the numbers of examples of the two sides above which they are uneven."""
LENGTH_RATIO = 1.5
"""Ratio of the sides' average response lengths above which the direction may be about length."""
CUT_OFF_WORDS = 10
"""Smallest number of words of a response that can look cut off: names and figures end without a full stop."""
CUT_OFF_SHARE = 0.05
SAME_WORDING = 0.5
"""Share of a side with the same response from which the direction is its wording."""
SAME_OPENING = 0.9
OPENING_WORDS = 3
WINDOW = 8  # tokens decoded before one: enough for a space or a character of several tokens


@dataclass(frozen=True, eq=False)
class Finding:
    """One thing about a contrast set that a person should know."""

    severity: Severity
    sentence: str


def lint(contrast: ContrastSet, loaded: LoadedModel | None = None) -> tuple[Finding, ...]:
    """All findings, the most serious first. With a model, lengths are counted in its tokens, else in words.

    Never raises for odd data, and runs no forward pass.
    """
    findings = [
        *_counts(contrast),
        *_lengths(contrast, loaded),
        *_duplicates(contrast),
        *_overlaps(contrast),
        *_responses(contrast),
        *_wording(contrast),
        *_marks(contrast, loaded),
        *(_fit(contrast, loaded) if loaded is not None else ()),
    ]
    return tuple(sorted(findings, key=lambda finding: get_args(Severity).index(finding.severity)))


def mark_averaged_tokens(loaded: LoadedModel, example: Example) -> tuple[tuple[str, bool], ...]:
    """(text of the token, whether the activation at it is averaged) for every token of prompt and response.

    The averaged positions are those that predict the response's tokens: from the last of the prompt to the last but one
    of the whole. The joined texts are the text that the model reads, including its special tokens.
    """
    ids, start = example_ids(loaded.tokenizer, example)
    return tuple((_token_text(loaded, ids, k), 0 <= start - 1 <= k < len(ids) - 1) for k in range(len(ids)))


def looks_cut_off(response: str) -> bool:
    """Whether a response ends in mid-sentence or in mid-thought, like one that ran out of tokens."""
    thought, answer = thinking(response)
    if thought.strip() and not answer.strip():
        return True
    return len(answer.split()) >= CUT_OFF_WORDS and (answer.rstrip()[-1].isalnum() or answer.rstrip()[-1] in ",;(-")


def _counts(contrast: ContrastSet) -> Iterator[Finding]:
    p, n = len(contrast.positive), len(contrast.negative)
    counted = f"{_examples(p, 'positive')} and {n} negative"
    if min(p, n) < FEW:
        yield Finding("problem", f"{counted}: a direction from fewer than {FEW} a side is mostly chance. Add examples.")
    elif min(p, n) < SOME:
        yield Finding("warning", f"{counted}: with fewer than {SOME} a side the scores vary a lot. Add examples.")
    else:
        yield Finding("note", f"{counted}.")
    if max(p, n) > UNEVEN * min(p, n):
        yield Finding(
            "note", "One side is much larger. That is allowed; the smaller side decides how much is left to chance."
        )


def _lengths(contrast: ContrastSet, loaded: LoadedModel | None) -> Iterator[Finding]:
    unit = "words" if loaded is None else "tokens"
    sides = [[_length(example, loaded) for example in side] for side in _sides(contrast).values()]
    if not all(sides):
        return
    p, n = (mean(side) for side in sides)
    lengths = f"Responses have on average {p:.1f} {unit} on the positive side and {n:.1f} on the negative"
    if max(p, n) > LENGTH_RATIO * min(p, n):
        yield Finding(
            "warning",
            f"{lengths}: the direction may be about length. Unless you mean that, choose responses of similar length.",
        )
    else:
        yield Finding("note", f"{lengths}.")


def _length(example: Example, loaded: LoadedModel | None) -> int:
    if loaded is None:
        return len(example.response.split())
    ids, start = example_ids(loaded.tokenizer, example)
    return len(ids) - start


def _duplicates(contrast: ContrastSet) -> Iterator[Finding]:
    for name, side in _sides(contrast).items():
        n = len(side) - len({_key(example) for example in side})
        if n:
            sentence = f"{_examples(n, name)} {'repeats' if n == 1 else 'repeat'} another one. Remove the repetitions."
            yield Finding("warning", sentence)


def _overlaps(contrast: ContrastSet) -> Iterator[Finding]:
    positive, negative = contrast.positive, contrast.negative
    both = {_key(e) for e in positive} & {_key(e) for e in negative}
    pairs = sum(_key(p) == _key(n) for p, n in zip(positive, negative, strict=False))
    if both:
        rows = f", {pairs} of them in the same row of both" if pairs else ""
        sentence = f"{_examples(len(both))} on both sides{rows}: the copies cancel out. Remove them."
        yield Finding("problem", sentence)
    texts = {_folded(e) for e in positive} & {_folded(e) for e in negative} - {""}
    texts -= {" ".join(response.lower().split()) for *_, response in both}
    if texts:
        which = "response is given" if len(texts) == 1 else "responses are given"
        yield Finding("warning", f"{len(texts)} {which} on both sides, to other prompts: only the prompts differ.")


def _responses(contrast: ContrastSet) -> Iterator[Finding]:
    for name, side in _sides(contrast).items():
        empty = sum(is_empty(e.response) for e in side)
        stuck = sum(is_repeated(e.response) for e in side)
        cut = sum(looks_cut_off(e.response) and not is_repeated(e.response) for e in side)
        if empty:
            yield Finding("problem", f"{_examples(empty, name)} without a word in the response. Remove them.")
        if stuck:
            yield Finding("warning", f"{_examples(stuck, name)} with a response that repeats itself.")
        if cut:
            severity: Severity = "warning" if cut > CUT_OFF_SHARE * len(side) else "note"
            yield Finding(
                severity, f"{_examples(cut, name)} with a response that looks cut off. Allow more tokens, or remove."
            )


def _wording(contrast: ContrastSet) -> Iterator[Finding]:
    for name, side in _sides(contrast).items():
        if len(side) < 4:
            continue
        same = Counter(_folded(e) for e in side).most_common(1)[0][1]
        opening, n_opening = Counter(" ".join(_folded(e).split()[:OPENING_WORDS]) for e in side).most_common(1)[0]
        if same >= SAME_WORDING * len(side):
            sentence = f"{same} of {_examples(len(side), name)} have the same response: the direction is its wording."
            yield Finding("warning", f"{sentence} Vary it.")
        elif n_opening >= SAME_OPENING * len(side):
            sentence = (
                f'{n_opening} of {_examples(len(side), name)} begin with "{opening}": much of the direction is that'
            )
            yield Finding("note", f"{sentence} opening.")


def _marks(contrast: ContrastSet, loaded: LoadedModel | None) -> Iterator[Finding]:
    """Marks of a chat template, which the model's own template would surround with its marks once more."""
    sentence = marks_sentence((*contrast.positive, *contrast.negative))
    if sentence and (loaded is None or has_chat_template(loaded.tokenizer)):
        yield Finding("problem", sentence)


def _fit(contrast: ContrastSet, loaded: LoadedModel) -> Iterator[Finding]:
    """Findings about the model's context length and tokenizer."""
    limit = loaded.context_length
    sides = {k: [example_ids(loaded.tokenizer, example) for example in side] for k, side in _sides(contrast).items()}
    yield from _same_but_last_token(*sides.values())
    yield from _in_thought(contrast, loaded)
    for name, encoded in sides.items():
        longest = max((len(ids) for ids, _ in encoded), default=0)
        if limit is not None and longest > limit:
            long = [e for e, (ids, _) in zip(_sides(contrast)[name], encoded, strict=True) if len(ids) > limit]
            sentence = f"{_examples(len(long), name)} longer than the {limit} tokens that the model reads: "
            yield Finding("problem", f"{sentence}{name_examples(long)} (the longest has {longest}). {LEAVE_OUT}")
        unread = sum(not len(ids) > start > 0 for ids, start in encoded)
        if unread:
            yield Finding("problem", f"{_examples(unread, name)} without a prompt or response token: left out.")


def _in_thought(contrast: ContrastSet, loaded: LoadedModel) -> Iterator[Finding]:
    """Responses that the model reads as a thought, because its chat template opens one and they do not end it."""
    if not has_chat_template(loaded.tokenizer):
        return
    n = 0
    for example in (*contrast.positive, *contrast.negative):
        prompt = prompt_ids(loaded.tokenizer, example.prompt, example.system)
        n += begins_in_thought(loaded.tokenizer, prompt) and not thinking(f"<think>{example.response}")[1].strip()
    if n:
        yield Finding(
            "warning",
            f"The chat template opens a thought, and {_examples(n)} do{'es' if n == 1 else ''} not end it: the model "
            "reads these responses as thoughts. Begin them with the end of the thought (</think>), or load the model "
            "with --template-args that leave the thought out.",
        )


def _same_but_last_token(
    positive: Sequence[tuple[list[int], int]], negative: Sequence[tuple[list[int], int]]
) -> Iterator[Finding]:
    """Pairs that cancel out like the same example; each side is (ids of prompt and response, number of prompt ids)."""
    whole = {(tuple(ids), start) for ids, start in positive} & {(tuple(ids), start) for ids, start in negative}
    read = {(tuple(ids[:-1]), start) for ids, start in positive} & {(tuple(ids[:-1]), start) for ids, start in negative}
    n = len(read - {(ids[:-1], start) for ids, start in whole})
    if n:
        sentence = f"{_examples(n)} differ{'s' if n == 1 else ''} from one of the other side only in the last token"
        yield Finding(
            "problem", f"{sentence}, which is predicted and never read: they cancel out. Give longer responses."
        )


def _token_text(loaded: LoadedModel, ids: Sequence[int], k: int) -> str:
    """Text that the token at `k` adds; a character of several tokens belongs to the last of them."""
    before, after = (
        str(loaded.tokenizer.decode(ids[max(0, k - WINDOW) : end])).rstrip("\N{REPLACEMENT CHARACTER}")
        for end in (k, k + 1)
    )
    return after[len(before) :] if after.startswith(before) else str(loaded.tokenizer.decode([ids[k]]))


def _sides(contrast: ContrastSet) -> dict[str, tuple[Example, ...]]:
    return {"positive": contrast.positive, "negative": contrast.negative}


def _key(example: Example) -> tuple[str, tuple[Turn, ...], str, str]:
    return (example.system or "", example.earlier, example.prompt, example.response)


def _folded(example: Example) -> str:
    return " ".join(example.response.lower().split())


def _examples(n: int, side: str = "") -> str:
    return f"{n} {side} example{'' if n == 1 else 's'}".replace("  ", " ")
