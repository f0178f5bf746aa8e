"""A single progress count for work with several stages."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Callback that a long stage calls with (done, total); it stops the stage by raising `Cancelled`."""


class Stages:
    """Progress over all stages together: it never goes back, and jumps ahead if a stage was shorter than planned."""

    def __init__(self, progress: Progress | None, **steps: int) -> None:
        """`steps` gives the planned number of steps of every stage, in order."""
        self._progress, self._steps, self._done = progress, steps, 0
        self.total = sum(steps.values())

    def of(self, stage: str) -> Progress:
        """The progress callback of one stage: it adds the planned steps of all earlier stages to what it reports."""
        names = list(self._steps)
        before = sum(self._steps[name] for name in names[: names.index(stage)])
        return lambda done, _: self._show(before + min(done, self._steps[stage]))

    def finish(self) -> None:
        """Report all steps as done."""
        self._show(self.total)

    def _show(self, done: int) -> None:
        self._done = max(self._done, done)
        if self._progress is not None:
            self._progress(self._done, self.total)


def in_steps(progress: Progress, steps: int) -> Progress:
    """Progress that reports a stage of any length in `steps` steps, for a stage whose length is not known before."""
    return lambda done, total: progress(steps * done // max(total, 1), steps)
