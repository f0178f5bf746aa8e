"""The page on a model whose files are quantised: all of it works, and the one export that cannot be says why."""

from __future__ import annotations

from pathlib import Path

import pytest

import app
from components.compare.handlers import Request, compared
from components.page.options import options, store_of
from components.page.view import resting_view
from components.shared.choices import Choice, opened
from components.shared.session import Session
from components.shared.store import ModelStore
from components.take_home.handlers import Parcel, exported
from s2e_core import ExportError, load_model

pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    folder = tmp_path_factory.mktemp("models") / "small"
    small = load_model("bundled", device="cpu", quantize="int8")
    small.model.save_pretrained(folder)
    small.tokenizer.save_pretrained(folder)
    return store_of(options(["--model", str(folder), "--device", "cpu"]), tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def session(store: ModelStore) -> Session:
    behavior = store.behavior_list[0]
    choice = Choice(store.first_model, behavior.name)
    return opened(store, choice, store.scored(store.first_model, behavior.contrast, behavior))


def test_the_page_opens_and_the_export_that_is_not_possible_has_no_size(store: ModelStore, session: Session) -> None:
    assert app.build(store).fns
    view = resting_view(store, session, "stored")
    assert view["checkpoint"]["value"] == "Edited checkpoint" and view["checkpoint"]["interactive"]
    assert view["adapter"]["value"].startswith("LoRA adapter · ") and view["recipe"]["value"].startswith("Recipe · ")


def test_texts_are_compared_and_all_but_the_checkpoint_goes_home(store: ModelStore, session: Session) -> None:
    *_, value = compared(store, session, Request("Who are you?", 8))
    assert len(value["columns"]) == 2 and all(column["segments"] for column in value["columns"])
    for kind in ("adapter", "recipe", "control-vector"):
        *_, parcel = exported(store, session, kind)
        assert isinstance(parcel, Parcel) and Path(parcel.path).is_file(), kind
    with pytest.raises(ExportError, match="files are quantised.*adapter or a recipe"):
        list(exported(store, session, "checkpoint"))
