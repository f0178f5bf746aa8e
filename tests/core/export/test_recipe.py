"""Tests of recipes: bit-identical when reloaded, the same bytes every time, refused if damaged or for another base."""

import json
import os
import pickle
from dataclasses import asdict, replace
from types import MappingProxyType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from s2e_core import Component, EditSettings, RecipeError, Selection, load_edit, save_edit
from tests.core.chain import chain
from tests.core.edits import random_edit

SELECTION = Selection(
    only=frozenset({Component(0, 1), Component(1, 5)}),
    included=frozenset({Component(2, 0)}),
    excluded=frozenset({Component(3, 7), Component(1, 2)}),
    layers=(0, 1),
)
SETTINGS = EditSettings(
    rho_attn=0.1 + 0.2,
    rho_mlp=None,
    alpha=1 / 3,
    strength=1.7,
    selection=SELECTION,
    strengths=MappingProxyType({Component(0, 1): 0.3, Component(2, 0): 2.5}),
)


@pytest.fixture
def recipe_file(llama, tmp_path):
    return save_edit(random_edit(llama), tmp_path / "edit.safetensors")


def rewrite(recipe_file, tensors=None, **changes):
    """Replace some of the description or the tensors of a recipe; returns its path."""
    with safe_open(recipe_file, "pt") as file:
        description = json.loads(file.metadata()["steer2edit"]) | changes
    save_file(load_file(recipe_file) | (tensors or {}), recipe_file, {"steer2edit": json.dumps(description)})
    return recipe_file


def same_bits(a, b):
    return all(torch.equal(x.view(torch.int32), y.view(torch.int32)) for x, y in zip(a, b, strict=True))


def test_a_saved_edit_reloads_bit_for_bit(llama, tmp_path):
    edit = random_edit(llama)
    edit.right[1][0] = -0.0
    reloaded = load_edit(save_edit(edit, tmp_path / "edit.safetensors"), base=llama)
    assert same_bits(edit.left, reloaded.left)
    assert same_bits(edit.right, reloaded.right)
    assert same_bits(edit.strength, reloaded.strength)


def test_an_edit_made_from_examples_reloads_with_its_settings_sites_and_provenance(gpt2, tmp_path):
    edit = chain(gpt2, SETTINGS).edit
    reloaded = load_edit(save_edit(edit, tmp_path / "edit.safetensors"), base=gpt2)
    assert (reloaded.settings.rho_attn, reloaded.settings.rho_mlp) == (0.1 + 0.2, None)
    assert (reloaded.settings.alpha, reloaded.settings.strength) == (1 / 3, 1.7)
    assert vars(reloaded.settings.selection) == vars(SELECTION)
    assert reloaded.settings.strengths == SETTINGS.strengths
    assert [vars(site) for site in reloaded.spec.sites] == [vars(site) for site in edit.spec.sites]
    assert vars(reloaded.provenance) == vars(edit.provenance)
    assert reloaded.spec.unreachable == edit.spec.unreachable


def test_the_same_edit_gives_the_same_bytes(llama, tmp_path):
    saved = {save_edit(random_edit(llama), tmp_path / f"{i}.safetensors").read_bytes() for i in range(4)}
    assert len(saved) == 1


def test_saving_a_reloaded_edit_gives_the_same_bytes(recipe_file, tmp_path):
    assert save_edit(load_edit(recipe_file), tmp_path / "again.safetensors").read_bytes() == recipe_file.read_bytes()


def test_the_description_names_the_paper_the_model_and_the_contrast_set(llama, recipe_file):
    with safe_open(recipe_file, "pt") as file:
        description = json.loads(file.metadata()["steer2edit"])
    assert "2602.09870" in description["paper"]
    assert description["provenance"]["fingerprint"] == llama.fingerprint
    assert description["provenance"]["contrast_hash"] == "c0ffee"


def test_another_base_is_refused_with_both_names(llama, gpt2, recipe_file):
    assert load_edit(recipe_file, base=llama).provenance.model_id == llama.model_id
    with pytest.raises(RecipeError) as error:
        load_edit(recipe_file, base=gpt2)
    assert llama.model_id in str(error.value) and gpt2.model_id in str(error.value)
    assert llama.fingerprint[:12] in str(error.value) and gpt2.fingerprint[:12] in str(error.value)


