"""Two checkpoints on the page: what a visitor may open, what is found, and how it comes into the dials."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from components.shared.session import Session
from components.shared.store import ModelStore
from components.take_home.handlers import zipped
from components.why.checkpoints import BINS, Chosen, checkpoints_opened, with_nearest, with_own
from components.why.handlers import component_at
from s2e_core import InteropError, ModelLoadError, S2EError, SettingsError, export_adapter, export_checkpoint, save_edit
from s2e_core.export import CONFIG_FILE, WEIGHTS_FILE
from s2e_core.settings_json import settings_to_json
from s2e_core.spec import KINDS
from s2e_core.why import weight_difference
from tests.ui.browser import settled
from tests.ui.running import first_session, running_app, shared_store, store_beside
from tests.ui.studio_page import arrive, choose_behavior, place, rest


@pytest.fixture(scope="module")
def other() -> Session:
    """The page with another edit than the one it opens with, of heads and neurons."""
    session = first_session()
    return session.with_settings(replace(session.settings, rho_attn=0.25, strength=0.8))


@pytest.fixture(scope="module")
def made(other: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That edit as what a visitor may have: a checkpoint, an adapter, archives of both, and a recipe."""
    folder = tmp_path_factory.mktemp("made")
    loaded = shared_store().model(other.model)
    export_checkpoint(loaded, other.edit, folder / "checkpoint")
    export_adapter(loaded, other.edit, folder / "adapter")
    for name in ("checkpoint", "adapter"):
        zipped(folder / name, folder / f"{name}.zip", lambda done, total: None)
    save_edit(other.edit, folder / "recipe.safetensors")
    return folder


def opened(store: ModelStore, session: Session, *files: Path, model: str = "") -> dict[str, Any]:
    *_, (_, value) = checkpoints_opened(store, session, Chosen(model, tuple(map(str, files))))
    assert value is not None
    return value


@pytest.mark.parametrize(
    "files",
    [
        ["checkpoint.zip"], ["adapter.zip"], ["recipe.safetensors"], ["checkpoint/model.safetensors"],
        [f"adapter/{WEIGHTS_FILE}", f"adapter/{CONFIG_FILE}"],
    ],
    ids=lambda files: files[0].replace("/", "_"),
)  # fmt: skip
def test_the_recipe_behind_an_upload_comes_into_the_dials(made: Path, other: Session, files: list[str]) -> None:
    session = first_session()
    value = opened(shared_store(), session, *(made / name for name in files))
    json.dumps(value, allow_nan=False)
    assert value["nearest"]["explained"] > 0.999 and value["each_rank_one"] > 0.999 and value["reversed"] is None
    edit, spec = other.edit, other.edit.spec
    assert [value[kind] for kind in KINDS] == [edit.count(kind) for kind in KINDS]
    for one in value["largest"]:
        component = component_at(spec, one["number"])
        assert float(edit.strength[component.site][component.index]) != 0
    loaded = with_nearest(session, value)
    assert loaded.settings.rho_attn == pytest.approx(0.25 * 0.5 / 0.8 * (0.6 + 0.4 * 0.8 / 0.5), rel=5e-3)
    for mine, theirs in zip(loaded.edit.right, edit.right, strict=True):
        torch.testing.assert_close(mine, theirs, atol=5e-3, rtol=2e-2)
    own = with_own(shared_store(), session, value)
    assert own.brought is not None and own.recipe == f"difference from {files[0].rpartition('/')[2]}"
    change = torch.outer(own.edit.left[0], own.edit.right[0])
    torch.testing.assert_close(change, torch.outer(edit.left[0], edit.right[0]), atol=5e-3, rtol=5e-2)


def test_the_settings_of_the_page_are_recognised(made: Path, other: Session) -> None:
    value = opened(shared_store(), other, made / "checkpoint.zip")
    assert value["nearest"]["settings"] == settings_to_json(other.settings)


def test_a_cell_is_the_component_that_changed_most(made: Path) -> None:
    store, session = shared_store(), first_session()
    value = opened(store, session, made / "recipe.safetensors")
    loaded = store.model(session.model)
    difference = weight_difference(loaded, with_own(store, session, value) and _edited(made))
    for kind in KINDS:
        rows, numbers = value["maps"][kind]["rows"], value["maps"][kind]["numbers"]
        assert len(rows) == loaded.spec.n_layers and len(rows[0]) <= BINS
        for layer, (row, at) in enumerate(zip(rows, numbers, strict=True)):
            (site,) = [i for i in loaded.spec.of_kind(kind) if loaded.spec.sites[i].layer == layer]
            assert max(row) == pytest.approx(float(difference.relative[site].max()), rel=1e-5)
            for relative, number in zip(row, at, strict=True):
                if number >= 0:
                    component = component_at(loaded.spec, number)
                    assert component.site == site
                    found = float(difference.relative[site][component.index])
                    assert relative == pytest.approx(found, rel=1e-5, abs=1e-9)


def _edited(made: Path) -> Any:
    from s2e_core.why import open_weights

    return open_weights(shared_store().model(first_session().model), made / "recipe.safetensors")


def test_no_copy_of_an_upload_stays(made: Path, tmp_path: Path) -> None:
    store = store_beside(work=tmp_path / "work")
    opened(store, first_session(), made / "checkpoint.zip")
    assert not list((tmp_path / "work").iterdir())
    steps = checkpoints_opened(store, first_session(), Chosen(files=(str(made / "checkpoint.zip"),)))
    next(steps)
    steps.close()  # as a Stop does


