"""Damaged data files and vectors, a few hundred of them; `python -m tests.fuzz_data 20000` is the long run."""

import pytest

from tests import fuzz_data

N = 400


def test_damaged_data_files_and_vectors_end_in_a_result_or_a_sentence() -> None:
    assert not [f"seed {one.seed}: {one.error}" for one in fuzz_data.failures(N)]


def test_a_reader_that_fails_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(fuzz_data, "read_examples", broken)
    (failure, *_) = fuzz_data.failures(3)
    assert failure.name == "read_data" and "a bug" in failure.error
