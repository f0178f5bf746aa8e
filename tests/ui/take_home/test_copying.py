"""The edit as lines to copy: the Python makes the same edit, the command the same recipe."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from components.shared.session import Session
from components.take_home.copying import as_command, as_python
from s2e_core import Component, Selection, WeightEdit, load_edit, swapped
from s2e_core.cli import main
from s2e_core.settings import Gate
from tests.ui.edits import with_count
from tests.ui.running import first_session, shared_store, store_beside


def gated(session: Session) -> Session:
    settings = replace(session.settings, rho_attn=None, rho_mlp=None, strength=1.0, gate=Gate(0.7, 10.0, 60))
    return session.with_settings(settings)


def summed(session: Session) -> Session:
    return session.with_settings(replace(session.settings, gate=Gate(1.5, 10.0, 100), protect=2))


def by_hand(session: Session) -> Session:
    session = with_count(with_count(session, "heads", 6), "neurons", 40)
    one, other = Component(2, 1), Component(2, 3)
    selection = Selection(included=frozenset({one}), excluded=frozenset({other}), layers=(1, 4))
    return session.with_settings(
        replace(session.settings, selection=selection, strengths=MappingProxyType({one: 1.5}))
    )  # fmt: skip


EDITS = {
    "opening": lambda session: session,
    "counts": lambda session: with_count(with_count(session, "heads", 5), "neurons", 30),
    "gated": gated,
    "sum": summed,
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
