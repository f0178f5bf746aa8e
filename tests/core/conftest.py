"""Fixtures that the tests of checkpoints and exports share."""

import shutil

import pytest

from s2e_core import load_model
from tests.core.edits import CASES


@pytest.fixture(scope="module", params=CASES, ids=lambda name: name.replace(" ", "_"))
def loaded(request, tmp_path_factory):
    return load_model(CASES[request.param](tmp_path_factory.mktemp("case") / "model"), device="cpu")


@pytest.fixture
def model_folder(llama, tmp_path):
    """A copy of the tiny model's folder that a test may change before it is loaded."""
    return shutil.copytree(llama.source, tmp_path / "model")
