"""Files from elsewhere in a real browser: each kind is shown before it is used, and a bad one changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from s2e_core import save_edit
from tests.ui.browser import PATIENCE, settled
from tests.ui.foreign_files import BAD, bad, good, tone_edit
from tests.ui.running import first_session, running_app, shared_store
from tests.ui.studio_page import arrive, figures, place, rest, set_count

CHANGES_NOTHING = ("cut_vector.safetensors", "payload.pt", "bomb.npz", "foreign.safetensors", "nan.npy", "notes.pt")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


@pytest.fixture
def visitor(page: Page, address: str) -> Page:
    arrive(page, address)
    page.click("#bring button")
    return page


def bring(page: Page, path: Path) -> None:
    """Another file in place of the one that is there."""
    there = page.locator("#bring-file button[aria-label='Remove this file'], #bring-file button[aria-label='Clear']")
    if there.count():
        there.first.click()
    page.set_input_files("#bring-file input[type=file]", path)


def test_each_kind_is_shown_then_used_and_everything_downstream_follows(visitor: Page, tmp_path: Path) -> None:
    read, status = visitor.locator("#bring-read"), visitor.locator("#status")
    own = figures(visitor)
    bring(visitor, good("pack.pt", tmp_path))
    expect(read).to_contain_text("no dial can tune it", timeout=PATIENCE)
    assert figures(visitor) == own and visitor.locator("#bring-texts").count() == 0
    visitor.click("#bring-use")
    expect(visitor.locator("#summary .verdict")).to_contain_text("finished edit you uploaded", timeout=PATIENCE)
    brought = tone_edit().count("heads"), tone_edit().count("neurons")
    assert figures(visitor) == brought
    rest(visitor)
    expect(visitor.locator("#summary .figure")).to_have_count(3)  # its scores are unknown, and what is chance with them
    expect(visitor.locator("#color [data-mode=lambda]")).to_have_attribute("aria-pressed", "true")
    expect(visitor.locator("#preset select")).to_have_value("Changed by hand")
    set_count(visitor, "heads", 3)
    assert place(visitor)["file"] is None
    expect(visitor.locator("#summary .verdict")).not_to_contain_text("you uploaded")
    visitor.click("#undo")
    expect(visitor.locator("#summary .verdict")).to_contain_text("finished edit you uploaded", timeout=PATIENCE)
    settled(visitor)
    assert figures(visitor) == brought
    rest(visitor)
    bring(visitor, good("vector.gguf", tmp_path))
    expect(read).to_contain_text("unless you give texts of your own", timeout=PATIENCE)
    expect(visitor.locator("#bring-texts")).to_be_visible()
    visitor.locator("#bring-opposite input").check()
    visitor.click("#bring-use")
    expect(status).to_contain_text("Mean inputs of the examples of “Safety”", timeout=PATIENCE)
    expect(status).to_contain_text("Taken the other way round")
    expect(visitor.locator("#swap input")).to_be_disabled(timeout=PATIENCE)
    assert sum(figures(visitor)) > 0 and visitor.locator("#summary .figure").count() == 4
    rest(visitor)
    with visitor.expect_download(timeout=2 * PATIENCE) as started:
        visitor.click("#recipe")
    assert started.value.suggested_filename.endswith(".safetensors")
    visitor.click("#extract")
    expect(status).to_contain_text("Wanted", timeout=PATIENCE)
    expect(visitor.locator("#swap input")).to_be_enabled(timeout=PATIENCE)
    rest(visitor)
    assert figures(visitor) == own
    both = replace(tone_edit(), also=(first_session().edit,))
    bring(visitor, save_edit(both, tmp_path / "both.safetensors"))
    expect(read).to_contain_text(", on top of a finished edit of", timeout=PATIENCE)
    visitor.click("#bring-use")
    expect(visitor.locator("#under label")).to_have_text("Below: Safety", timeout=PATIENCE)
    rest(visitor)
    expect(visitor.locator("#recipe")).to_contain_text("Recipe · both edits", timeout=PATIENCE)
    assert figures(visitor) == brought


@pytest.mark.parametrize(
    ("n_rows", "field", "extent"), [(1, "layer", "1 of 6 layers (2,"), (7, "skip-first", "6 of 6 layers")]
)
def test_a_vector_whose_layers_the_file_leaves_open_is_asked_about_and_then_used(
    visitor: Page, tmp_path: Path, n_rows: int, field: str, extent: str
) -> None:
    vector = np.outer(np.linspace(1, 2, n_rows), np.cos(np.arange(160)))
    np.save(tmp_path / "open.npy", vector[0] if n_rows == 1 else vector)
    asked = visitor.locator(f"#bring-{field}")
    expect(asked).to_have_count(0)
    bring(visitor, tmp_path / "open.npy")
    expect(asked).to_be_visible(timeout=PATIENCE)
    expect(visitor.locator("#bring-use")).to_be_disabled()
    if field == "layer":
        asked.locator("input").fill("2")
        asked.locator("input").blur()
    else:
        asked.locator("input").check()
    expect(visitor.locator("#bring-read")).to_contain_text(extent, timeout=PATIENCE)
    visitor.click("#bring-use")
    expect(visitor.locator("#status")).to_contain_text("Mean inputs of the examples of “Safety”", timeout=PATIENCE)
    rest(visitor)
    assert sum(figures(visitor)) > 0


def test_bad_files_get_one_sentence_and_change_nothing(visitor: Page, tmp_path: Path) -> None:
    before = visitor.inner_html("#summary"), visitor.inner_text("#status")
    for name in CHANGES_NOTHING:
        bring(visitor, bad(name, tmp_path))
        toast = visitor.locator(".toast-body").last
        expect(toast).to_contain_text(re.compile(BAD[name][1]), timeout=PATIENCE)
        assert visitor.locator(".toast-body").count() == 1, name
        visitor.locator(".toast-close").first.click()
        expect(visitor.locator(".toast-body")).to_have_count(0, timeout=PATIENCE)
        expect(visitor.locator("#bring-read")).to_contain_text("Nothing was read", timeout=PATIENCE)
        expect(visitor.locator("#bring-use")).to_be_disabled()
        assert (visitor.inner_html("#summary"), visitor.inner_text("#status")) == before, name
    assert not (tmp_path / "ran").exists()
