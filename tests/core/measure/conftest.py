"""What the tests of the screen share: the bundled model with few examples of a mood, extracted once."""

import pytest

from s2e_core import extract, load_behavior, load_model
from s2e_core.data import GateTexts, behavior_gate_texts, contrast_set


@pytest.fixture(scope="session")
def bundled():
    return load_model("bundled", device="cpu")


@pytest.fixture(scope="session")
def few_pairs():
    """Twenty examples a side of the bundled behaviour `tone`."""
    contrast = load_behavior("tone").contrast
    return contrast_set(contrast.positive[::6], contrast.negative[::6], name="tone")


@pytest.fixture(scope="session")
def few_texts():
    """Few prompts of each kind."""
    texts = behavior_gate_texts(load_behavior("tone"))
    return GateTexts(texts.on[::4], texts.off[::4], texts.probes[::3], texts.harmless, answer_tokens=24)


@pytest.fixture(scope="session")
def tone(bundled, few_pairs, few_texts):
    return extract(bundled, few_pairs, texts=few_texts)
