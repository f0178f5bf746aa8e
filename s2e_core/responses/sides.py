"""Prompts for a model to answer, what a file says is right for each, and the sides of the answers by one of four rules.

Knows a reading and the rules of `rules.py`; no model and no file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from s2e_core.data import Reading, Side
from s2e_core.errors import ContrastDataError
from s2e_core.values import ContrastSet, Example

from .file import OwnResponse
from .rules import reference_row, sides_by_agreement, sides_by_hand, sides_by_length, sides_by_prompt

Rule = Literal["prompt", "agreement", "length", "hand"]


@dataclass(frozen=True, eq=False)
class Asked:
    """One prompt for the model to answer."""

    example: Example
    """The prompt, without a response."""
    side: Side
    """Where the file puts the prompt itself; "none" where it says nothing, or both."""
    reference: Mapping[str, Any] | None
    """What is right, as `reference_row` says it; None where the file has no answers of its own."""


def asked_prompts(reading: Reading, *, samples: int = 1) -> tuple[Asked, ...]:
    """Every prompt of a file, `samples` times in a row, with what the file knows of it.

    Prompts alone are asked as often as they stand there; prompts with answers once, and their answers become the
    reference: those of the positive side true, those of the negative side false, those without a side right. Rows
    without a prompt are left out; where none is left, raises ContrastDataError.
    """
    sides: tuple[tuple[Side, Sequence[Example]], ...] = (
        ("positive", reading.positive), ("negative", reading.negative), ("none", reading.unsided),
    )  # fmt: skip
    placed = [(side, it) for side, examples in sides for it in examples if it.prompt.strip()]
    if not placed:
        raise ContrastDataError(f"{reading.name} has no prompts to answer. Say which column is the prompt.")
    if reading.responses_missing:
        made = [Asked(replace(it, response=""), side, None) for side, it in placed]
    else:
        made = list(_with_references(placed))
    return tuple(one for one in made for _ in range(samples))


def _with_references(placed: Sequence[tuple[Side, Example]]) -> Sequence[Asked]:
    """Each prompt once, with all its answers as the reference."""
    known: dict[tuple[str | None, str], dict[Side, list[str]]] = defaultdict(lambda: defaultdict(list))
    for side, example in placed:
        known[example.system, example.prompt][side].append(example.response.strip())
    return [
        Asked(Example(prompt, "", system), next(iter(by_side)) if len(by_side) == 1 else "none", _reference(by_side))
        for (system, prompt), by_side in known.items()
    ]


def _reference(by_side: Mapping[Side, Sequence[str]]) -> Mapping[str, Any] | None:
    true, false, right = ([text for text in by_side.get(s, ()) if text] for s in ("positive", "negative", "none"))
    if true or false:
        return reference_row(true=true, false=false)
    return reference_row(right[0]) if right else None


def possible_rules(asked: Sequence[Asked]) -> tuple[Rule, ...]:
    """The rules that can put answers to these prompts on sides; the one that suits them best comes first."""
    rules: list[Rule] = []
    if {"positive", "negative"} <= {one.side for one in asked}:
        rules.append("prompt")
    if any(one.reference for one in asked):
        rules.append("agreement")
    return (*rules, "length", "hand")


def answer_sides(
    rule: Rule,
    asked: Sequence[Asked],
    responses: Sequence[OwnResponse],
    *,
    share: float = 0.05,
    marks: Sequence[bool | None] = (),
    name: str = "own responses",
) -> ContrastSet:
    """The contrast set of the responses to `asked`; `share` is for the rule "length", `marks` for "hand".

    Raises ContrastDataError where a side stays empty, or for a rule that the prompts do not allow.
    """
    if rule not in possible_rules(asked):
        needs = "prompts of two sides" if rule == "prompt" else "a file with right answers, or with true and false ones"
        raise ContrastDataError(f'Sides by the rule "{rule}" need {needs}. Choose another rule or another file.')
    pairs = list(zip(asked, responses, strict=True))
    if rule == "prompt":
        positive, negative = ([r for one, r in pairs if one.side == side] for side in ("positive", "negative"))
        others = len(pairs) - len(positive) - len(negative)
        return _noting(sides_by_prompt(positive, negative, name=name), others, "are to prompts of neither side")
    if rule == "hand":
        return sides_by_hand(responses, marks, name=name)
    known = [(one.reference, r) for one, r in pairs if one.reference is not None]
    if rule == "agreement":
        made = sides_by_agreement([r for _, r in known], [row for row, _ in known], name=name)
        return _noting(made, len(pairs) - len(known), "are to prompts for which the file has no right answer")
    if len(known) == len(pairs):
        return sides_by_length(responses, [row for row, _ in known], share=share, name=name)
    return sides_by_length(responses, share=share, name=name)


def _noting(contrast: ContrastSet, count: int, why: str) -> ContrastSet:
    """With a note on responses that the rule left out."""
    note = f"Responses that {why}, and were left out: {count}."
    return replace(contrast, notes=(*contrast.notes, note)) if count else contrast


def marks_of(contrast: ContrastSet, responses: Sequence[OwnResponse]) -> tuple[bool | None, ...]:
    """For each response whether it is on the positive side, or on the negative; None where it is on neither."""
    positive, negative = ({id(it) for it in side} for side in (contrast.positive, contrast.negative))
    return tuple(True if id(r.example) in positive else False if id(r.example) in negative else None for r in responses)
