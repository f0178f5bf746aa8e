"""Prompts for a model to answer, their references from a file, and the sides of the answers by one of four rules.

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
    """One prompt for the model to answer, with what the file says about it."""

    example: Example
    """Prompt, with an empty response."""
    side: Side
    """Side of the prompt in the file; "none" if the file names no side, or both."""
    reference: Mapping[str, Any] | None
    """Reference from `reference_row`; None if the file has no answers."""


def read_prompts(reading: Reading, *, samples: int = 1) -> tuple[Asked, ...]:
    """Every prompt of a file, `samples` times in a row, with its side and reference.

    In a file without answers, a prompt counts as often as it occurs. In a file with answers it counts once, and its
    answers become the reference: answers on the positive side are true, on the negative side false, without a side
    right. Rows without a prompt are left out. Raises ContrastDataError if no prompt is left.
    """
    sides: tuple[tuple[Side, Sequence[Example]], ...] = (
        ("positive", reading.positive), ("negative", reading.negative), ("none", reading.without_side),
    )  # fmt: skip
    examples = [(side, example) for side, group in sides for example in group if example.prompt.strip()]
    if not examples:
        raise ContrastDataError(f"{reading.name} has no prompts to answer. Choose the column that contains the prompt.")
    if reading.responses_missing:
        prompts = [Asked(replace(example, response=""), side, None) for side, example in examples]
    else:
        prompts = list(_merge_answers(examples))
    return tuple(prompt for prompt in prompts for _ in range(samples))


def _merge_answers(examples: Sequence[tuple[Side, Example]]) -> Sequence[Asked]:
    """Each prompt once, with all its answers as the reference."""
    answers: dict[tuple[Any, ...], dict[Side, list[str]]] = defaultdict(lambda: defaultdict(list))
    for side, example in examples:
        answers[example.system, example.earlier, example.prompt][side].append(example.response.strip())
    return [
        Asked(
            Example(prompt, "", system, earlier),
            next(iter(by_side)) if len(by_side) == 1 else "none",
            _reference(by_side),
        )
        for (system, earlier, prompt), by_side in answers.items()
    ]


def _reference(by_side: Mapping[Side, Sequence[str]]) -> Mapping[str, Any] | None:
    true, false, right = ([text for text in by_side.get(s, ()) if text] for s in ("positive", "negative", "none"))
    if true or false:
        return reference_row(true=true, false=false)
    return reference_row(right[0]) if right else None


def possible_rules(prompts: Sequence[Asked]) -> tuple[Rule, ...]:
    """The rules that can assign sides to the answers to these prompts, the most suitable rule first."""
    rules: list[Rule] = []
    if {"positive", "negative"} <= {prompt.side for prompt in prompts}:
        rules.append("prompt")
    if any(prompt.reference for prompt in prompts):
        rules.append("agreement")
    return (*rules, "length", "hand")


def answer_sides(
    rule: Rule,
    prompts: Sequence[Asked],
    responses: Sequence[OwnResponse],
    *,
    share: float = 0.05,
    marks: Sequence[bool | None] = (),
    name: str = "own responses",
) -> ContrastSet:
    """The contrast set of the responses to `prompts`; `share` is for the rule "length", `marks` for "hand".

    Raises ContrastDataError if a side is empty or the prompts do not allow the rule.
    """
    if rule not in possible_rules(prompts):
        need = "prompts of both sides" if rule == "prompt" else "right answers, or true and false ones"
        raise ContrastDataError(f'The rule "{rule}" needs a file with {need}. Choose another rule or another file.')
    pairs = list(zip(prompts, responses, strict=True))
    if rule == "prompt":
        positive, negative = ([r for prompt, r in pairs if prompt.side == side] for side in ("positive", "negative"))
        n_others = len(pairs) - len(positive) - len(negative)
        return _add_note(sides_by_prompt(positive, negative, name=name), n_others, "answer prompts of neither side")
    if rule == "hand":
        return sides_by_hand(responses, marks, name=name)
    with_reference = [(prompt.reference, r) for prompt, r in pairs if prompt.reference is not None]
    if rule == "agreement":
        contrast = sides_by_agreement([r for _, r in with_reference], [row for row, _ in with_reference], name=name)
        n_others = len(pairs) - len(with_reference)
        return _add_note(contrast, n_others, "answer prompts for which the file has no right answer")
    if len(with_reference) == len(pairs):
        return sides_by_length(responses, [row for row, _ in with_reference], share=share, name=name)
    return sides_by_length(responses, share=share, name=name)


def _add_note(contrast: ContrastSet, count: int, clause: str) -> ContrastSet:
    """The contrast set with a note on responses that the rule left out."""
    note = f"Responses that {clause}, and were left out: {count}."
    return replace(contrast, notes=(*contrast.notes, note)) if count else contrast


def find_marks(contrast: ContrastSet, responses: Sequence[OwnResponse]) -> tuple[bool | None, ...]:
    """The mark of each response: True on the positive side, False on the negative, None on neither."""
    positive, negative = ({id(it) for it in side} for side in (contrast.positive, contrast.negative))
    return tuple(True if id(r.example) in positive else False if id(r.example) in negative else None for r in responses)
