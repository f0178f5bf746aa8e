"""The command `import`, on the bundled model: what a file is, and the recipe that follows from it."""

import numpy as np
import pytest
import torch

from s2e_core import capture_means, load_behavior, load_edit, load_model, steering_directions
from s2e_core.cli import main, terminal
from tests.core.author_files import module_key, pack_content


@pytest.fixture(scope="module")
def bundled():
    return load_model("bundled", device="cpu")


@pytest.fixture(scope="module")
def means(bundled):
    return capture_means(bundled, load_behavior("tone").contrast)


@pytest.fixture
def directions_file(bundled, means, tmp_path):
    directions = steering_directions(bundled, means)
    content = {"pre": {"pos_mean": {}, "neg_mean": {}}, "post": {"direction": {}}}
    for i, site in enumerate(bundled.spec.sites):
        content["pre"]["pos_mean"][module_key(site)] = means.positive[i]
        content["pre"]["neg_mean"][module_key(site)] = means.negative[i]
        content["post"]["direction"][module_key(site)] = directions.unit[i] * directions.norm[i]
    torch.save(content, tmp_path / "tone.pt")
    return tmp_path / "tone.pt"


@pytest.fixture
def vector(bundled, tmp_path):
    dice = np.random.default_rng(1)
    np.save(tmp_path / "v.npy", dice.standard_normal((bundled.spec.n_layers, bundled.spec.d_model)))
    return tmp_path / "v.npy"


@pytest.mark.parametrize("command", ["scores --behavior tone", "edit --behavior tone -o a.safetensors", "import FILE"])
@pytest.mark.parametrize(("dials", "said"), [("--alpha 1.5", "alpha is 1.5"), ("--rho-mlp 1 --neurons 3", "Give one")])
def test_dials_that_suit_no_model_are_refused_before_one_is_loaded(tmp_path, monkeypatch, capsys, command, dials, said):
    (tmp_path / "tone.pt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    assert main([*command.replace("FILE", "tone.pt").split(), *dials.split()]) == 2
    assert said in capsys.readouterr().err


def test_directions_give_the_recipe_that_their_examples_give(directions_file, tmp_path, capsys):
    dials = ["--rho-attn", "0.3", "--rho-mlp", "0.5", "--alpha", "0.4"]
    assert main(["import", str(directions_file), *dials, "-o", str(tmp_path / "a.safetensors")]) == 0
    assert "Directions of the authors' code, with the mean inputs" in capsys.readouterr().out
    assert main(["edit", "--behavior", "tone", *dials, "--strength", "1", "-o", str(tmp_path / "b.safetensors")]) == 0
    imported, expected = (load_edit(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    assert imported.count("neurons") == expected.count("neurons") > 0
    for one, other in zip(imported.right, expected.right, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    assert imported.provenance.contrast_name == "tone.pt"


def test_an_edit_pack_becomes_a_recipe_and_has_no_dials(bundled, directions_file, tmp_path, capsys):
    recipe = tmp_path / "a.safetensors"
    assert main(["import", str(directions_file), "--neurons", "7", "--heads", "2", "-o", str(recipe)]) == 0
    torch.save(pack_content(load_edit(recipe)), tmp_path / "pack.pt")
    again = tmp_path / "b.safetensors"
    assert main(["import", str(tmp_path / "pack.pt"), "-o", str(again)]) == 0
    out = capsys.readouterr().out
    assert "An edit pack of the authors' code: a finished edit of 2 heads and 7 neurons" in out
    assert load_edit(again, base=bundled).count("neurons") == 7
    again.unlink()
    assert main(["import", str(tmp_path / "pack.pt"), "--alpha", "0.5", "-o", str(again)]) == 2
    assert "no dials" in capsys.readouterr().err and not again.exists()
    assert main(["import", str(tmp_path / "pack.pt"), "--opposite"]) == 2


def test_a_steering_vector_needs_texts_and_says_so(vector, tmp_path, capsys):
    recipe = tmp_path / "a.safetensors"
    assert main(["import", str(vector)]) == 0
    assert "A steering vector with a direction for 6 of 6 layers" in capsys.readouterr().out
    assert main(["import", str(vector), "-o", str(recipe)]) == 2
    assert "--texts FILE" in capsys.readouterr().err and not recipe.exists()
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"prompt": "How are you?", "response": "Very well."}\n')
    for given in (["--texts", str(texts)], ["--behavior", "tone"]):
        assert main(["import", str(vector), *given, "--neurons", "5", "--heads", "3", "-o", str(recipe)]) == 0
        edit = load_edit(recipe)
        assert (edit.count("heads"), edit.count("neurons")) == (3, 5)
        assert edit.provenance.contrast_name.startswith("v.npy, inputs of")


def test_texts_that_are_not_needed_are_said_not_to_be_read(directions_file, vector, tmp_path, capsys):
    recipe = tmp_path / "a.safetensors"
    missing = ["--texts", str(tmp_path / "nowhere.jsonl")]
    assert main(["import", str(directions_file), *missing, "--neurons", "5", "-o", str(recipe)]) == 0
    assert "The mean inputs are in the file: those of --texts were not read." in capsys.readouterr().out
    assert main(["import", str(directions_file), "--behavior", "tone", "--neurons", "5", "-o", str(recipe)]) == 0
    assert "The mean inputs are in the file: those of --behavior were not read." in capsys.readouterr().out
    assert main(["import", str(recipe), *missing, "-o", str(tmp_path / "b.safetensors")]) == 0
    assert "A finished edit needs no mean inputs: those of --texts were not read." in capsys.readouterr().out
    assert main(["import", str(vector), *missing, "--neurons", "5"]) == 0
    out = capsys.readouterr().out
    assert "Without -o nothing is written: --texts and --neurons were not used." in out
    assert main(["import", str(vector)]) == 0
    assert "not used" not in capsys.readouterr().out


def test_directions_can_be_taken_the_other_way_round_and_a_finished_edit_cannot(directions_file, tmp_path, capsys):
    recipes = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for recipe, given in zip(recipes, ([], ["--opposite"]), strict=True):
        assert main(["import", str(directions_file), "--neurons", "5", *given, "-o", str(recipe)]) == 0
    one, other = (load_edit(recipe) for recipe in recipes)
    assert all(torch.equal(a, -b) for a, b in zip(one.left, other.left, strict=True))
    assert other.provenance.contrast_name.startswith("tone.pt, the opposite")
    assert main(["import", str(recipes[0]), "--opposite", "-o", str(tmp_path / "c.safetensors")]) == 2
    assert "no opposite" in capsys.readouterr().err


def test_a_bad_file_ends_with_one_sentence(tmp_path, capsys):
    (tmp_path / "notes.pt").write_text("not a tensor")
    assert main(["import", str(tmp_path / "notes.pt"), "-o", str(tmp_path / "a.safetensors")]) == 2
    assert "damaged or of an unknown kind" in capsys.readouterr().err
    assert not (tmp_path / "a.safetensors").exists()
