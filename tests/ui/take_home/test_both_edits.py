"""Downloads of an edit under which another lies contain both, and their buttons say so."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load

from components.page.view import resting_view
from components.shared.session import Session, Under
from components.take_home.copying import as_command, as_python
from components.take_home.handlers import exported
from s2e_core import load_edit
from s2e_core.export import WEIGHTS_FILE
from tests.ui.edits import with_strength
from tests.ui.running import first_session, shared_store


@pytest.fixture(scope="module")
def session() -> Session:
    above = with_strength(first_session(), 2.0)
    below = replace(above.edit, left=tuple(left.roll(1) for left in above.edit.left))
    return replace(above, under=Under("Tone", below))


def test_the_adapter_has_a_row_for_each(session: Session) -> None:
    *_, parcel = exported(shared_store(), session, "adapter")
    assert "The adapter does what the preview showed" in parcel.report
    with zipfile.ZipFile(parcel.path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(WEIGHTS_FILE))
        factors = load(archive.read(name))
    assert factors and all(min(factor.shape) == 2 for factor in factors.values())


def test_the_recipe_holds_both(session: Session) -> None:
    *_, parcel = exported(shared_store(), session, "recipe")
    again = load_edit(parcel.path, base=shared_store().model(session.model))
    assert session.under is not None and len(again.parts) == 2
    assert all(map(torch.equal, again.parts[0].right, session.edit.right))
    assert all(map(torch.equal, again.parts[1].left, session.under.edit.left))


def test_the_buttons_say_so_and_what_is_copied_points_to_the_recipe(session: Session) -> None:
    for kind in ("checkpoint", "adapter", "gguf_lora", "mlx", "recipe"):
        with_both = resting_view(shared_store(), session, "stored")[kind]["value"]
        alone = resting_view(shared_store(), replace(session, under=None), "stored")[kind]["value"]
        assert "both edits" in with_both and "both edits" not in alone
    for text in (as_python(shared_store(), session), as_command(shared_store(), session)):
        assert text.startswith("# Another edit lies under this one: save the recipe, it holds both.")