def test_what_cannot_be_opened_is_a_sentence(made: Path, tmp_path: Path) -> None:
    store, session = shared_store(), first_session()
    (tmp_path / "weights.bin").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    shutil.copy(made / "recipe.safetensors", tmp_path / "two.safetensors")
    (tmp_path / "text.safetensors").write_text("This is no checkpoint, it is a sentence.")
    few = store_beside(limits=replace(store.limits, file_megabytes=1))
    cases: list[tuple[ModelStore, tuple[Path, ...], str]] = [
        (store, (tmp_path / "weights.bin",), "Other formats can run code"),
        (store, (tmp_path / "model.safetensors",), "complete safetensors"),
        (store, (tmp_path / "text.safetensors",), r"^text\.safetensors in the upload is not complete.*renamed file"),
        (store, (tmp_path / "gone.safetensors",), "Upload it again"),
        (store, (tmp_path / "two.safetensors", made / "recipe.safetensors"), "Give one .safetensors"),
        (store, (made / "adapter" / CONFIG_FILE,), "Give one .safetensors"),
        (few, (made / "checkpoint.zip",), "larger than 1 MB"),
    ]
    for where, files, said in cases:
        with pytest.raises(InteropError, match=said):
            opened(where, session, *files)
    with pytest.raises(SettingsError, match="Choose another model or upload a file"):
        opened(store, session)
    with pytest.raises(S2EError, match="bit by bit"):
        opened(store, session, model=session.model)


@pytest.mark.parametrize("name", ["/etc", "../..", "assets/demo_model", "owner/name", "~"])
def test_a_path_or_a_hub_name_that_is_typed_opens_nothing(name: str) -> None:
    with pytest.raises(ModelLoadError, match=r"no model|switched off"):
        opened(shared_store(), first_session(), model=name)


def test_what_was_found_for_another_page_is_not_loaded(made: Path) -> None:
    store, session = shared_store(), first_session()
    value = opened(store, session, made / "recipe.safetensors")
    for wrong in (None, {}, value | {"key": "another"}):
        with pytest.raises(SettingsError, match="Press Open and compare again"):
            with_nearest(session, wrong)
        with pytest.raises(SettingsError, match="Press Open and compare again"):
            with_own(store, session, wrong)
    with pytest.raises(SettingsError, match="no recipe to load"):
        with_nearest(session, value | {"nearest": None})
    with pytest.raises(SettingsError, match="Press Open and compare again"):
        with_own(store, session, value | {"own": "gone"})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


def by_keyboard(page: Page) -> None:
    """One cell of each picture is a stop of the Tab key, arrows go to the others, Enter opens one."""
    drawn = page.locator(".why-two svg:has(.why-change)")
    assert drawn.count() == 2
    for n in range(2):
        cells = drawn.nth(n).locator(".why-change")
        assert drawn.nth(n).locator(".why-change[tabindex='0']").count() == 1 and cells.count() > 3
        cells.first.focus()
        seen = []
        for key in ("ArrowDown", "ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
            seen.append(int(page.evaluate("() => document.activeElement.dataset.number")))
        page.keyboard.press("Enter")
        assert len(set(seen)) == 3 and page.evaluate("() => window.steer2edit.state().focus") == seen[-1]
        assert drawn.nth(n).locator(".why-change[tabindex='0']").get_attribute("data-number") == str(seen[-1])


def test_a_visitor_opens_a_checkpoint_and_has_its_recipe(page: Page, address: str, made: Path) -> None:
    arrive(page, address)
    page.locator("#checkpoints button").first.click()
    page.click("#two-run")
    expect(page.locator(".toast-body")).to_contain_text("Choose another model or upload a file first.")
    page.locator(".toast-body button").first.click()
    page.set_input_files("#two-file input[type=file]", str(made / "checkpoint.zip"))
    expect(page.locator("#two-file")).to_contain_text(re.compile(r"checkpoint\s*\.zip"))  # the end is an element
    settled(page)
    page.click("#two-run")
    page.wait_for_selector(".why-two .why-along")
    settled(page)
    shown = page.locator(".why-two")
    expect(shown).to_contain_text("28 of 48 heads and 276 of 2,688 neurons differ")
    expect(shown).to_contain_text("explains 100% of the difference")
    cell = shown.locator(".why-change").last
    number = int(cell.get_attribute("data-number") or -1)
    cell.dispatch_event("click")
    assert page.evaluate("() => window.steer2edit.state().focus") == number
    by_keyboard(page)
    before = place(page)["settings"]
    shown.get_by_role("button", name="Load it into the dials").click()
    settled(page)
    rest(page)
    found = place(page)["settings"]
    assert found != before and found["rho_attn"] is not None and place(page)["file"] is None
    assert page.locator("#summary .figure b").first.inner_text() == "28"
    shown.get_by_role("button", name="Load the nearest rank-1 edit").click()
    settled(page)
    rest(page)
    assert place(page)["file"]["name"] == "difference from checkpoint.zip"
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    rest(page)
    assert place(page)["settings"] == before and place(page)["file"] is None
    expect(shown).to_have_class("why-two")
    choose_behavior(page, 2)
    page.wait_for_function("() => window.steer2edit.place().behavior === 'tone'")
    rest(page)
    expect(shown).to_have_class("why-two outdated")
    shown.get_by_role("button", name="Load it into the dials").click()
    expect(page.locator(".toast-body")).to_contain_text("Press Open and compare again.")
