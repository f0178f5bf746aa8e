"""Tests of the second thread that copies bytes: it is complete, counted, stopped, and reports its errors."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from s2e_core import Cancelled, ExportError
from s2e_core.files import Meter, Span, copy_alongside, copying

SIZE = 10_000
PATIENCE_SECONDS = 30.0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(os.urandom(SIZE))
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").write_bytes(bytes(SIZE))
    return tmp_path / "target"


def test_spans_are_complete_when_the_block_is_left(source, target):
    content = source.read_bytes()
    spans = [Span(source, 0, target, 6000, 4000), Span(source, 7000, target, 0, 1), Span(source, 5, target, 9, 0)]
    with copy_alongside(spans, Meter(4001, None)):
        pass
    assert target.read_bytes() == content[7000:7001] + bytes(5999) + content[:4000]


def test_both_threads_count_and_only_the_calling_one_reports(source, target, monkeypatch):
    monkeypatch.setattr(copying, "PIECE", 10)
    reports: list[tuple[int, threading.Thread]] = []
    meter = Meter(2 * SIZE, lambda done, total: reports.append((done, threading.current_thread())))
    with copy_alongside([Span(source, 0, target, 0, SIZE)], meter):
        for _ in range(SIZE // 10):
            meter.add(10)
    assert {thread for _, thread in reports} == {threading.current_thread()}
    counts = [done for done, _ in reports]
    assert counts == sorted(set(counts)) and counts[-1] == 2 * SIZE


def test_stop_in_the_block_ends_the_copying(source, target, monkeypatch):
    monkeypatch.setattr(copying, "PIECE", 1)
    with pytest.raises(Cancelled), copy_alongside([Span(source, 0, target, 0, SIZE)] * 1000, Meter(1, None)):
        raise Cancelled("Stopped.")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("copy")]
    assert target.read_bytes() != source.read_bytes()


def test_stop_is_noticed_while_only_the_second_thread_is_at_work(source, target, monkeypatch):
    monkeypatch.setattr(copying, "PIECE", 1)
    monkeypatch.setattr(copying, "_POLL_SECONDS", 0.01)

    def stop(done: int, total: int) -> None:
        raise Cancelled("Stopped.")

    start = time.monotonic()
    with (
        pytest.raises(Cancelled),
        copy_alongside([Span(source, 0, target, 0, SIZE)] * 10_000, Meter(20 * SIZE, stop)),
    ):
        pass
    assert time.monotonic() - start < PATIENCE_SECONDS


@pytest.mark.parametrize("broken", ["missing", "short"])
def test_an_error_in_the_second_thread_is_raised(source, target, broken):
    if broken == "missing":
        source.unlink()
    with (
        pytest.raises(ExportError, match="cannot be read" if broken == "missing" else "became shorter"),
        copy_alongside([Span(source, 0, target, 0, SIZE + 1)], Meter(SIZE, None)),
    ):
        pass


def test_an_error_in_the_block_is_the_one_that_is_raised(source, target):
    source.unlink()
    with pytest.raises(ZeroDivisionError), copy_alongside([Span(source, 0, target, 0, SIZE)], Meter(SIZE, None)):
        raise ZeroDivisionError
