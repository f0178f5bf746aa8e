"""A visitor with a gate: the dials of every family, a run, the file to take home and the same file brought back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect

from components.shared.session import Session
from components.studio.place import session_of
from s2e_core import save_edit
from s2e_core.method import edited_mask
from s2e_core.settings import Gate
from s2e_core.settings_json import settings_to_json
from tests.ui.browser import PATIENCE
from tests.ui.running import first_session, running_app, shared_store
from tests.ui.studio_page import arrive, figures, open_advanced, place, rest, set_slider

NET = ("heads-count", "neurons-count", "rho-attn", "rho-mlp", "alpha", "heads-on", "neurons-on")
GATE = ("gate-gamma", "gate-size", "protect")
FAMILIES = {
    "elastic": NET, "baked": GATE, "gated": (*GATE, "gate-mu"), "sum": (*NET, *GATE, "gate-mu"),
}  # fmt: skip


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


def choose_family(page: Page, family: str) -> None:
    open_advanced(page)
    page.select_option("#family select", family)
    solved(page)


def solved(page: Page) -> None:
    """Until the server has fitted the edit, and everything has followed."""
    rest(page)
    expect(page.locator("#summary")).to_have_attribute("aria-busy", "false", timeout=PATIENCE)


def session_on(page: Page) -> Session:
    return session_of(shared_store(), place(page))


def check_shown(page: Page) -> Session:
    """The page says what the core builds of what the page was told."""
    session = session_on(page)
    assert figures(page) == (session.edit.count("heads"), session.edit.count("neurons"))
    return session


def number(page: Page, name: str) -> float:
    return float(page.input_value(f"#{name} input[type=number]"))


def test_the_page_shows_the_dials_of_the_family_alone(page: Page, address: str) -> None:
    arrive(page, address)
    for family, names in FAMILIES.items():
        choose_family(page, family)
        for name in (*NET, *GATE, "gate-mu"):
            assert page.is_visible(f"#{name}") == (name in names), (family, name)
        assert page.is_visible("#strength"), "it multiplies every family"
        check_shown(page)


def test_every_dial_of_a_gate_changes_the_edit_and_is_one_step_of_undo(page: Page, address: str) -> None:
    arrive(page, address)
    choose_family(page, "gated")
    start = check_shown(page)
    for name, value in (("gate-gamma", 0.5), ("gate-size", 40), ("protect", 8)):
        set_slider(page, name, value)
        solved(page)
        edit = check_shown(page).edit
        assert not all(torch.equal(a, b) for a, b in zip(edit.right, start.edit.right, strict=True)), name
        page.click("#undo")
        solved(page)
        assert settings_to_json(session_on(page).settings) == settings_to_json(start.settings)
    page.select_option("#gate-mu select", "1")
    solved(page)
    gate = check_shown(page).settings.gate
    assert gate is not None and gate.mu == 1


def test_a_click_under_a_gate_edits_what_was_clicked_and_a_second_takes_it_back(page: Page, address: str) -> None:
    arrive(page, address)
    choose_family(page, "gated")
    set_slider(page, "gate-size", 30)
    solved(page)
    before = check_shown(page)
    selected = torch.cat(edited_mask(before.scored.extraction, before.settings))
    row = page.locator("#table tbody tr:not(.edited)").first
    clicked = int(row.get_attribute("data-number") or -1)
    assert not selected[clicked]
    for on in (True, False):
        page.locator(f"#table tr[data-number='{clicked}'] input").click()
        solved(page)
        session = check_shown(page)
        now = torch.cat(edited_mask(session.scored.extraction, session.settings))
        assert bool(now[clicked]) is on and int((now != selected).sum()) == on


def test_nothing_under_a_gate_is_an_edit_like_any_other(page: Page, address: str) -> None:
    arrive(page, address)
    choose_family(page, "gated")
    page.click("#none")
    solved(page)
    assert figures(page) == (0, 0) and "Nothing is edited" in page.inner_text("#summary")
    page.click("#undo")
    solved(page)
    assert sum(figures(page)) > 0


def test_a_gate_is_moved_compared_taken_home_and_brought_back(page: Page, address: str, tmp_path: Path) -> None:
    arrive(page, address)
    choose_family(page, "gated")
    set_slider(page, "gate-gamma", 2.5)
    solved(page)
    edited, size = figures(page), number(page, "gate-size")
    assert "2.50 times the steering vector" in page.inner_text("#advanced .formula")
    page.click("#color button[data-mode=when]")
    expect(page.locator("#heads")).to_contain_text("harmless texts")
    page.click("#run")
    rest(page)
    assert page.locator("#texts .text").count() == 2
    with page.expect_download(timeout=PATIENCE) as download:
        page.click("#recipe")
    path = tmp_path / "gate.safetensors"
    download.value.save_as(path)
    choose_family(page, "baked")
    choose_family(page, "elastic")
    bring(page, path)
    expect(page.locator("#family select")).to_have_value("gated")
    solved(page)
    assert (number(page, "gate-gamma"), number(page, "gate-size"), number(page, "protect")) == (2.5, size, 0)
    assert page.input_value("#gate-mu select") == "10" and figures(page) == edited


def test_a_recipe_of_a_gate_sets_its_dials_whatever_they_are(page: Page, address: str, tmp_path: Path) -> None:
    start = first_session()
    gate = Gate(6.0, 5.0, 1500)
    made = start.with_settings(replace(start.settings, rho_attn=None, rho_mlp=None, gate=gate, protect=40))
    arrive(page, address)
    bring(page, save_edit(made.edit, tmp_path / "gate.safetensors"))
    expect(page.locator("#family select")).to_have_value("gated")
    solved(page)
    open_advanced(page)
    assert [number(page, name) for name in GATE] == [6.0, 1500.0, 40.0]
    assert page.input_value("#gate-mu select") == "5"
    assert figures(page) == (made.edit.count("heads"), made.edit.count("neurons"))
    for name, value in (("gate-gamma", 6), ("gate-size", 1500), ("protect", 40)):
        assert float(page.input_value(f"#{name} input[type=range]")) == value, "the slider reaches so far"


def bring(page: Page, path: Path) -> None:
    page.click("#bring button")
    page.set_input_files("#bring-file input[type=file]", path)
    expect(page.locator("#bring-read")).to_contain_text("A recipe of this program", timeout=PATIENCE)
    page.click("#bring-use")
