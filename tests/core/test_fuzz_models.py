"""Damaged models, adapters and recipes of many seeds end in a result or a sentence; other ends would be noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2e_core import S2EError
from tests import fuzz_models
from tests.fuzz_models import Models, make_models, run_case, run_cases

CASES = 300


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("fuzz"))


def test_every_damage_ends_in_a_result_or_a_sentence(models):
    assert run_cases(range(CASES), models) == {}


def test_a_whole_model_ends_in_a_result(models, monkeypatch):
    monkeypatch.setattr(fuzz_models, "damage_file", lambda rng, path: None)
    for kind in set(fuzz_models.KINDS):
        monkeypatch.setattr(fuzz_models, "KINDS", [kind])
        monkeypatch.setattr(fuzz_models, "damage_json", lambda rng, value: value)
        assert run_case(1, models) is None


@pytest.mark.parametrize("error", [KeyError("name"), S2EError("No."), S2EError("This is said of {work}, at length.")])
def test_another_end_is_noticed(models, monkeypatch, error):
    def fail(rng: object, models: Models, work: Path) -> None:
        raise type(error)(str(error).replace("{work}", str(work)))

    monkeypatch.setattr(fuzz_models, "KINDS", [fail])
    assert run_case(1, models)
