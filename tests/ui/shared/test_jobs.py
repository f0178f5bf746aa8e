"""Runs are stopped by the names that their tabs gave them, and know how many others are before them."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
import pytest

from components.shared import jobs as jobs_module
from components.shared.errors import guarded
from components.shared.jobs import MOST_NAMES, STOPPED, Jobs
from s2e_core import Cancelled


class Run:
    """A stream of three steps that says how it ended."""

    def __init__(self) -> None:
        self.begun = self.closed = False

    def __call__(self) -> Iterator[int]:
        self.begun = True
        try:
            yield from range(3)
        finally:
            self.closed = True


# ---- Stop ------------------------------------------------------------------------------------------------------------


def test_a_run_that_nobody_stops_gives_all_its_steps() -> None:
    run = Run()
    assert list(Jobs().watch("a", run)) == [0, 1, 2] and run.closed


def test_a_run_that_is_stopped_ends_at_its_next_step_and_is_closed() -> None:
    jobs, run = Jobs(), Run()
    steps = jobs.watch("a", run)
    assert next(steps) == 0 and not run.closed
    jobs.stop(["a"])
    with pytest.raises(Cancelled, match="Nothing that was computed before is lost"):
        next(steps)
    assert run.closed


def test_a_run_that_was_stopped_before_it_began_never_begins() -> None:
    """It may wait in the queue for long."""
    jobs, run = Jobs(), Run()
    jobs.stop(["a"])
    with pytest.raises(Cancelled):
        next(jobs.watch("a", run))
    assert not run.begun


def test_a_stop_ends_no_other_run() -> None:
    jobs = Jobs()
    first, second, unnamed = (jobs.watch(name, Run()) for name in ("a", "b", ""))
    for steps in (first, second, unnamed):
        next(steps)
    jobs.stop(["a", ""])
    with pytest.raises(Cancelled):
        next(first)
    assert list(second) == [1, 2] and list(unnamed) == [1, 2], "a run without a name cannot be stopped by it"
    assert list(jobs.watch("ab", Run())) == [0, 1, 2]


def test_a_run_that_is_left_is_closed_at_once() -> None:
    jobs, run = Jobs(), Run()
    steps = jobs.watch("a", run)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert run.closed and jobs.ahead("b") == 0


def test_the_oldest_names_are_forgotten() -> None:
    jobs = Jobs()
    jobs.stop(str(number) for number in range(MOST_NAMES + 1))
    assert not jobs.is_stopped("0") and jobs.is_stopped("1") and jobs.is_stopped(str(MOST_NAMES))


def test_a_stop_is_a_failure_that_says_nothing() -> None:
    """`.failure` of the event follows; who pressed Stop knows, and no toast says so."""
    jobs = Jobs()
    jobs.stop(["a"])

    def streaming() -> Iterator[int]:
        yield from jobs.watch("a", Run())

    with pytest.raises(gr.Error) as error:
        next(guarded(streaming)())
    assert error.value.visible is False and error.value.message == STOPPED


# ---- the place in the queue ------------------------------------------------------------------------------------------


def test_a_run_knows_how_many_are_before_it_until_it_begins() -> None:
    jobs = Jobs()
    assert [jobs.ahead(name) for name in ("a", "b", "c", "b")] == [0, 1, 2, 1]
    first = jobs.watch("a", Run())
    next(first)
    assert jobs.ahead("a") is None and (jobs.ahead("b"), jobs.ahead("c")) == (1, 2), "a runs still"
    assert list(first) == [1, 2]
    assert (jobs.ahead("b"), jobs.ahead("c")) == (0, 1)
    assert jobs.ahead("a") is None, "what has begun does not wait again"


def test_a_run_whose_tab_is_gone_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(jobs_module.time, "monotonic", lambda: clock[0])
    jobs = Jobs()
    assert [jobs.ahead(name) for name in ("gone", "here")] == [0, 1]
    clock[0] += jobs_module.GONE_SECONDS - 1
    assert jobs.ahead("here") == 1
    clock[0] += 2
    assert jobs.ahead("here") == 0


def test_the_names_of_those_that_wait_and_have_begun_do_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "MOST_NAMES", 5)
    jobs = Jobs()
    for number in range(9):
        jobs.ahead(f"waits {number}")
        assert list(jobs.watch(str(number), Run())) == [0, 1, 2]
    assert len(jobs._waiting) <= 5 and len(jobs._begun) <= 5 and not jobs._running


def test_runs_of_another_queue_are_not_before_a_run() -> None:
    jobs = Jobs()
    assert [jobs.ahead(name) for name in ("sweep a", "model b", "model c", "sweep d")] == [0, 0, 1, 1]
