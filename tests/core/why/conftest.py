"""What the tests of this package share: the bundled model with a behaviour's scores and an edit."""

import pytest

from s2e_core import build_edit, extract, load_behavior, load_model
from s2e_core.data import contrast_set


@pytest.fixture(scope="session")
def bundled():
    return load_model("bundled", device="cpu")


@pytest.fixture(scope="session")
def tone_pairs():
    """Twenty examples a side of the bundled behaviour `tone`."""
    contrast = load_behavior("tone").contrast
    return contrast_set(contrast.positive[::6], contrast.negative[::6], name="tone")


@pytest.fixture(scope="session")
def tone(bundled, tone_pairs):
    return extract(bundled, tone_pairs)


@pytest.fixture(scope="session")
def tone_edit(tone):
    return build_edit(tone, load_behavior("tone").settings)