def test_the_sites_of_the_base_replace_those_in_the_recipe(llama, recipe_file):
    sites = [asdict(site) | {"transposed": True, "parameter": "bias"} for site in llama.spec.sites]
    edit = load_edit(rewrite(recipe_file, sites=sites), base=llama)
    assert edit.spec is llama.spec


def test_the_same_name_with_other_weights_is_refused(llama, recipe_file):
    retrained = replace(llama, fingerprint="0" * 64)
    with pytest.raises(RecipeError, match="000000000000"):
        load_edit(recipe_file, base=retrained)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_recipe_is_refused(recipe_file, keep):
    recipe_file.write_bytes(recipe_file.read_bytes()[:keep])
    with pytest.raises(RecipeError, match=r"edit\.safetensors is not a recipe"):
        load_edit(recipe_file)


def test_a_header_that_claims_to_be_huge_is_refused_unread(recipe_file):
    recipe_file.write_bytes((1 << 40).to_bytes(8, "little") + recipe_file.read_bytes()[8:])
    with pytest.raises(RecipeError, match="not a recipe"):
        load_edit(recipe_file)


def test_other_files_are_refused(llama, tmp_path):
    with pytest.raises(RecipeError, match="not a recipe"):
        load_edit(llama.source / "model.safetensors")
    (tmp_path / "notes.txt").write_text("no recipe at all")
    with pytest.raises(RecipeError, match="not a recipe"):
        load_edit(tmp_path / "notes.txt")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_edit(tmp_path / "missing.safetensors")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_edit(tmp_path)


class Evil:
    """Creates a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_a_pickle_is_refused_and_never_run(tmp_path):
    marker = str(tmp_path / "ran")
    pickled = tmp_path / "edit.safetensors"
    pickled.write_bytes(pickle.dumps(Evil(marker)))
    with pytest.raises(RecipeError, match="not a recipe"):
        load_edit(pickled)
    assert not os.path.exists(marker)
    pickle.loads(pickled.read_bytes())
    assert os.path.exists(marker)  # the file was dangerous


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"sites": []},
        {"sites": [{"layer": 0}]},
        {"d_model": 7},
        {"alpha": 1.5},
        {"rho_mlp": -1},
        {"rho_mlp": float("nan")},
        {"strength": float("inf")},
        {"n_layers": float("inf")},
        {"strengths": [[0, 1]]},
        {"included": [[0, 999]]},
        {"excluded": [[-1, 0]]},
        {"only": 3},
        {"layers": [1]},
        {"provenance": {}},
        {"provenance": []},
    ],
)
def test_an_impossible_description_is_refused(recipe_file, changes):
    load_edit(recipe_file)
    with pytest.raises(RecipeError, match="damaged"):
        load_edit(rewrite(recipe_file, **changes))


def test_a_description_that_is_no_json_is_refused(recipe_file):
    save_file(load_file(recipe_file), recipe_file, {"steer2edit": "[" * 100_000})
    with pytest.raises(RecipeError, match="damaged"):
        load_edit(recipe_file)


def test_impossible_tensors_are_refused(recipe_file):
    tensors = load_file(recipe_file)
    impossible = [
        {"left": tensors["left"][:-1]},
        {"left": tensors["left"].flatten()},
        {"right": torch.cat([tensors["right"], torch.zeros(1)])},
        {"right": tensors["right"].double()},
        {"strength": tensors["strength"] * float("nan")},
        {"left": torch.tensor(1.0)},
    ]
    for replacement in impossible:
        copy = recipe_file.with_name("wrong.safetensors")
        copy.write_bytes(recipe_file.read_bytes())
        with pytest.raises(RecipeError, match="damaged"):
            load_edit(rewrite(copy, replacement))


def test_a_recipe_that_cannot_be_written_leaves_nothing(llama, tmp_path):
    with pytest.raises(RecipeError, match="could not be written"):
        save_edit(random_edit(llama), tmp_path / "missing" / "edit.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RecipeError, match="could not be written"):
        save_edit(random_edit(llama), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
