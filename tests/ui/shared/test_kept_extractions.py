"""What the page extracts outlasts the program, unless the operator switches that off."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.page.options import options, store_of
from s2e_core.cache import cached
from tests.ui.running import shared_store


def test_a_page_that_starts_again_reads_no_example_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEER2EDIT_CACHE", str(tmp_path / "cache"))
    first, second = (store_of(options([]), tmp_path) for _ in range(2))
    contrast = first.behavior("tone").contrast
    made = first.scored(first.first_model, contrast)
    monkeypatch.delattr(cached, "extract")
    read = second.scored(second.first_model, contrast)
    assert all(torch.equal(a, b) for a, b in zip(read.scores.g, made.scores.g, strict=True))


def test_the_operator_can_switch_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEER2EDIT_CACHE", str(tmp_path))
    assert store_of(options(["--no-cache"]), tmp_path).cache is None
    assert store_of(options([]), tmp_path).cache is not None


def test_the_pages_of_tests_keep_nothing() -> None:
    cache = shared_store().cache
    assert cache is not None and not cache.folder.exists()
