"""The comparison: (store, session, prompt and options) to the columns of text while they grow.

Knows the core's `compare` and the variants; no event. Differences are marked once the texts are complete.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components.shared import texts
from components.shared.limits import Limits
from components.shared.session import Session
from components.shared.store import ModelStore
from components.trade_off.words import counted
from s2e_core import Behavior, Edited, Original, SettingsError, Steered, Variant, compare
from s2e_core.measure import placebo
from s2e_core.values import Prompted

from .differences import Segment, changed_share, differences
from .text_columns import Column, columns_value

UPDATE_SECONDS = 0.05
EMPTY = "(empty answer)"
SHOWN_CHARS = 50
"""Characters of the prompt in the line above the answers."""


@dataclass(frozen=True, eq=False)
class Request:
    """What the compare panel says."""

    prompt: str
    length: float
    temperature: float = 0.0
    seed: float = 0
    steered: bool = False
    gamma: float = 0.5
    prompted: bool = False
    placebo: bool = False


def compared(store: ModelStore, session: Session, request: Request) -> Iterator[dict[str, Any]]:
    """Values of the text columns, the last one complete and with the differences marked."""
    check_request(request, store.limits)
    stop = threading.Event()
    variants = request_variants(store.named_behavior(session.behavior), session, request)
    stream = compare(
        store.model(session.model),
        request.prompt,
        [variant for _, variant in variants],
        max_new_tokens=int(request.length),
        temperature=float(request.temperature),
        seed=int(request.seed),
        stop=stop,
    )
    titles, asked = [title for title, _ in variants], asked_words(request)
    shown, latest = 0.0, tuple("" for _ in titles)
    try:
        for latest in stream:
            if time.monotonic() - shown > UPDATE_SECONDS:
                shown = time.monotonic()
                yield columns_value(_growing(titles, latest), asked=asked, busy=True)
    finally:
        stop.set()  # also where the visitor pressed Stop: the model ends within a token
    yield columns_value(_marked(titles, latest), asked=asked)


def request_variants(behavior: Behavior | None, session: Session, request: Request) -> list[tuple[str, Variant]]:
    """What is compared, each with its title: the original, the edit, and the arms of the race that are asked for.

    Raises SettingsError for a system prompt that a behaviour does not have.
    """
    variants: list[tuple[str, Variant]] = [
        (texts.ORIGINAL_COLUMN, Original()),
        (_edited_title(session), session.variant),
    ]
    if request.steered:
        steered = Steered(session.scored.directions, float(request.gamma))
        variants.append((f"{texts.STEERED_COLUMN}, γ = {request.gamma:g}", steered))
    if request.prompted:
        if behavior is None or not behavior.system_prompt or session.swapped:
            raise SettingsError(texts.NO_SYSTEM_PROMPT)
        variants.append((texts.PROMPTED_COLUMN, Prompted(behavior.system_prompt)))
    if request.placebo and not session.edit.is_empty:
        edit = placebo(session.edit, session.scored.scores, int(request.seed))
        variants.append(
            (f"{texts.PLACEBO_COLUMN}, {counted((edit.count('heads'), edit.count('neurons')))}", Edited(edit))
        )
    return variants


def asked_words(request: Request) -> str:
    """Which question the texts answer, and how they were drawn."""
    dice = f"temperature {request.temperature:g}, seed {int(request.seed)}" if request.temperature else "temperature 0"
    return texts.ASKED.format(prompt=short(request.prompt), dice=dice)


def short(prompt: str) -> str:
    """A prompt in one line, cut where it is long."""
    line = " ".join(prompt.split())
    return line if len(line) <= SHOWN_CHARS else f"{line[: SHOWN_CHARS - 1]}…"


def _edited_title(session: Session) -> str:
    on_top = "" if session.under is None else f", on top of {session.under.title}"
    return f"{texts.EDITED_COLUMN}, {counted((session.edit.count('heads'), session.edit.count('neurons')))}{on_top}"


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _growing(titles: list[str], latest: tuple[str, ...]) -> list[Column]:
    return [Column(title, "writing …", [(text, "")]) for title, text in zip(titles, latest, strict=True)]


def _marked(titles: list[str], latest: tuple[str, ...]) -> list[Column]:
    original = latest[0]
    columns = [Column(titles[0], _words(original), [(original or EMPTY, "")])]
    for title, text in zip(titles[1:], latest[1:], strict=True):
        segments: Sequence[Segment] = differences(original, text) if text else [(EMPTY, "")]
        note = "same text" if text == original else f"{_words(text)}, {changed_share(original, text):.0%} differ"
        columns.append(Column(title, note, segments))
    return columns


def _words(text: str) -> str:
    return _plural(len(text.split()), "word")


def check_request(request: Request, limits: Limits) -> None:
    """Raises SettingsError for what cannot be asked."""
    for name in ("length", "temperature", "seed", "gamma"):
        if getattr(request, name) is None:
            raise SettingsError(f"The field {name} is empty. Type a number.")
    if not request.prompt.strip():
        raise SettingsError("The prompt is empty. Type one, or choose one of the examples.")
    if len(request.prompt) > limits.prompt_chars:
        raise SettingsError(
            f"The prompt has {len(request.prompt):,} characters; at most {limits.prompt_chars:,} are read. Shorten it."
        )
    if not 1 <= request.length <= limits.new_tokens:
        raise SettingsError(f"The length is {request.length:g} tokens; choose from 1 to {limits.new_tokens}.")
