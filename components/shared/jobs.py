"""Which runs are to stop: a tab names its runs, and a name that was stopped ends its run, also before it begins.

Knows names alone; no thread and no page. Names are random and made in the tab, so that nobody stops another's run.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

from s2e_core import Cancelled

MOST_NAMES = 10_000
"""Names that are remembered; the oldest are forgotten, whose runs are long over."""
STOPPED = "Stopped. Nothing that was computed before is lost."


class Jobs:
    """The names of runs that were stopped."""

    def __init__(self) -> None:
        self._stopped: OrderedDict[str, None] = OrderedDict()
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

    def watch(self, name: str, run: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """The steps of a run, which is closed as soon as its name is stopped. Raises Cancelled then."""
        if self.is_stopped(name):
            raise Cancelled(STOPPED)
        steps = run()
        assert isinstance(steps, Generator)
        with closing(steps):
            for step in steps:
                if self.is_stopped(name):
                    raise Cancelled(STOPPED)
                yield step
