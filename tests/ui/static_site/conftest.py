"""The static site of two behaviours, built once a worker and served without Python."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from components.shared.store import ModelStore
from components.static_site.build import build
from tests.ui.running import shared_store, store_beside
from tests.ui.tab_model.serving import served_folder


@pytest.fixture(scope="session")
def store() -> ModelStore:
    """Two behaviours, which is enough to change between them."""
    made, names = store_beside(), ("safety", "tone")
    fewer = {
        folder: tuple(one for one in found if one.name in names) for folder, found in shared_store()._behaviors.items()
    }
    made.__dict__["_behaviors"] = fewer
    return made


@pytest.fixture(scope="session")
def site(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("static") / "site"
    build(store, folder)
    with served_folder(folder) as address:
        yield address
