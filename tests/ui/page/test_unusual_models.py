"""What the page says and draws for models whose layers differ: without heads, with fewer heads, with norms behind."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from components.shared.grid_packing import EXISTS

from components.page.view import whole_view
from components.shared.choices import Choice, opened
from components.shared.store import ModelStore, model_sources
from s2e_core import Example
from s2e_core.data import contrast_set
from tests.families import saved_folder

FEW = contrast_set([Example("a", "b"), Example("b", "good")], [Example("a", "c")], name="few")


def page_of(folder: Path, model_type: str, **options: Any) -> dict[str, Any]:
    """The whole page of a tiny model of this type."""
    saved_folder(folder / "mine", model_type, **options)
    store = ModelStore(sources=model_sources(str(folder / "mine"), []), work=folder, device="cpu")
    session = opened(store, Choice(store.first_model, "formality"), store.scored(store.first_model, FEW))
    return whole_view(store, session, "all", "stored")


def heads_drawn(view: dict[str, Any]) -> list[int]:
    """Cells of every row of the heatmap of heads that are heads; the others are hatched."""
    states = np.frombuffer(base64.b64decode(view["heads"]["states"]), np.uint8)
    cells = states.reshape(view["heads"]["layers"], view["heads"]["shown"]) & EXISTS
    return [int(row) for row in cells.sum(axis=1)]


def test_rows_without_heads_stay_and_the_page_says_why(tmp_path: Path) -> None:
    view = page_of(tmp_path, "lfm2")
    assert heads_drawn(view) == [0, 4, 4]
    assert "No attention heads in layer 0: tokens are mixed by conv (Lfm2ShortConv), which is not" in view["status"]


def test_a_layer_with_fewer_heads_has_a_shorter_row(tmp_path: Path) -> None:
    heads = [4, 2, 6]
    assert heads_drawn(page_of(tmp_path, "laguna", num_attention_heads_per_layer=heads)) == heads


@pytest.mark.parametrize("model_type", ["gemma2", "afmoe"])
def test_the_page_says_where_strong_edits_saturate(tmp_path: Path, model_type: str) -> None:
    told = "In layers 0 to 2 a norm follows the output of heads and neurons: an edit turns that output towards"
    assert told in page_of(tmp_path, model_type)["status"]
