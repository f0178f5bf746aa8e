"""The model's own answers to a visitor's prompts, as far as they have come, and the sides they are put on.

Knows what was asked and answered; no page and no model. A frozen value, kept by one visitor's tab.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from s2e_core import ContrastDataError, ContrastSet
from s2e_core.data import Reading, content_hash
from s2e_core.responses import Asked, OwnResponse, Rule, answer_sides, find_marks, possible_rules, read_prompts

SHARE = 5.0  # percent, the paper's


@dataclass(frozen=True, eq=False)
class AnswerSettings:
    """How the model is asked."""

    max_new_tokens: int
    samples: int
    temperature: float


@dataclass(frozen=True, eq=False)
class Answers:
    """One visitor's answers; at first none."""

    model: str = ""
    asked: tuple[Asked, ...] = ()
    settings: AnswerSettings | None = None
    path: Path | None = None
    """File of the answers while they are generated."""
    by_prompt: Mapping[int, OwnResponse] = field(default_factory=lambda: MappingProxyType({}))
    """Answers by the index of the prompt in `asked`."""
    rule: Rule = "hand"
    share: float = SHARE
    marks: tuple[bool | None, ...] = ()
    """Sides by hand, of the answers in the order of their prompts."""
    used: bool = False
    """True if Extract takes these in place of the file's responses."""
    running: bool = False
    status: str = ""
    """Sentence of the status line; empty if there is nothing to say."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Answers:
        return self

    @property
    def indices(self) -> tuple[int, ...]:
        return tuple(sorted(self.by_prompt))

    @property
    def responses(self) -> tuple[OwnResponse, ...]:
        return tuple(self.by_prompt[index] for index in self.indices)

    @property
    def is_complete(self) -> bool:
        return bool(self.asked) and len(self.by_prompt) == len(self.asked)

    def belong_to(self, model: str, reading: Reading) -> bool:
        """Whether these are the model's answers to the prompts of a reading."""
        if not self.by_prompt or self.settings is None or self.model != model:
            return False
        try:
            return same_prompts(self.asked, read_prompts(reading, samples=self.settings.samples))
        except ContrastDataError:
            return False

    def stand_for(self, model: str, reading: Reading) -> bool:
        """Whether Extract takes them."""
        return self.used and self.belong_to(model, reading)

    def contrast(self, name: str) -> ContrastSet:
        """The answers on their sides. Raises ContrastDataError if a side is empty."""
        asked = [self.asked[index] for index in self.indices]
        return answer_sides(
            self.rule, asked, self.responses, share=self.share / 100, marks=self.marks, name=name
        )  # fmt: skip

    def sides(self) -> tuple[bool | None, ...]:
        """The side of each answer; all None if the rule puts none on a side."""
        if self.rule == "hand":
            return self.marks if len(self.marks) == len(self.by_prompt) else (None,) * len(self.by_prompt)
        try:
            return find_marks(self.contrast("answers"), self.responses)
        except ContrastDataError:
            return (None,) * len(self.by_prompt)

    def with_responses(self, responses: Mapping[int, OwnResponse], **changes: Any) -> Answers:
        """With more answers; marks by hand stay with theirs."""
        mark_of = dict(zip(self.indices, self.marks, strict=False))
        marks = tuple(mark_of.get(index) for index in sorted(responses))
        return replace(self, by_prompt=MappingProxyType(dict(responses)), marks=marks, **changes)

    def with_rule(self, rule: Rule) -> Answers:
        """With another rule; by hand begins with the sides that the last rule chose."""
        if rule not in possible_rules(self.asked):
            return self
        return replace(self, rule=rule, marks=self.sides() if rule == "hand" else self.marks)

    def with_mark(self, n: int, mark: bool | None) -> Answers:
        """With one answer on another side, by hand from then on."""
        marks = list(self.sides())
        marks[n] = mark
        return replace(self, rule="hand", marks=tuple(marks))


def same_prompts(one: tuple[Asked, ...], other: tuple[Asked, ...]) -> bool:
    """Whether the prompts, their order and what is known of them are the same."""
    return len(one) == len(other) and all(
        a.side == b.side and a.reference == b.reference for a, b in zip(one, other, strict=True)
    ) and content_hash([a.example for a in one]) == content_hash([b.example for b in other])  # fmt: skip
