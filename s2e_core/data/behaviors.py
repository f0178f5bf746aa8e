"""The bundled behaviours: one folder each, with a description and the prompts that show and measure it.

Knows the folder layout (`behavior.json`, `contrast.jsonl`, `attribute.jsonl`, `utility.jsonl`), and of a model only
whether it has the bundled model's tokenizer: the bundled model speaks a small world of its own, all others English.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_core.bundled import BUNDLED_FOLDER
from s2e_core.errors import BehaviorError, ContrastDataError
from s2e_core.settings import EditSettings, Gate
from s2e_core.values import ContrastSet

from .contrast import load_contrast_set

BUNDLED_BEHAVIORS = BUNDLED_FOLDER / "behaviors"
"""Folder of the behaviours for the bundled model, in the words of its world."""
CHAT_BEHAVIORS = BUNDLED_BEHAVIORS / "chat"
"""Folder of the behaviours in ordinary English, for any chat model."""
BUNDLED_TOKENIZER = BUNDLED_BEHAVIORS.parent / "demo_model" / "tokenizer.json"


@dataclass(frozen=True, eq=False)
class Behavior:
    """One behaviour, ready to be extracted, tried and measured."""

    name: str
    title: str
    summary: str
    """Meaning of the behaviour, in a sentence or two."""
    positive: str
    """Short label of the wanted side."""
    negative: str
    """Short label of the opposite side."""
    lesson: str
    """Advice on what to try, and what it shows."""
    settings: EditSettings | None
    """Settings of the paper's formula, tuned for the bundled model; None if every model gets its own at extraction."""
    gamma: float
    """Steering strength to compare with."""
    examples: tuple[str, ...]
    """Prompts on which the effect can be seen; the first is the page's default."""
    max_new_tokens: int
    source: str
    """Origin of the data."""
    contrast: ContrastSet
    attribute: tuple[Mapping[str, Any], ...]
    """Held-out prompts that measure the behaviour; each row has "prompt" and "split"."""
    utility: tuple[Mapping[str, Any], ...]
    """Held-out prompts that measure the utility."""
    best: EditSettings | None = None
    """Settings that won the race of all families on the bundled model; None if there was none."""
    system_prompt: str = ""
    """Instruction that asks for the behaviour in words: the arm of a race that needs no edit. Empty without one."""
    greedy_utility: bool = False
    """Whether utility prompts are answered greedily: a small model's sampled answers to questions are often wrong."""
    measured: str = ""
    """Result of the suggested settings on held-out prompts, in a sentence; empty if it was not measured."""


def choose_behaviors_folder(model: Path | None) -> Path:
    """The folder of the behaviours that fit a checkpoint's folder; None if only the name of the model is known.

    The bundled model's behaviours fit every checkpoint with its tokenizer file, such as an edited copy of it.
    """
    tokenizer = None if model is None else model / "tokenizer.json"
    if tokenizer is None or not tokenizer.is_file() or tokenizer.stat().st_size != BUNDLED_TOKENIZER.stat().st_size:
        return CHAT_BEHAVIORS
    return BUNDLED_BEHAVIORS if tokenizer.read_bytes() == BUNDLED_TOKENIZER.read_bytes() else CHAT_BEHAVIORS


def list_behaviors(folder: Path | None = None) -> tuple[str, ...]:
    """Names of the behaviours in `folder` (by default the bundled model's), in the order of their lessons.

    Raises BehaviorError if the folder does not exist.
    """
    folder = folder or BUNDLED_BEHAVIORS
    if not folder.is_dir():
        raise BehaviorError(f"The folder of behaviours {folder.name} does not exist.")
    ordered = sorted((_description(path)["order"], path.parent.name) for path in folder.glob("*/behavior.json"))
    return tuple(name for _, name in ordered)


def load_behavior(name: str, folder: Path | None = None) -> Behavior:
    """Read one behaviour of `folder`, by default one of the bundled behaviours, whichever model it fits.

    Raises BehaviorError, naming what is missing or malformed.
    """
    folders = (BUNDLED_BEHAVIORS, CHAT_BEHAVIORS) if folder is None else (folder,)
    matches = [parent / name for parent in folders if (parent / name / "behavior.json").is_file()]
    if name != Path(name).name or not matches:
        known = ", ".join(known for parent in folders for known in list_behaviors(parent))
        raise BehaviorError(f'There is no behaviour named "{name}". Known: {known}.')
    folder = matches[0]
    description = _description(folder / "behavior.json")
    try:
        settings = description.get("settings")
        contrast = load_contrast_set(folder / "contrast.jsonl")
        return Behavior(
            name=name,
            title=description["title"],
            summary=description["summary"],
            positive=description["positive"],
            negative=description["negative"],
            lesson=description["lesson"],
            settings=None if settings is None else _settings(settings),
            gamma=description["gamma"],
            examples=tuple(description["examples"]),
            max_new_tokens=description["max_new_tokens"],
            source=description["source"],
            contrast=_renamed(contrast, name),
            attribute=_rows(folder / "attribute.jsonl"),
            utility=_rows(folder / "utility.jsonl"),
            best=None if description.get("best") is None else _settings(description["best"]),
            system_prompt=description.get("system_prompt", ""),
            greedy_utility=description.get("greedy_utility", False),
            measured=description.get("measured", ""),
        )
    except KeyError as error:
        raise BehaviorError(f"The description of the behaviour {name} has no entry {error}.") from error
    except TypeError as error:  # a list or a text in place of an object
        raise BehaviorError(f"The description of the behaviour {name} has an entry of the wrong kind.") from error
    except ContrastDataError as error:
        raise BehaviorError(f"The contrast set of the behaviour {name} cannot be used: {error}") from error


def is_for_other_models(contrast: ContrastSet, model: Path | None) -> bool:
    """Whether a contrast set is that of a bundled behaviour for other models than this checkpoint."""
    others = BUNDLED_BEHAVIORS if choose_behaviors_folder(model) == CHAT_BEHAVIORS else CHAT_BEHAVIORS
    if contrast.name not in list_behaviors(others):
        return False
    return load_behavior(contrast.name, others).contrast.content_hash == contrast.content_hash


def _settings(entry: Mapping[str, Any]) -> EditSettings:
    gate = entry.get("gate")
    return EditSettings(
        entry["rho_attn"], entry["rho_mlp"], entry["alpha"], strength=entry["strength"],
        gate=None if gate is None else Gate(gate["gamma"], gate["mu"], gate["size"]),
    )  # fmt: skip


def _renamed(contrast: ContrastSet, name: str) -> ContrastSet:
    return ContrastSet(contrast.positive, contrast.negative, name, contrast.notes, contrast.content_hash)


def _description(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BehaviorError(f"{path.parent.name}/{path.name} is not a readable description ({error}).") from error


def _rows(path: Path) -> tuple[Mapping[str, Any], ...]:
    try:
        rows = tuple(json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
    except (OSError, ValueError) as error:
        raise BehaviorError(f"{path.parent.name}/{path.name} is not readable JSONL ({error}).") from error
    if not all(isinstance(row, dict) and isinstance(row.get("prompt"), str) for row in rows):
        raise BehaviorError(
            f"{path.parent.name}/{path.name} has rows without a prompt. Expected objects with one each."
        )
    return rows
