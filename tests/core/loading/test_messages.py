"""Folders that no model can be built from: one sentence each, which names what is wrong or what is there instead."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2e_core import ModelLoadError, load_model
from s2e_core.model import LoadedModel
from tests.families import saved_folder


@pytest.fixture
def folder(llama: LoadedModel, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder that a test may spoil."""
    return shutil.copytree(llama.source, tmp_path / "model")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hidden_act": "nonsense"}, r"cannot build a model from its config.json \(hidden_act: nonsense\)"),
        ({"rope_parameters": {"rope_type": "nonsense"}}, r"\(rope_type: nonsense\)"),
        ({"dtype": "float7"}, "cannot build a model from its config.json .*float7"),
        ({"hidden_size": "big"}, "cannot build a model from its config.json .*hidden_size.*big"),
        ({"num_attention_heads": 7}, "cannot build a model from its config.json .*7"),
        ({"architectures": 7, "hidden_act": "nonsense"}, r"\(hidden_act: nonsense\)"),
        ({"vocab_size": 77}, "weights are missing, or have other shapes than its config.json says"),
    ],
)
def test_a_configuration_that_no_model_can_be_built_from_is_a_sentence_that_names_the_setting(folder, settings, said):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(ModelLoadError, match=said):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("settings", [{"vocab_size": 100_000_000}, {"num_hidden_layers": 100_000}])
def test_a_configuration_of_a_far_larger_model_is_told_before_any_memory_is_taken(folder, settings, monkeypatch):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    with pytest.raises(ModelLoadError, match="other shapes than its config.json says"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("change", [lambda weight: None, lambda weight: weight[:3].clone()])
def test_an_expert_that_is_missing_or_of_another_shape_is_our_own_sentence(tmp_path, change):
    folder = saved_folder(tmp_path, "mixtral")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "experts.2" in name)
    changed = change(weights.pop(name))
    save_file(weights | ({} if changed is None else {name: changed}), folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadError, match="weights are missing, or have other shapes than its config.json says"):
        load_model(folder, device="cpu")


def as_integers(weight):
    return (weight / weight.abs().max() * 127).round().to(torch.int8)


