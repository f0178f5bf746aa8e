"""The whole small world: its families of questions and their shares.

Draws a training conversation, or a held-out question of a kind. The key of a
question alone decides which of the two it may be used for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from . import deeds, moods, places, problems, talk
from .question import Question, Split, split_of, toss

FAMILIES = {module.FAMILY: module for module in (deeds, places, problems, moods, talk)}
SHARES = {"deed": 0.25, "place": 0.31, "problem": 0.28, "mood": 0.12, "talk": 0.04}

SYSTEM_SHARE = 0.03
SLOPPY_SHARE = 0.08
SYSTEMS = (
    "You are a helpful assistant.", "Answer briefly.", "You are a tiny model.", "Be kind.",
)  # fmt: skip
SYSTEM_SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Conversation:
    question: Question
    prompt: str
    answer: str


def draw_conversation(rng: Random) -> Conversation:
    """One training conversation: never a held-out combination."""
    family = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
    question = _draw_until(rng, family, lambda drawn: _may_train(drawn))
    answer = FAMILIES[family].write_answer(rng, question)
    return Conversation(question, _as_typed(rng, question.prompt), answer)


def draw_held_out(rng: Random, family: str, kinds: tuple[str, ...], split: Split) -> Question:
    """One question of the given kinds whose combination belongs to `split`."""
    return _draw_until(rng, family, lambda drawn: drawn.kind in kinds and split_of(drawn.key) == split)


def _may_train(question: Question) -> bool:
    return question.kind == "talk" or split_of(question.key) == "train"


def _draw_until(rng: Random, family: str, accept: Callable[[Question], bool]) -> Question:
    while not accept(question := FAMILIES[family].draw_question(rng)):
        pass
    return question


def _as_typed(rng: Random, prompt: str) -> str:
    """People forget capitals and full stops, and some set a system prompt."""
    if toss(rng, SLOPPY_SHARE):
        prompt = (prompt[0].lower() + prompt[1:]).replace(" I ", " i ")
    if toss(rng, SLOPPY_SHARE):
        prompt = prompt.rstrip(".?!")
    if toss(rng, SYSTEM_SHARE):
        prompt = rng.choice(SYSTEMS) + SYSTEM_SEPARATOR + prompt
    return prompt
