"""What chance gives every component, read from the examples once for all visitors, in a thread of its own.

Knows threads, keys of extractions and the core's reading; no page. Who wants it asks again and again until it is there;
a reading that nobody asks for any more ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from components.shared.kept import Kept
from components.shared.session import Scored
from s2e_core import Cancelled
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.why import Chance, ExampleMeans, chance, example_means

MOST_KEPT, MOST_BYTES = 8, 256_000_000
GONE_SECONDS = 90.0
"""A reading that nobody has asked for in so long ends; the clocks of hidden tabs are slow."""
POLL_SECONDS = 0.05


class Found(NamedTuple):
    """What was read."""

    means: ExampleMeans
    """Mean inputs of every example."""
    chance: Chance


class _Reading:
    """One reading under way."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.done, self.total = 0, 0
        self.asked = time.monotonic()

    def tell(self, done: int, total: int) -> None:
        if time.monotonic() - self.asked > GONE_SECONDS or not threading.main_thread().is_alive():  # the server ends
            raise Cancelled("Nobody waits for it any more.")
        self.done, self.total = done, total


class Chances:
    """What was read, by the keys of extractions, within bounds; a model has one reading at a time, others wait."""

    def __init__(self) -> None:
        self._kept: Kept[Found | Exception] = Kept()
        self._under_way: dict[str, _Reading] = {}
        self._lock = threading.Lock()

    def ask(self, loaded: LoadedModel, scored: Scored, *, begin: bool = True) -> Found | tuple[int, int] | None:
        """What chance gives; until it is read, (done, total) of the reading, or None if nobody has begun it.

        `begin` begins it where nobody has. Raises what the reading raised, such as ContrastDataError for examples that
        are too few.
        """
        with self._lock:
            found = self._kept.find(scored.key)
            if isinstance(found, Exception):
                raise found.with_traceback(None)
            if found is not None:
                return found
            reading = self._under_way.get(scored.key)
            if reading is None:
                if not begin:
                    return None
                if any(other.loaded is loaded for other in self._under_way.values()):
                    return 0, 0
                reading = self._under_way[scored.key] = _Reading(loaded)
                # The server waits for it at its end: torch aborts a thread that runs while Python is being taken down.
                threading.Thread(target=self._run, args=(loaded, scored, reading)).start()
            reading.asked = time.monotonic()
            return reading.done, reading.total

    def read(self, loaded: LoadedModel, scored: Scored, progress: Progress) -> Found:
        """The same, waited for. Raises Cancelled if `progress` raises it; the reading then goes on for a while."""
        while True:
            found = self.ask(loaded, scored)
            if isinstance(found, Found):
                return found
            progress(*(found or (0, 0)))
            time.sleep(POLL_SECONDS)

    def _run(self, loaded: LoadedModel, scored: Scored, reading: _Reading) -> None:
        found: Found | Exception | None = None
        try:
            found = _read(loaded, scored, reading.tell)
        except Cancelled:
            pass
        except Exception as error:  # raised again for everybody who asks
            found = error
        with self._lock:
            del self._under_way[scored.key]
            if found is not None:
                self._kept.keep(scored.key, found, self._is_full)

    def _is_full(self) -> bool:
        sizes = [found.means.n_bytes for found in self._kept.values() if not isinstance(found, Exception)]
        return len(self._kept) > MOST_KEPT or sum(sizes) > MOST_BYTES


def _read(loaded: LoadedModel, scored: Scored, progress: Callable[[int, int], None]) -> Found:
    contrast = scored.contrast
    n_examples = len(contrast.positive) + len(contrast.negative)
    stages = Stages(progress, examples=n_examples, sites=len(loaded.spec.sites))
    outliers = scored.extraction.outliers
    means = example_means(loaded, contrast, outliers=outliers, progress=stages.of("examples"))
    return Found(means, chance(loaded, means, progress=stages.of("sites")))