def half_as_many(weight):
    return as_integers(weight).view(torch.uint8)[:, ::2].contiguous()


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "mixtral", "gpt_oss"])
@pytest.mark.parametrize(("change", "stored_as"), [(as_integers, "I8"), (half_as_many, "U8"), (torch.sign, None)])
def test_weights_that_are_whole_numbers_are_refused_by_name_where_nothing_says_what_they_stand_for(
    tmp_path, model_type, change, stored_as
):
    folder = saved_folder(tmp_path, model_type)
    weights = load_file(folder / "model.safetensors")
    name = [name for name, weight in weights.items() if weight.dim() > 1 and name.endswith(("_proj", "weight"))][-1]
    save_file(weights | {name: change(weights[name])}, folder / "model.safetensors", {"format": "pt"})
    if stored_as is None:  # numbers that are whole by chance are numbers
        assert load_model(folder, device="cpu").spec.sites
        return
    with pytest.raises(ModelLoadError, match=f"its weight {re.escape(name)} is stored as {stored_as}, and no .*F32"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("name", ["model.layers.0.mlp.down_proj.qweight", "model.layers.0.mlp.down_proj.weight_packed"])
def test_weights_that_are_packed_are_refused_by_name_where_nothing_says_how(folder, name):
    weights = load_file(folder / "model.safetensors")
    whole = weights.pop("model.layers.0.mlp.down_proj.weight")
    packed = {name: torch.ones(len(whole), 12, dtype=torch.int32)}
    save_file(weights | packed, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadError, match=f"its weight {re.escape(name)} is stored as I32, and no"):
        load_model(folder, device="cpu")


def test_numbers_in_8_bits_are_read_as_they_are_unless_scales_lie_beside_them(folder):
    weights, name = load_file(folder / "model.safetensors"), "model.layers.0.mlp.down_proj.weight"
    cast = weights[name].to(torch.float8_e4m3fn)
    save_file(weights | {name: cast}, folder / "model.safetensors", {"format": "pt"})
    assert torch.equal(load_model(folder, device="cpu").model.get_parameter(name), cast.float())
    scaled = {name: cast, f"{name}_scale_inv": torch.ones(1)}
    save_file(weights | scaled, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadError, match=f"is stored as F8_E4M3, with scales in {re.escape(name)}_scale_inv, and"):
        load_model(folder, device="cpu")


def test_masks_positions_and_tables_may_be_whole_numbers(folder):
    weights = load_file(folder / "model.safetensors")
    tables = {
        "model.layers.0.self_attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool),
        "model.embed_tokens.position_ids": torch.arange(8),
        "model.layers.1.mlp.tid2eid": torch.zeros(8, 2, dtype=torch.int32),
    }
    save_file(weights | tables, folder / "model.safetensors", {"format": "pt"})
    assert load_model(folder, device="cpu").spec.sites


def keep_only(folder, *names):
    for file in folder.iterdir():
        if file.name not in names:
            file.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: keep_only(f, "config.json", "model.safetensors"), "has no tokenizer .tokenizer.json."),
        (
            lambda f: (f / "tokenizer_config.json").write_text(
                '{"tokenizer_class": "X", "auto_map": {"AutoTokenizer": ["x.X", null]}}'
            ),
            "its tokenizer needs code from its own repository",
        ),
        (lambda f: (f / "model.safetensors").rename(f / "adapter_config.json"), "is an adapter without its model"),
        (lambda f: (f / "model.safetensors").rename(f / "model.Q4_K_M.gguf"), "it is not a complete GGUF file"),
        (lambda f: keep_only(f), "no config.json"),
    ],
)
def test_what_is_there_in_place_of_a_whole_model_is_named(folder, spoil, said):
    spoil(folder)
    with pytest.raises(ModelLoadError, match=said):
        load_model(folder, device="cpu")


def test_a_file_in_place_of_a_folder_is_a_sentence(folder):
    with pytest.raises(ModelLoadError, match="model.safetensors is a file. Name the folder that contains the whole"):
        load_model(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "m.gguf")
    with pytest.raises(ModelLoadError, match="m.gguf could not be loaded: it is not a complete GGUF file"):
        load_model(folder / "m.gguf")


def test_a_model_without_what_continues_a_text_is_said_to_be_none(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadError, match="lacks the weights lm_head.weight"):
        load_model(folder, device="cpu")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaModel"]}))
    with pytest.raises(
        ModelLoadError, match=r"not a causal language model \(LlamaModel\): it has no language model head"
    ):
        load_model(folder, device="cpu")


def in_the_cache(folder, cache):
    """The folder as the Hub's client keeps it: links, in a folder named after the commit."""
    blobs, snapshot = cache / "models--some--one" / "blobs", cache / "models--some--one" / "snapshots" / "c0ffee"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        file.rename(blobs / file.name)
        (snapshot / file.name).symlink_to(blobs / file.name)
    return snapshot


def test_a_folder_in_the_cache_of_the_hub_is_known_by_its_repository_and_commit(folder, tmp_path):
    snapshot = in_the_cache(folder, tmp_path / "a path with spaces, ü and 模型")
    loaded = load_model(snapshot, device="cpu")
    assert (loaded.model_id, loaded.revision) == ("some/one", "c0ffee")
    (snapshot / "model.safetensors").resolve().unlink()
    with pytest.raises(ModelLoadError, match="The weights of some/one are links to files that no longer exist"):
        load_model(snapshot, device="cpu")


def test_a_folder_that_cannot_be_opened_is_a_sentence():
    with pytest.raises(ModelLoadError, match="x cannot be opened .File name too long."):
        load_model("x" * 300)


def test_a_device_without_numbers_is_refused(folder):
    with pytest.raises(ModelLoadError, match="no device meta"):
        load_model(folder, device="meta")
