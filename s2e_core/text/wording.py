"""Text analysis by words alone: phrases, a stated number, the thought, endless repetition.

Knows text; no model, no kind of question and no score.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache

_PLAIN = str.maketrans("’‘ʼ＇−\u2011", "''''--")


def simplify_signs(text: str) -> str:
    """The text with plain apostrophes and minus signs for typographic ones; character positions do not change."""
    return text.translate(_PLAIN)


def find_phrases(text: str, phrases: Iterable[str]) -> list[str]:
    """The phrases that occur as whole words, in order of occurrence.

    Case, apostrophes and line breaks do not matter. Each phrase counts once, even inside another phrase.
    """
    words = _normalize(text)
    matches = []
    for phrase, key, pattern in _compile(tuple(phrases)):
        if key in words and (match := pattern.search(words)):  # most phrases do not occur: a cheap test first
            matches.append((match.start(), phrase))
    return [phrase for _, phrase in sorted(matches, key=lambda match: match[0])]


def _normalize(text: str) -> str:
    return " ".join(simplify_signs(text).lower().split())


@lru_cache(maxsize=4096)
def _compile(phrases: tuple[str, ...]) -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """(phrase, its normal form, pattern) of every phrase that has a word."""
    keys = [(phrase, _normalize(phrase)) for phrase in phrases]
    return tuple((phrase, key, re.compile(rf"(?<!\w){re.escape(key)}(?!\w)")) for phrase, key in keys if key)


_OPEN_TAG = re.compile(r"<(?:seed:)?(?:think|thinking|thought|reasoning)>|\[THINK\]|<\|begin_of_thought\|>")
_CLOSE_TAG = re.compile(r"</(?:seed:)?(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|end_of_thought\|>")


def thinking(text: str) -> tuple[str, str]:
    """(thought, answer) of a text with think tags; a text without think tags is all answer.

    Many chat templates open the tag in the prompt, so that a closing tag alone ends the thought. A thought without a
    closing tag was cut off, so that there is no answer.
    """
    opening, closing = _OPEN_TAG.search(text), list(_CLOSE_TAG.finditer(text))
    if not opening and not closing:
        return "", text
    if opening and closing and opening.start() > closing[-1].start():  # the answer only mentions the tag
        opening = None
    before = text[: opening.start()] if opening else ""
    begin = opening.end() if opening else 0
    if not closing:
        return text[begin:], before
    return text[begin : closing[-1].start()], before + text[closing[-1].end() :]


def is_think_tag(text: str) -> bool:
    """Whether a text is exactly one think tag."""
    return bool(_OPEN_TAG.fullmatch(text) or _CLOSE_TAG.fullmatch(text))


def opens_thought(text: str) -> bool:
    """Whether a text ends inside think tags, as many chat templates end a prompt, so that the response begins there."""
    opening, closing = list(_OPEN_TAG.finditer(text)), list(_CLOSE_TAG.finditer(text))
    return bool(opening) and (not closing or closing[-1].start() < opening[-1].start())


def without_open_tag(text: str) -> str:
    """The text without a think tag that opens at its beginning, with the line break that follows it."""
    match = re.match(rf"\s*(?:{_OPEN_TAG.pattern})\n?", text)
    return text[match.end() :] if match else text


_NUMBER = r"(?P<{0}>-?(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?)(?!\w)"
_FILLING = r"[\s*_$€£¥\\({\[]*"  # between a marker and its number: spaces, bold, currency, LaTeX brackets
_STATED = re.compile(
    rf"\banswer(?:\s+is|\s*[:=])(?:\s+(?:about|approximately|roughly|exactly))?[:=]?{_FILLING}(?:\\boxed)?{_FILLING}"
    + _NUMBER.format("words")
    + rf"|####{_FILLING}"
    + _NUMBER.format("hashes")
    + rf"|\\boxed{_FILLING}"
    + _NUMBER.format("boxed"),
    re.IGNORECASE,
)
_ANY_NUMBER = re.compile(r"(?<![\w.])" + _NUMBER.format("number"))


def stated_number(text: str, *, anywhere: bool = False) -> str:
    r"""The last number given as the answer, as written: "The answer is 42.", "Answer: 42", "#### 42" or "\boxed{42}".

    With `anywhere`, the last number of a text without such a marker. "" if there is none.
    """
    matches = list(_STATED.finditer(simplify_signs(text)))
    if matches:
        return next(number for number in matches[-1].groups() if number is not None)
    return last_number(text) if anywhere else ""


def last_number(text: str) -> str:
    """The last number in a text, as written; "" if there is none."""
    matches = list(_ANY_NUMBER.finditer(simplify_signs(text)))
    return matches[-1]["number"] if matches else ""


def same_number(text: str, number: object) -> bool:
    """Whether a text such as "1,234.50" is exactly the number (1234.5), however it is written."""
    one, other = (simplify_signs(str(it)).strip().replace(",", "") for it in (text, number))
    numeric = re.compile(r"-?\d+(?:\.\d+)?$")
    return bool(numeric.match(one) and numeric.match(other)) and Decimal(one) == Decimal(other)


def is_empty(text: str) -> bool:
    """Whether a text has no letter and no digit of any script."""
    return not any(character.isalnum() for character in text)


MIN_ROUNDS = 3
"""Smallest number of times that a unit of words must occur in a row to count as a loop."""
MAX_UNIT = 60
"""Largest length of such a unit, in words: a sentence."""
MIN_WORDS = 40
"""Smallest number of words for which the variety of a text is tested."""
MIN_VARIETY = 0.2
"""Smallest share of different runs of three words in a text that is not stuck."""
_NO_SPACES = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # scripts without spaces: every character is a word
_WORD = re.compile(rf"[{_NO_SPACES}]|[^\W{_NO_SPACES}]+")


def is_repeated(text: str) -> bool:
    """Whether a text is stuck in a loop: more than half of it repeats a few words or characters.

    Either a unit of words that occurs at least MIN_ROUNDS times in a row covers more than half of the words, or the
    text has at least MIN_WORDS words and less than MIN_VARIETY of its runs of three words are different.
    """
    words = _WORD.findall(text.lower())
    return _loops(words) or _lacks_variety(words) or any(_loops(word) for word in words if len(word) >= 24)


def _loops(words: Sequence[str]) -> bool:
    n = len(words)
    # If three or more rounds of a unit cover more than half of the words, at most two thirds of them are different.
    if n < MIN_ROUNDS or 3 * len(set(words)) > 2 * n:
        return False
    return any(_longest_loop(words, unit) * 2 > n for unit in range(1, min(MAX_UNIT, n // MIN_ROUNDS) + 1))


def _longest_loop(words: Sequence[str], unit: int) -> int:
    """Number of words in the longest loop of units of `unit` words; 0 if no loop has MIN_ROUNDS rounds."""
    longest = run = 0
    for i in range(unit, len(words)):
        run = run + 1 if words[i] == words[i - unit] else 0
        longest = max(longest, run)
    return longest + unit if longest >= (MIN_ROUNDS - 1) * unit else 0


def _lacks_variety(words: Sequence[str]) -> bool:
    if len(words) < MIN_WORDS:
        return False
    runs = Counter(zip(words, words[1:], words[2:], strict=False))
    return len(runs) < MIN_VARIETY * (len(words) - 2)
