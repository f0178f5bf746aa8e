"""Loading: what comes out of a folder, and one sentence for each that cannot be loaded."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

from s2e_core import ModelLoadError, UnsupportedModelError, load_model
from s2e_core.loading.load import fingerprint
from tests.families import saved_folder, tiny_model, tiny_tokenizer


@pytest.fixture
def folder(llama, tmp_path):
    """A copy of the tiny model's folder that a test may spoil."""
    return shutil.copytree(llama.source, tmp_path / "model")


def test_a_folder_loads_read_only_in_fp32_on_the_cpu_with_its_source_recorded(llama, folder):
    loaded = load_model(folder, device="cpu")
    assert loaded.dtype == torch.float32
    assert loaded.source == folder
    assert loaded.model_id == "model"
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_the_loaded_weights_are_those_of_plain_transformers(folder):
    loaded = load_model(folder, device="cpu")
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    assert all(torch.equal(tensor, plain[name]) for name, tensor in loaded.model.state_dict().items())


def test_the_fingerprint_is_that_of_the_weights_and_not_of_the_dtype_or_the_folder(llama, folder):
    assert load_model(folder, device="cpu").fingerprint == llama.fingerprint
    assert load_model(folder, device="cpu", dtype=torch.bfloat16).fingerprint == llama.fingerprint
    other = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    other.get_submodule(llama.spec.sites[-1].name).weight.data.mul_(1.1)
    assert fingerprint(other, llama.spec) != llama.fingerprint


def test_the_fingerprint_sees_every_single_neuron(llama, folder):
    other = load_model(folder, device="cpu")
    site = next(i for i, site in enumerate(llama.spec.sites) if site.kind == "neurons")
    weight = other.model.get_submodule(other.spec.sites[site].name).weight
    seen = {llama.fingerprint}
    for neuron in range(llama.spec.sites[site].n_components):
        with torch.no_grad():
            kept = weight[0, neuron].clone()
            weight[0, neuron] += 0.5
            seen.add(fingerprint(other.model, other.spec))
            weight[0, neuron] = kept
    assert len(seen) == 1 + llama.spec.sites[site].n_components


def test_weights_come_in_out_in_order_also_from_transposed_modules(gpt2):
    for index, site in enumerate(gpt2.spec.sites):
        assert gpt2.weight(index).shape == (gpt2.spec.d_model, site.n_inputs)
        assert gpt2.weight(index).dtype == torch.float32


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "no safetensors weights"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}"), "could not be loaded"),
        (lambda f: (f / "config.json").write_text("{"), "could not be loaded"),
        (lambda f: (f / "config.json").write_text('{"model_type": "no_such_type"}'), "could not be loaded"),
    ],
)
def test_a_broken_folder_gets_a_sentence_without_its_path(folder, spoil, said):
    spoil(folder)
    with pytest.raises(ModelLoadError, match=said) as error:
        load_model(folder, device="cpu")
    assert str(folder.parent) not in str(error.value)


def test_truncated_weights_get_a_sentence(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelLoadError, match="could not be loaded"):
        load_model(folder, device="cpu")


def test_an_index_that_names_a_missing_shard_gets_a_sentence(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelLoadError, match="could not be loaded"):
        load_model(folder, device="cpu")


def test_missing_weights_are_an_error_and_not_random_numbers(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.down_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"layers\.1\.mlp\.down_proj"):
        load_model(folder, device="cpu")


def test_stored_weights_that_the_model_does_not_use_are_said(folder):
    assert not any("not used" in warning for warning in load_model(folder, device="cpu").warnings)
    config = json.loads((folder / "config.json").read_text())
    n_layers = config["num_hidden_layers"]
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": n_layers - 1}))
    (said,) = [warning for warning in load_model(folder, device="cpu").warnings if "not used" in warning]
    assert f"model.layers.{n_layers - 1}." in said and "an export keeps them" in said


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "not a hub id!", "a/b/c"])
def test_a_name_that_is_neither_a_folder_nor_a_hub_id_gets_a_sentence(name):
    with pytest.raises(ModelLoadError):
        load_model(name)


def test_a_hub_model_that_cannot_be_reached_gets_a_sentence():
    with pytest.raises(ModelLoadError, match="somebody/some-model"):
        load_model("somebody/some-model")


def test_code_in_the_folder_is_never_run(folder, tmp_path):
    marker = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError):
        load_model(folder, device="cpu")
    assert not marker.exists()


def test_a_model_without_heads_is_refused_by_name(tmp_path):
    tiny_model("mamba", vocab_size=320).save_pretrained(tmp_path)
    tiny_tokenizer(chat=False).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="mamba"):
        load_model(tmp_path, device="cpu")


def test_a_missing_chat_template_is_said(tmp_path):
    loaded = load_model(saved_folder(tmp_path, chat=False), device="cpu")
    assert any("chat template" in warning for warning in loaded.warnings)


@pytest.mark.parametrize(
    "name", ["model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight", "model.norm.weight"]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_a_number_is_told_with_its_tensor(folder, name, value):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights[name].view(-1)[-1] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=f"is damaged: {name}"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "t5"}, "not a causal language model"),
        ({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}, "does not continue a text"),
        ({"model_type": "qwen2_5_vl"}, "the type qwen2_5_vl only for another task, or for images"),
        ({"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}, "needs code from its own repository"),
        ({}, "no model type"),
    ],
)
def test_a_folder_of_another_kind_of_model_gets_its_own_sentence(folder, config, said):
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match=said):
        load_model(folder, device="cpu")


def test_only_pickled_weights_get_a_sentence(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="pickled"):
        load_model(folder, device="cpu")
