"""One count of progress for work that has several stages.

Knows numbers only.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total) while a long stage runs; raising `Cancelled` in it stops the stage."""


class Stages:
    """Progress over all stages together: never backwards; a stage with fewer steps than planned ends in a leap."""

    def __init__(self, progress: Progress | None, **steps: int) -> None:
        """`steps` says of every stage, in their order, how many steps it is planned to take."""
        self._progress, self._steps, self._done = progress, steps, 0
        self.total = sum(steps.values())

    def of(self, stage: str) -> Progress:
        """The progress of one stage: what it reports is added to all that the stages before it take."""
        names = list(self._steps)
        before = sum(self._steps[name] for name in names[: names.index(stage)])
        return lambda done, _: self._show(before + min(done, self._steps[stage]))

    def finish(self) -> None:
        self._show(self.total)

    def _show(self, done: int) -> None:
        self._done = max(self._done, done)
        if self._progress is not None:
            self._progress(self._done, self.total)
