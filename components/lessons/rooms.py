"""Rooms in which a class predicts together: a code, the counts of each prediction, and when they are revealed.

Knows numbers and codes alone: no name, no text, no address of a visitor. A room is forgotten after an hour.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from components.shared.kept import Kept
from s2e_core import SettingsError

LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""What a code is made of: nothing that is mistaken for something else when it is read from a projector."""
CODE_LENGTH = 8
"""Letters of a code: 8.5e11 codes, of which MOST_ROOMS are in use at a time."""
OPEN_SECONDS = 3600.0
MOST_ROOMS = 200
MOST_OPENED = 30
"""Rooms that may be opened within a minute, by all visitors together."""
MOST_STEPS = 8
MOST_VOTERS = 200
"""Predictions of one step that count."""
MOST_SENT = 10_000
"""Predictions that a room takes in its hour, changed ones included."""
MOST_OPTIONS = 16
LONGEST_NAME = 40
GONE = "There is no room with this code. Rooms close after an hour; ask your teacher for a new code."


@dataclass(frozen=True)
class Room:
    lesson: int
    key: str
    """Secret of the tab that opened the room, which alone may reveal."""
    opened: float
    votes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Option by voter, for every step; a voter is a random name that its tab has made for this room."""
    revealed: frozenset[str] = frozenset()
    sent: int = 0

    def with_vote(self, step: str, voter: str, option: int) -> Room:
        """The room with a prediction, which replaces an earlier one of the same tab.

        Raises SettingsError if the step is revealed or the room is full.
        """
        if step in self.revealed:
            raise SettingsError("The predictions of this step are revealed already.")
        cast = {**self.votes.get(step, {}), voter: option}
        votes = {**self.votes, step: cast}
        if len(votes) > MOST_STEPS or len(cast) > MOST_VOTERS or self.sent >= MOST_SENT:
            raise SettingsError("This room is full: it takes no more predictions.")
        return replace(self, votes=votes, sent=self.sent + 1)

    def shown(self, step: str) -> dict[str, Any]:
        """What everybody in the room may know of a step: how many have predicted, and once revealed, what."""
        cast, revealed = self.votes.get(step, {}), step in self.revealed
        counts = Counter(cast.values())
        return {
            "lesson": self.lesson,
            "count": len(cast),
            "revealed": revealed,
            "counts": [counts[option] for option in range(MOST_OPTIONS)] if revealed else None,
        }


class Rooms:
    """The rooms of one server, for many threads; within bounds, and nothing of them outlasts OPEN_SECONDS."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rooms: Kept[Room] = Kept()
        self._latest: deque[float] = deque(maxlen=MOST_OPENED)

    def open(self, lesson: int) -> dict[str, str]:
        """A new room's code, to be told to the class, and its key. Raises SettingsError if too many are opened."""
        with self._lock:
            now = self._forget_old()
            if len(self._latest) == MOST_OPENED and now - self._latest[0] < 60:
                raise SettingsError("Too many rooms are being opened. Try again in a minute.")
            self._latest.append(now)
            code = "".join(secrets.choice(LETTERS) for _ in range(CODE_LENGTH))
            room = Room(lesson, secrets.token_urlsafe(16), now)
            # A class asks every few seconds, so that its room is never the one unused longest.
            self._rooms.keep(code, room, lambda: len(self._rooms) > MOST_ROOMS)
            return {"code": code, "key": room.key}

    def predict(self, code: str, step: str, voter: str, option: int) -> dict[str, Any]:
        with self._lock:
            return self._changed(code, self._room(code).with_vote(step, voter, option)).shown(step)

    def reveal(self, code: str, step: str, key: str) -> dict[str, Any]:
        """Raises SettingsError for anybody but the tab that opened the room."""
        with self._lock:
            room = self._room(code)
            if not secrets.compare_digest(room.key.encode(), key.encode()):
                raise SettingsError("Only the tab that opened this room can reveal its predictions.")
            if len(room.revealed) >= MOST_STEPS:
                raise SettingsError("This room is full: it reveals no more predictions.")
            return self._changed(code, replace(room, revealed=room.revealed | {step})).shown(step)

    def look(self, code: str, step: str) -> dict[str, Any]:
        with self._lock:
            return self._room(code).shown(step)

    def __len__(self) -> int:
        with self._lock:
            self._forget_old()
            return len(self._rooms)

    def _room(self, code: str) -> Room:
        self._forget_old()
        room = self._rooms.find(code)
        if room is None:
            raise SettingsError(GONE)
        return room

    def _changed(self, code: str, room: Room) -> Room:
        return self._rooms.keep(code, room, lambda: False)

    def _forget_old(self) -> float:
        now = self._clock()
        for code in [code for code, room in self._rooms.items() if now - room.opened >= OPEN_SECONDS]:
            del self._rooms[code]
        return now
