"""Run a long stage of the core in a thread of its own, so that the page can show progress and a Stop stops it.

Knows threads and the core's progress callables. A generator that is resumed on changing threads must not hold a lock
while it waits; here the stage holds its locks in its own thread and only numbers pass through a queue.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from s2e_core import Cancelled
from s2e_core.progress import Progress

Result = TypeVar("Result")
POLL_SECONDS = 0.25


class Work(Generic[Result]):
    """`ticks()` gives (done, total) until the stage is finished, then `result` is there; closing it stops the stage."""

    def __init__(self, stage: Callable[[Progress], Result]) -> None:
        self._stage = stage
        self._ticks: queue.Queue[tuple[int, int] | None] = queue.Queue()
        self._stop = threading.Event()
        self._results: list[Result] = []
        self._error: BaseException | None = None

    def ticks(self) -> Generator[tuple[int, int], None, None]:
        # The server waits for it at its end: torch aborts a thread that still runs while Python is being taken down.
        threading.Thread(target=self._run).start()
        last = (0, 0)
        try:
            yield last
            while True:
                try:
                    tick = self._ticks.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    yield last  # a place at which the iterator can be closed while the stage is silent
                    continue
                if tick is None:
                    break
                last = tick
                yield last
        finally:
            self._stop.set()
        if self._error is not None:
            raise self._error

    @property
    def result(self) -> Result:
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._stage(self._tick))
        except BaseException as error:  # noqa: BLE001  (raised again in the reader's thread)
            self._error = error
        finally:
            self._ticks.put(None)

    def _tick(self, done: int, total: int) -> None:
        if self._stop.is_set() or not threading.main_thread().is_alive():  # the server ends
            raise Cancelled("Stopped. Nothing that was computed before is lost.")
        self._ticks.put((done, total))
