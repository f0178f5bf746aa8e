"""Which runs are to stop and which wait: a tab names its runs, and a stopped name ends its run, also before it begins.

Knows names alone; no thread and no page. Names are random and made in the tab, so that nobody stops another's run.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from s2e_core import Cancelled

MOST_NAMES = 10_000
"""Names that are remembered; the oldest are forgotten, whose runs are long over."""
GONE_SECONDS = 15.0
"""A run whose tab has not asked for so long waits no more."""
STOPPED = "Stopped. Nothing that was computed before is lost."


class Jobs:
    """The names of runs that were stopped."""

    def __init__(self) -> None:
        self._stopped: OrderedDict[str, None] = OrderedDict()
        self._waiting: OrderedDict[str, float] = OrderedDict()
        self._begun: OrderedDict[str, None] = OrderedDict()
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def stop(self, names: Iterable[str]) -> None:
        """The runs of these names end at their next step, or as soon as they begin."""
        with self._lock:
            self._stopped.update(dict.fromkeys(names))
            while len(self._stopped) > MOST_NAMES:
                self._stopped.popitem(last=False)

    def is_stopped(self, name: str) -> bool:
        with self._lock:
            return bool(name) and name in self._stopped

    def ahead(self, name: str) -> int | None:
        """How many runs of its queue are before this one; None if it has begun. When a name first asks is its place.

        A tab asks again and again while it waits: a name that asks no more is of a tab that was closed.
        """
        now = time.monotonic()
        with self._lock:
            if name in self._begun:
                return None
            self._waiting[name] = now
            for other in [it for it, asked in self._waiting.items() if now - asked > GONE_SECONDS]:
                del self._waiting[other]
            while len(self._waiting) > MOST_NAMES:
                self._waiting.popitem(last=False)
            waiting = [it for it in self._waiting if _queue(it) == _queue(name)]
            return waiting.index(name) + sum(_queue(it) == _queue(name) for it in self._running)

    @contextmanager
    def _run(self, name: str) -> Iterator[None]:
        with self._lock:
            self._waiting.pop(name, None)
            self._begun[name] = None
            self._running.add(name)
            while len(self._begun) > MOST_NAMES:
                self._begun.popitem(last=False)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(name)

    def watch(self, name: str, run: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """The steps of a run, which is closed as soon as its name is stopped. Raises Cancelled then."""
        if self.is_stopped(name):
            raise Cancelled(STOPPED)
        steps = run()
        assert isinstance(steps, Generator)
        with self._run(name), closing(steps):
            for step in steps:
                if self.is_stopped(name):
                    raise Cancelled(STOPPED)
                yield step


def _queue(name: str) -> str:
    """The queue of a run, with which its name begins: runs of another one are not before it."""
    return name.rpartition(" ")[0]
