"""The edit as lines to copy: the Python makes the same edit, the command the same recipe."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from components.select.copying import as_command, as_python

from components.select import dials, families
from components.shared.session import Session
from s2e_core import WeightEdit, load_edit, swapped
from s2e_core.cli import main
from tests.ui.running import first_session, shared_store, store_beside


def gated(session: Session) -> Session:
    return families.set_size(families.set_gamma(families.set_family(session, "gated"), 0.7), 60)


def by_hand(session: Session) -> Session:
    session = dials.set_layers(dials.set_count(dials.set_count(session, "heads", 6), "neurons", 40), 1, 4)
    focus = session.focus
    assert focus is not None
    return dials.set_component_strength(dials.toggle(session, [focus, replace_index(focus, 2)]), 1.5)


def replace_index(component, index):
    return component._replace(index=index)


EDITS = {
    "opening": lambda session: session,
    "counts": lambda session: dials.set_count(dials.set_count(session, "heads", 5), "neurons", 30),
    "gated": gated,
    "sum": lambda session: families.set_protect(families.set_family(session, "sum"), 2),
    "by hand": by_hand,
}


def same(one: WeightEdit, other: WeightEdit) -> bool:
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one.right, other.right, strict=True))


@pytest.mark.parametrize("name", EDITS)
def test_the_python_makes_the_edit_on_the_page(name: str) -> None:
    session = EDITS[name](first_session())
    made: dict[str, object] = {}
    exec(compile(as_python(shared_store(), session), "<copied>", "exec"), made)
    assert isinstance(made["edit"], WeightEdit) and same(made["edit"], session.edit)


@pytest.mark.parametrize("name", ["opening", "counts", "gated", "sum"])
def test_the_command_saves_the_edit_on_the_page(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session, store = EDITS[name](first_session()), shared_store()
    program, *words = shlex.split(as_command(store, session))
    monkeypatch.chdir(tmp_path)
    assert program == "steer2edit" and main(words) == 0
    (recipe,) = tmp_path.iterdir()
    assert same(load_edit(recipe, base=store.model(session.model)), session.edit)


def test_what_no_option_says_is_said_and_turned_sides_are_in_the_python() -> None:
    session, store = first_session(), shared_store()
    assert as_command(store, by_hand(session)).startswith("# Components were chosen by hand")
    turned = replace(session, swapped=True)
    assert as_command(store, turned).startswith("# The two sides are swapped")
    assert "contrast = swapped(behavior.contrast)" in as_python(store, turned)
    assert swapped.__name__ in as_python(store, turned).splitlines()[0]


def test_a_folder_of_the_operator_is_not_told(tmp_path: Path) -> None:
    session = first_session()
    sources = {session.model: tmp_path, "owner/name@v1": "owner/name@v1"}
    store = store_beside(sources=sources)
    assert str(tmp_path) not in as_python(store, session) + as_command(store, session)
    assert "load_model('path/to/model')" in as_python(store, session)
    hub = replace(session, model="owner/name@v1")
    assert "load_model('owner/name', revision='v1')" in as_python(store, hub)
    assert "--model owner/name --revision v1" in as_command(store, hub)
