"""An adapter beside the weights is not applied unless asked for; one that is asked for is merged into the base."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from s2e_core import Edited, ModelLoadError, Original, export_checkpoint, load_edit, load_model, save_edit
from s2e_core.cli import main
from s2e_core.generation import preview_logits
from s2e_core.model import LoadedModel
from tests.core.edits import BF16, FP32, IDS, files_of, folder_of, logits, plain, random_edit
from tests.families import saved_folder


def write_adapter(base: Path, folder: Path, **settings: object) -> Path:
    """A LoRA of rank 3 with random factors on the projections of attention and MLP."""
    torch.manual_seed(3)
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "o_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=FP32), config).save_pretrained(folder)
    if settings:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return folder


@pytest.fixture(scope="module")
def adapter(llama: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(llama.source, tmp_path_factory.mktemp("lora") / "poems")


@pytest.fixture(scope="module")
def merged(llama: LoadedModel, adapter: Path) -> LoadedModel:
    return load_model(llama.source, device="cpu", adapter=adapter)


def by_peft(base: Path, adapter: Path) -> torch.Tensor:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=FP32), adapter).eval()
    return logits(model)


def test_an_adapter_beside_the_weights_is_said_and_not_applied(llama, adapter, tmp_path):
    folder = shutil.copytree(llama.source, tmp_path / "model")
    for path in adapter.iterdir():
        if path.name.startswith("adapter_"):
            shutil.copyfile(path, folder / path.name)
    loaded = load_model(folder, device="cpu")
    assert torch.equal(preview_logits(loaded, Original(), IDS), preview_logits(llama, Original(), IDS))
    assert loaded.fingerprint == llama.fingerprint
    assert any("An adapter lies beside the weights and is not applied" in warning for warning in loaded.warnings)
    out = export_checkpoint(loaded, random_edit(loaded), tmp_path / "out")
    assert not [name for name in files_of(out) if "adapter" in name]
    assert not torch.equal(logits(plain(out)), logits(plain(llama.source)))
    asked = load_model(folder, device="cpu", adapter=folder)
    assert asked.fingerprint != llama.fingerprint and not any("not applied" in warning for warning in asked.warnings)


def test_a_merged_adapter_is_the_model_as_peft_runs_it(llama, adapter, merged):
    expected = by_peft(llama.source, adapter)
    torch.testing.assert_close(preview_logits(merged, Original(), IDS), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits(llama.model), expected, atol=1e-2)
    assert (merged.model_id, merged.revision) == (f"{llama.model_id}+poems", None)
    assert merged.fingerprint != llama.fingerprint and merged.adapter == str(adapter)


def test_the_base_is_not_written_and_the_merge_is_made_once(llama, adapter, merged, monkeypatch):
    before = files_of(llama.source)
    monkeypatch.setattr("s2e_core.loading.merged._write", None)
    again = load_model(llama.source, device="cpu", adapter=adapter)
    assert again.source == merged.source and again.fingerprint == merged.fingerprint
    assert files_of(llama.source) == before and merged.source != llama.source


def test_the_checkpoint_contains_base_and_adapter_and_edit_and_the_recipe_knows_it(llama, adapter, merged, tmp_path):
    edit = random_edit(merged)
    out = export_checkpoint(merged, edit, tmp_path / "out", dtype="float32")
    torch.testing.assert_close(logits(plain(out)), preview_logits(merged, Edited(edit), IDS), atol=1e-4, rtol=1e-4)
    assert not [name for name in files_of(out) if "adapter" in name]
    recipe = save_edit(edit, tmp_path / "edit.safetensors")
    assert load_edit(recipe, base=merged).provenance.model_id.endswith("+poems")
    with pytest.raises(Exception, match=r"\+poems"):
        load_edit(recipe, base=llama)


def test_an_adapter_that_changes_no_site_changes_the_fingerprint_of_whoever_loads_the_sum(llama, tmp_path):
    torch.manual_seed(4)
    config = LoraConfig(r=1, target_modules=["q_proj"], init_lora_weights=False)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(llama.source, dtype=FP32), config)
    model.save_pretrained(tmp_path / "queries")
    loaded = load_model(llama.source, device="cpu", adapter=tmp_path / "queries")
    assert all(torch.equal(loaded.weight(i), llama.weight(i)) for i in range(len(llama.spec.sites)))
    assert loaded.fingerprint != llama.fingerprint
    assert load_model(loaded.source, device="cpu").fingerprint == loaded.fingerprint  # as a worker loads it


def test_the_sum_has_the_number_format_of_the_base(tmp_path):
    folder = folder_of(tmp_path / "model", "llama", BF16, sharded=False)
    loaded = load_model(folder, device="cpu", adapter=write_adapter(folder, tmp_path / "lora"))
    stored = load_file(loaded.source / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {BF16}
    assert {path.name for path in folder.glob("*.json")} <= {path.name for path in loaded.source.glob("*.json")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "adapter_config.json").unlink(), "is no folder with an adapter_config.json"),
        (
            lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
            "has no adapter_model.safetensors",
        ),
        (lambda f: (f / "adapter_config.json").write_text("{"), "its adapter_config.json cannot be read"),
        (lambda f: (f / "adapter_config.json").write_text('{"peft_type": "IA3"}'), "is of the type IA3. Only LoRA"),
        (lambda f: (f / "adapter_config.json").write_text('{"peft_type": "LORA", "r": "x"}'), "cannot be merged into"),
        (
            lambda f: (f / "adapter_config.json").write_text(
                '{"peft_type": "LORA", "megatron_config": {"a": 1}, "megatron_core": "antigravity"}'
            ),
            "is made for Megatron",
        ),
        (
            lambda f: (f / "adapter_config.json").write_text(
                '{"peft_type": "LORA", "r": 1000000000000, "target_modules": ["o_proj"]}'
            ),
            "needs more memory than is free",
        ),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"\x08"), "cannot be merged into"),
        (
            lambda f: (f / "adapter_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
            "Git LFS pointer",
        ),
        (
            lambda f: save_file({"a": torch.zeros(2)}, f / "adapter_model.safetensors"),
            "are not those that its adapter_config.json describes",
        ),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_a_sentence(llama, adapter, tmp_path, change, said):
    folder = shutil.copytree(adapter, tmp_path / "lora")
    change(folder)
    with warnings.catch_warnings(), pytest.raises(ModelLoadError, match=said) as error:
        warnings.simplefilter("ignore")
        load_model(llama.source, device="cpu", adapter=folder)
    assert str(tmp_path) not in str(error.value)


def test_an_adapter_of_another_model_is_a_sentence(adapter, tmp_path):
    other = saved_folder(tmp_path / "other", "gpt2")
    with pytest.raises(ModelLoadError, match=r"poems cannot be merged into other"):
        load_model(other, device="cpu", adapter=adapter)


def test_the_commands_take_an_adapter(llama, adapter, merged, capsys):
    options = ["info", "--model", str(llama.source), "--device", "cpu", "--json"]
    assert main([*options, "--adapter", str(adapter)]) == 0
    model = json.loads(capsys.readouterr().out)["model"]
    assert model["adapter"] == "poems" and model["fingerprint"] == merged.fingerprint
