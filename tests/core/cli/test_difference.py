"""The command that opens two checkpoints: our own exports come back as recipes, and wrong pairs as sentences."""

import csv
import json

import pytest
import torch

from s2e_core import load_edit
from s2e_core.cli import main

DIALS = ["--behavior", "tone", "--rho-attn", "0.3", "--rho-mlp", "0.5", "--alpha", "0.4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A recipe, and the checkpoint and the adapter of its edit."""
    folder = tmp_path_factory.mktemp("made")
    recipe = str(folder / "recipe.safetensors")
    assert main(["edit", *DIALS, "-o", recipe]) == 0
    assert main(["export", recipe, "-o", str(folder / "checkpoint")]) == 0
    assert main(["export", recipe, "-o", str(folder / "adapter"), "--format", "adapter"]) == 0
    return folder


@pytest.mark.parametrize("second", ["recipe.safetensors", "checkpoint", "adapter"])
def test_the_recipe_behind_an_export_is_found_back(made, second, tmp_path, capsys):
    found = tmp_path / "found.safetensors"
    arguments = ["difference", "bundled", str(made / second), "--behavior", "tone", "-o", str(found)]
    assert main([*arguments, "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert "nearest recipe explains 99.9" in out or "nearest recipe explains 100" in out
    assert out.count("|dW|/|W| 0.") == 3 and "rank 1 for each projection explains 100" in out
    edit, wanted = load_edit(found), load_edit(made / "recipe.safetensors")
    # The behaviour's strength of 0.4 is kept, so that the dials are others and the edit is the same.
    assert edit.settings.strength == wanted.settings.strength == 0.4
    assert edit.settings.rho_attn == pytest.approx(0.3, rel=2e-3)
    assert edit.settings.rho_mlp == pytest.approx(0.5, rel=2e-3)
    assert edit.settings.alpha == pytest.approx(0.4, abs=2e-3)
    for one, other in zip(edit.right, wanted.right, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-2)


def test_without_examples_the_edit_has_directions_of_its_own(made, tmp_path):
    found = tmp_path / "own.safetensors"
    assert main(["difference", "bundled", str(made / "adapter"), "-o", str(found)]) == 0
    edit, wanted = load_edit(found), load_edit(made / "recipe.safetensors")
    for i in range(len(wanted.spec.sites)):
        change, expected = (torch.outer(one.left[i], one.right[i]) for one in (edit, wanted))
        torch.testing.assert_close(change, expected, atol=1e-4, rtol=1e-3)
    assert edit.provenance.contrast_name == "adapter"
    assert main(["compare", "How was your day?", "--recipe", str(found), "--max-new-tokens", "4"]) == 0


def test_json_and_csv_have_every_component(made, tmp_path, capsys):
    pair = ["difference", "bundled", str(made / "checkpoint")]
    assert main([*pair, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    edit = load_edit(made / "recipe.safetensors")
    assert (record["heads"], record["neurons"]) == (edit.count("heads"), edit.count("neurons"))
    assert len(record["components"]) == record["heads"] + record["neurons"]
    assert record["nearest"] is None and record["recipe"] is None and record["each_rank_one"] > 0.999
    assert [site["name"] for site in record["projections"]] == [edit.spec.sites[i].name for i in edit.edited_sites()]
    assert main([*pair, "--csv", str(tmp_path / "all.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "all.csv").open(encoding="utf-8")))
    assert [row["name"] for row in rows] == [row["name"] for row in record["components"]]


def test_the_way_back_is_recognised(made, capsys):
    assert main(["difference", str(made / "checkpoint"), "bundled", "--behavior", "tone", "--top", "0"]) == 0
    assert "the way back is nearer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bundled", "bundled"], "the same in both"),
        (["bundled", "gone.safetensors"], "gone.safetensors does not exist"),
        (["bundled", "/no/such/model"], "does not exist"),
        (["bundled", "bundled", "--behavior", "nothing"], "no behaviour named"),
        (["bundled", "bundled", "--json", "--csv", "-"], "Give one of them"),
        (["bundled", "bundled", "-o", "/no/such/folder/x.safetensors"], "cannot be written"),
    ],
)
def test_a_wrong_pair_is_a_sentence(capsys, arguments, said):
    assert main(["difference", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_another_architecture_is_a_sentence(llama, capsys):
    assert main(["difference", "bundled", str(llama.source)]) == 2
    assert "Choose two checkpoints of one architecture and size" in capsys.readouterr().err
