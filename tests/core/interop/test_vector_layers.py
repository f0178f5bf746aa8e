"""Which layers a steering vector is for: one vector of one layer, a row more for the embedding, `.svec` files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from s2e_core import InteropError, import_file
from s2e_core.cli import main
from s2e_core.interop import LayerChoice, OpenLayers, load_steering_vector

ONE = torch.randn(64, generator=torch.Generator().manual_seed(1))
FOUR = torch.randn(4, 64, generator=torch.Generator().manual_seed(2))
ENTRY = {"vector": ONE, "layer": 1, "model": "tiny"}
WRITERS = {
    "steer_layer_1.pt": lambda path: torch.save(ONE, path),
    "mean-L1.npy": lambda path: np.save(path, ONE.numpy()),
    "kept layer1.npy": lambda path: np.save(path, ONE[None, None].numpy()),
    "entry.pt": lambda path: torch.save(ENTRY, path),
    "entry.npz": lambda path: np.savez(path, vector=ONE.numpy(), layer=1),
    "entry.safetensors": lambda path: save_file({"vector": ONE, "layer": torch.tensor([1])}, path),
    "named.pt": lambda path: torch.save({"layer_1": ONE}, path),
    "said.npy": lambda path: np.save(path, ONE.numpy()),
    "wrong_layer_0.npy": lambda path: np.save(path, ONE.numpy()),
    "one.svec": lambda path: path.write_text(json.dumps({"model_type": "llama", "directions": {"1": ONE.tolist()},
                                                         "explained_variances": {"1": 0.5}})),
}  # fmt: skip


def vectors(directions):
    return [unit * norm for unit, norm in zip(directions.unit, directions.norm, strict=True)]


@pytest.mark.parametrize("name", WRITERS)
def test_one_vector_is_for_the_layer_that_is_said_or_that_an_entry_or_the_name_names(llama, tmp_path, name):
    WRITERS[name](tmp_path / name)
    choice = LayerChoice(layer=1) if name in ("said.npy", "wrong_layer_0.npy") else LayerChoice()
    directions = load_steering_vector(tmp_path / name, llama, choice)
    for site, vector in zip(llama.spec.sites, vectors(directions), strict=True):
        torch.testing.assert_close(vector, ONE if site.layer == 1 else torch.zeros(64), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["plain.npy", "layer_0_to_2.npy", "model7.pt"])
def test_a_vector_of_an_unknown_layer_is_asked_about(llama, tmp_path, name):
    (np.save if name.endswith("npy") else lambda p, v: torch.save(torch.tensor(v), p))(tmp_path / name, ONE.numpy())
    if name == "layer_0_to_2.npy":
        assert load_steering_vector(tmp_path / name, llama)  # the only number that follows the word
        return
    with pytest.raises(OpenLayers, match=r"says of which layer. Give the layer, 0 to 2: --layer") as raised:
        load_steering_vector(tmp_path / name, llama)
    assert raised.value.needs == "layer"


def test_a_layer_that_the_model_lacks_is_asked_about(llama, tmp_path):
    np.save(tmp_path / "layer_7.npy", ONE.numpy())
    with pytest.raises(OpenLayers, match="layer 7, but the loaded model has the layers 0 to 2"):
        load_steering_vector(tmp_path / "layer_7.npy", llama)
    assert load_steering_vector(tmp_path / "layer_7.npy", llama, LayerChoice(layer=2))


FIRST = {
    "rows.npy": lambda path: np.save(path, FOUR.numpy()),
    "rows.pt": lambda path: torch.save(FOUR, path),
    "list.pt": lambda path: torch.save(list(FOUR), path),
    "all.svec": lambda path: path.write_text(json.dumps({"directions": dict(enumerate(FOUR.tolist()))})),
}


@pytest.mark.parametrize("name", FIRST)
def test_the_row_of_the_embedding_is_left_out_where_that_is_said_and_offered_where_not(llama, tmp_path, name):
    FIRST[name](tmp_path / name)
    with pytest.raises(OpenLayers, match="3 layers.*embedding, have it left out: --skip-first") as raised:
        load_steering_vector(tmp_path / name, llama)
    assert raised.value.needs == "skip_first"
    directions = load_steering_vector(tmp_path / name, llama, LayerChoice(skip_first=True))
    for site, vector in zip(llama.spec.sites, vectors(directions), strict=True):
        torch.testing.assert_close(vector, FOUR[site.layer + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("write", "choice", "message"),
    [
        (lambda p: np.save(p, FOUR[:3].numpy()), LayerChoice(skip_first=True), "no row for the embedding"),
        (lambda p: np.save(p, FOUR[:3].numpy()), LayerChoice(layer=1), "says itself of which layers"),
        (lambda p: np.save(p, ONE.numpy()), LayerChoice(skip_first=True), "one vector and no first row"),
        (lambda p: np.save(p, ONE[:9].numpy()), LayerChoice(layer=1), r"shape \[9\], but"),
    ],
)
def test_what_was_said_of_a_file_that_it_does_not_suit_is_refused(llama, tmp_path, write, choice, message):
    write(tmp_path / "a.npy")
    with pytest.raises(InteropError, match=message) as raised:
        load_steering_vector(tmp_path / "a.npy", llama, choice)
    assert not isinstance(raised.value, OpenLayers)


@pytest.mark.parametrize(
    "content",
    ['{"a": 1', '{"directions": {}}', '{"directions": {"1": [1, "x"]}}', '{"directions": {"1": [NaN, 1]}}',
     '{"directions": {"1": [[1], [2, 3]]}}', '{"directions": [1]}', "{" * 5000, '{"directions": {"9": [1.0]}}'],
)  # fmt: skip
def test_a_damaged_svec_file_gets_a_sentence(llama, tmp_path, content):
    (tmp_path / "a.svec").write_text(content)
    with pytest.raises(InteropError):
        import_file(tmp_path / "a.svec", llama)


def test_an_entry_beside_several_vectors_names_no_layer(llama, tmp_path):
    torch.save({"a": ONE, "b": ONE, "layer": 1}, tmp_path / "a.pt")
    with pytest.raises(InteropError, match="2 arrays beside the number of a layer"):
        import_file(tmp_path / "a.pt", llama)


def test_the_command_takes_the_layer_and_leaves_out_the_first_row(llama, tmp_path, capsys):
    np.save(tmp_path / "one.npy", ONE.numpy())
    np.save(tmp_path / "four.npy", FOUR.numpy())
    model = ["--model", str(llama.source)]
    assert main(["import", str(tmp_path / "one.npy"), *model]) == 2 and "--layer" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "one.npy"), "--layer", "2", *model]) in (0, None)
    assert "1 of 3 layers (2, counted from 0)" in capsys.readouterr().out
    assert main(["import", str(tmp_path / "four.npy"), "--skip-first", *model]) in (0, None)
    assert "3 of 3 layers" in capsys.readouterr().out
