"""What a text says, by its words alone: phrases, a stated number, thinking, endless repetition.

Knows text; no model, no kind of question and no score.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache

_PLAIN = str.maketrans("’‘ʼ＇−\u2011", "''''--")


def plain(text: str) -> str:
    """Typographic apostrophes and minus signs as plain ones, character by character: places in the text stay."""
    return text.translate(_PLAIN)


def mentioned(text: str, phrases: Iterable[str]) -> list[str]:
    """The phrases that occur as whole words, whatever their capitals, apostrophes and line breaks; the earliest first.

    Each phrase counts once, also where it is part of another.
    """
    words = _folded(text)
    places = []
    for phrase, key, pattern in _compiled(tuple(phrases)):
        if key in words and (match := pattern.search(words)):  # most phrases do not occur: a cheap look first
            places.append((match.start(), phrase))
    return [phrase for _, phrase in sorted(places, key=lambda place: place[0])]


def _folded(text: str) -> str:
    return " ".join(plain(text).lower().split())


@lru_cache(maxsize=4096)
def _compiled(phrases: tuple[str, ...]) -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    folded = [(phrase, _folded(phrase)) for phrase in phrases]
    return tuple((phrase, key, re.compile(rf"(?<!\w){re.escape(key)}(?!\w)")) for phrase, key in folded if key)


_OPENED = re.compile(r"<(?:seed:)?(?:think|thinking|thought|reasoning)>|\[THINK\]|<\|begin_of_thought\|>")
_CLOSED = re.compile(r"</(?:seed:)?(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|end_of_thought\|>")


def thinking(text: str) -> tuple[str, str]:
    """(thought, answer) of a text with think tags; a text without any is all answer.

    Many chat templates open the tag in the prompt, so that a closing tag alone ends the thought. A thought that is
    never closed was cut off: there is no answer then.
    """
    opened, closed = _OPENED.search(text), list(_CLOSED.finditer(text))
    if not opened and not closed:
        return "", text
    if opened and closed and opened.start() > closed[-1].start():  # mentioned, after the thought was over
        opened = None
    before = text[: opened.start()] if opened else ""
    begin = opened.end() if opened else 0
    if not closed:
        return text[begin:], before
    return text[begin : closed[-1].start()], before + text[closed[-1].end() :]


def is_think_tag(text: str) -> bool:
    return bool(_OPENED.fullmatch(text) or _CLOSED.fullmatch(text))


def opens_thought(text: str) -> bool:
    """Whether a text ends inside think tags, as many chat templates end a prompt: what follows begins with thinking."""
    opened, closed = list(_OPENED.finditer(text)), list(_CLOSED.finditer(text))
    return bool(opened) and (not closed or closed[-1].start() < opened[-1].start())


_NUMBER = r"(?P<{0}>-?(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?)(?!\w)"
_FILLING = r"[\s*_$€£¥\\({\[]*"  # what stands between a marker and its number: spaces, bold, currency, LaTeX brackets
_STATED = re.compile(
    rf"\banswer(?:\s+is|\s*[:=])(?:\s+(?:about|approximately|roughly|exactly))?[:=]?{_FILLING}(?:\\boxed)?{_FILLING}"
    + _NUMBER.format("said")
    + rf"|####{_FILLING}"
    + _NUMBER.format("hashes")
    + rf"|\\boxed{_FILLING}"
    + _NUMBER.format("boxed"),
    re.IGNORECASE,
)
_ANY_NUMBER = re.compile(r"(?<![\w.])" + _NUMBER.format("number"))


def stated_number(text: str, *, anywhere: bool = False) -> str:
    r"""The last number given as the answer, as written: "The answer is 42.", "Answer: 42", "#### 42" or "\boxed{42}".

    With `anywhere` a text without such a mark gives its last number. "" where there is none.
    """
    found = list(_STATED.finditer(plain(text)))
    if found:
        return next(number for number in found[-1].groups() if number is not None)
    return last_number(text) if anywhere else ""


def last_number(text: str) -> str:
    found = list(_ANY_NUMBER.finditer(plain(text)))
    return found[-1]["number"] if found else ""


def same_number(written: str, number: object) -> bool:
    """Whether "1,234.50" is the number 1234.5; exact, whatever the way of writing."""
    one, other = (plain(str(it)).strip().replace(",", "") for it in (written, number))
    numeric = re.compile(r"-?\d+(?:\.\d+)?$")
    return bool(numeric.match(one) and numeric.match(other)) and Decimal(one) == Decimal(other)


def is_empty(text: str) -> bool:
    """No letter and no digit, in any script."""
    return not any(character.isalnum() for character in text)


TIMES = 3
"""So often a few words must follow themselves before they count as a loop."""
LONGEST_UNIT = 60  # words of a sentence that is said again and again
MANY_WORDS = 40
VARIETY = 0.2
_ONE_SIGN = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # scripts without spaces: every sign is a word
_WORD = re.compile(rf"[{_ONE_SIGN}]|[^\W{_ONE_SIGN}]+")


def is_repeated(text: str) -> bool:
    """Whether a text is stuck: more than half of it is a few words, or characters, over and over.

    Two signs: a unit of words that follows itself at least TIMES times covers more than half of the words; or, in a
    text of MANY_WORDS and more, less than VARIETY of all runs of three words are different ones.
    """
    words = _WORD.findall(text.lower())
    return _loops(words) or _lacks_variety(words) or any(_loops(word) for word in words if len(word) >= 24)


def _loops(words: Sequence[str]) -> bool:
    n = len(words)
    # A loop of at least three rounds over more than half of the words leaves at most two thirds of them different.
    if n < TIMES or 3 * len(set(words)) > 2 * n:
        return False
    return any(_longest_loop(words, unit) * 2 > n for unit in range(1, min(LONGEST_UNIT, n // TIMES) + 1))


def _longest_loop(words: Sequence[str], unit: int) -> int:
    """Words of the longest stretch in which every word is the one `unit` places before it; 0 below TIMES rounds."""
    longest = run = 0
    for i in range(unit, len(words)):
        run = run + 1 if words[i] == words[i - unit] else 0
        longest = max(longest, run)
    return longest + unit if longest >= (TIMES - 1) * unit else 0


def _lacks_variety(words: Sequence[str]) -> bool:
    if len(words) < MANY_WORDS:
        return False
    runs = Counter(zip(words, words[1:], words[2:], strict=False))
    return len(runs) < VARIETY * (len(words) - 2)
