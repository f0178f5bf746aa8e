"""What the page says and draws for models whose layers differ: without heads, with fewer heads, with norms behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.page.view import opening_view, resting_view
from components.shared.choices import Choice, opened
from components.shared.model_names import model_sources
from components.shared.session import Session
from components.shared.store import ModelStore
from components.studio.facts import facts
from components.take_home.handlers import exported
from s2e_core import Example, ExportError
from s2e_core.data import contrast_set
from s2e_core.export import export_mlx
from tests.families import saved_folder

FEW = contrast_set([Example("a", "b"), Example("b", "good")], [Example("a", "c")], name="few")


def visit(folder: Path, model_type: str, **options: Any) -> tuple[ModelStore, Session]:
    """The session of a page that opens with a tiny model of this type."""
    saved_folder(folder / "mine", model_type, **options)
    store = ModelStore(sources=model_sources(str(folder / "mine"), []), work=folder, device="cpu")
    session = opened(store, Choice(store.first_model, "formality"), store.scored(store.first_model, FEW))
    return store, session


def status_of(store: ModelStore, session: Session) -> str:
    status: str = opening_view(store, session)["status"]
    return status


def heads_drawn(session: Session) -> list[int]:
    """Cells of every row of the picture of heads that are heads; the others are hatched."""
    sent = facts(session, table_rows=100)
    heads = [site for site in sent["sites"] if site["kind"] == "heads"]
    return [sum(site["n"] for site in heads if site["layer"] == layer) for layer in range(sent["n_layers"])]


def test_rows_without_heads_stay_and_the_page_says_why(tmp_path: Path) -> None:
    store, session = visit(tmp_path, "lfm2")
    assert heads_drawn(session) == [0, 4, 4]
    told = "No attention heads in layer 0: tokens are mixed by conv (Lfm2ShortConv), which is not"
    assert told in status_of(store, session)


def test_a_layer_with_fewer_heads_has_a_shorter_row(tmp_path: Path) -> None:
    heads = [4, 2, 6]
    _, session = visit(tmp_path, "laguna", num_attention_heads_per_layer=heads)
    assert heads_drawn(session) == heads


@pytest.mark.parametrize("model_type", ["gemma2", "afmoe"])
def test_the_page_says_where_strong_edits_saturate(tmp_path: Path, model_type: str) -> None:
    told = "In layers 0 to 2 a norm follows the output of heads and neurons: an edit turns that output towards"
    assert told in status_of(*visit(tmp_path, model_type))


def test_an_mlx_adapter_is_refused_as_on_the_command_line(tmp_path: Path) -> None:
    store, session = visit(tmp_path, "gpt2")
    shown = resting_view(store, session, "stored")["mlx"]
    assert shown["value"] == "MLX adapter" and shown["interactive"]  # without a size; a click says why
    with pytest.raises(ExportError) as there:
        export_mlx(store.model(session.model), session.edit, tmp_path / "out")
    with pytest.raises(ExportError) as here:
        list(exported(store, session, "mlx"))
    assert str(here.value) == str(there.value) and "the model type gpt2" in str(here.value)
