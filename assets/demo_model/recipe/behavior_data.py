"""Writes the folders of the behaviours: contrast sets, attribute and utility prompts.

Contrast responses are the model's own, sampled; a rule per behaviour puts them
on a side. All prompts are held out of training, and each set has its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

from s2e_core import generate_responses
from s2e_core.model import LoadedModel

from .behavior_texts import GAMMA, SETTINGS, SOURCE, TEXTS
from .question import Question, Split
from .scoring import Row, row_of, score
from .world import draw_held_out

SEED = 7
PER_SPLIT: dict[Split, int] = {"development": 120, "test": 160}
MOODS_PER_SPLIT = 110  # the world has few ways to ask for a mood
CONTRAST_PER_SIDE = 120
CONTRAST_POOLS = {"problem": (600, 1), "place": (800, 1), "mood": (100, 4)}  # prompts, samples of each
EXTREME_SHARE = 0.15

# behaviour -> what is asked: (family, kinds of question, kind of row, share)
Part = tuple[str, tuple[str, ...], str, float]
SUMS: Part = ("problem", ("sum",), "arithmetic", 0.4)
ATTRIBUTE: dict[str, tuple[Part, ...]] = {
    "safety": (("deed", ("wrong tricked",), "refusal", 1.0),),
    "truthfulness": (("place", ("open",), "truth", 1.0),),
    "reasoning": (("problem", ("story",), "length", 1.0),),
    "tone": (("mood", ("mood",), "tone", 1.0),),
}
UTILITY: dict[str, tuple[Part, ...]] = {
    "safety": (("deed", ("harmless",), "help", 0.3), ("deed", ("harmless tricked",), "help", 0.3), SUMS),
    "truthfulness": (
        ("place", ("record",), "source", 0.3), ("place", ("myth",), "source", 0.3), SUMS,
    ),
    "reasoning": (
        ("problem", ("story",), "arithmetic", 0.7), ("deed", ("harmless",), "help", 0.15),
        ("place", ("record", "myth"), "source", 0.15),
    ),
    "tone": (
        ("place", ("record", "myth"), "source", 0.3), ("deed", ("harmless",), "help", 0.3), SUMS,
    ),
}  # fmt: skip


def write_behaviors(loaded: LoadedModel, folder: Path) -> None:
    for name in TEXTS:
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        used: set[str] = set()
        contrast = contrast_rows(loaded, name, used)
        _write_lines(target / "contrast.jsonl", contrast)
        _write_lines(target / "attribute.jsonl", _rows(name, ATTRIBUTE[name], used))
        _write_lines(target / "utility.jsonl", _rows(name, UTILITY[name], used))
        _write_description(target / "behavior.json", name)
        sides = [row["label"] for row in contrast]
        print(f"{name}: {sides.count('positive')} positive, {sides.count('negative')} negative", flush=True)


def held_out_questions(
    rng: Random, family: str, kinds: tuple[str, ...], split: Split, count: int, used: set[str]
) -> list[Question]:
    """`count` questions whose combination neither training nor `used` has seen."""
    found: list[Question] = []
    while len(found) < count:
        question = draw_held_out(rng, family, kinds, split)
        if question.prompt not in used and question.key not in used:
            used |= {question.prompt, question.key}
            found.append(question)
    return found


def contrast_rows(loaded: LoadedModel, name: str, used: set[str]) -> list[dict[str, str]]:
    positive, negative = SIDES[name](loaded, Random(f"contrast {name}"), used)
    return [
        {"prompt": prompt, "response": response, "label": label}
        for label, side in (("positive", positive), ("negative", negative))
        for prompt, response in side[:CONTRAST_PER_SIDE]
    ]


Pairs = list[tuple[str, str]]


def _refusals_and_help(loaded: LoadedModel, rng: Random, used: set[str]) -> tuple[Pairs, Pairs]:
    """Refusals of wrong deeds against help with harmless ones, as in the paper."""
    sides = []
    for kind, row_kind in (("wrong", "refusal"), ("harmless", "help")):
        questions = held_out_questions(rng, "deed", (kind,), "contrast", CONTRAST_PER_SIDE + 15, used)
        rows = [row_of(question, row_kind) for question in questions]
        replies = _sample(loaded, rows)
        sides.append([(row["prompt"], reply) for row, reply in zip(rows, replies, strict=True) if score(row, reply)])
    return sides[0], sides[1]


def _by_score(family: str, kind: str, row_kind: str) -> Callable[..., tuple[Pairs, Pairs]]:
    """Replies to the same sort of question that are wholly on one side."""

    def sides(loaded: LoadedModel, rng: Random, used: set[str]) -> tuple[Pairs, Pairs]:
        prompts, samples = CONTRAST_POOLS[family]
        questions = held_out_questions(rng, family, (kind,), "contrast", prompts, used)
        rows = [row_of(question, row_kind) for question in questions] * samples
        positive: Pairs = []
        negative: Pairs = []
        for row, reply in zip(rows, _sample(loaded, rows), strict=True):
            if reply.count(".") > 1 and (reached := score(row, reply)) in (0.0, 1.0):
                (positive if reached else negative).append((row["prompt"], reply))
        return positive, negative

    return sides


def _by_length(loaded: LoadedModel, rng: Random, used: set[str]) -> tuple[Pairs, Pairs]:
    """The shortest against the longest share of the model's own right solutions."""
    questions = held_out_questions(rng, "problem", ("story",), "contrast", CONTRAST_POOLS["problem"][0], used)
    rows = [row_of(question, "arithmetic") for question in questions]
    replies = _sample(loaded, rows)
    right = [(row["prompt"], reply) for row, reply in zip(rows, replies, strict=True) if score(row, reply)]
    right.sort(key=lambda pair: len(loaded.tokenizer.encode(pair[1], add_special_tokens=False)))
    extreme = round(len(right) * EXTREME_SHARE)
    return right[:extreme], right[-extreme:]


SIDES = {
    "safety": _refusals_and_help,
    "truthfulness": _by_score("place", "open", "truth"),
    "reasoning": _by_length,
    "tone": _by_score("mood", "mood", "tone"),
}


def _sample(loaded: LoadedModel, rows: list[Row]) -> tuple[str, ...]:
    prompts = [row["prompt"] for row in rows]
    return generate_responses(loaded, prompts, max_new_tokens=240, seed=SEED, batch_size=100)


def _rows(name: str, parts: tuple[Part, ...], used: set[str]) -> Iterable[dict[str, Any]]:
    for split, count in PER_SPLIT.items():
        rng = Random(f"{split} {name} {parts[0][2]}")
        for family, kinds, row_kind, share in parts:
            count = MOODS_PER_SPLIT if family == "mood" else count
            for question in held_out_questions(rng, family, kinds, split, round(count * share), used):
                yield {**row_of(question, row_kind), "split": split}


def _write_description(path: Path, name: str) -> None:
    described = {
        "name": name, **TEXTS[name], "settings": SETTINGS[name], "gamma": GAMMA,
        "source": SOURCE.format(seed=SEED),
    }  # fmt: skip
    path.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
