"""Models whose files are quantised, with the full-precision files that they were made from: these are what is scored,
edited and exported, and they must be the same model's.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from s2e_core import ModelLoadError, export_adapter, export_checkpoint, load_edit, load_model, save_edit, verify_export
from s2e_core.cli import main
from s2e_core.export import export_size
from s2e_core.loading import residence
from s2e_core.measure.ray import _Copy
from s2e_core.model import LoadedModel, is_quantized
from s2e_core.verify import plan_second_model
from tests.core.chain import chain
from tests.core.edits import BF16, merged, random_edit
from tests.families import saved_folder, tiny_tokenizer

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "head_dim": 16}
BITS = {"int8": {"load_in_8bit": True}, "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}


def save_quantized(folder: Path, target: Path, settings: object) -> Path:
    """The folder's model saved in fewer bits, as people upload them: without a tokenizer of its own."""
    AutoModelForCausalLM.from_pretrained(folder, quantization_config=settings).save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_folder(tmp_path_factory.mktemp("original") / "full", "llama", dtype=BF16, **SIZES)


@pytest.fixture(scope="module", params=BITS)
def quantized(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    settings = BitsAndBytesConfig(**BITS[request.param])
    return save_quantized(folder, tmp_path_factory.mktemp("small") / request.param, settings)


@pytest.fixture(scope="module")
def loaded(quantized: Path, folder: Path) -> LoadedModel:
    return load_model(quantized, device="cpu", originals=folder)


def test_the_quantised_one_runs_and_everything_else_is_the_originals(loaded, folder):
    whole = load_model(folder, device="cpu")
    assert is_quantized(loaded.model.get_submodule(loaded.spec.sites[0].name).weight)
    assert "quantised (bitsandbytes)" in residence(loaded)
    assert any("fewer bits (bitsandbytes) than its" in said and "in full" in said for said in loaded.warnings)
    assert (loaded.source, loaded.model_id, loaded.fingerprint) == (whole.source, whole.model_id, whole.fingerprint)
    assert [repr(site) for site in loaded.spec.sites] == [repr(site) for site in whole.spec.sites]
    assert all(torch.equal(loaded.weight(i), whole.weight(i)) for i in range(len(whole.spec.sites)))


def test_the_export_is_the_originals_with_exactly_the_edit(loaded, folder, tmp_path):
    edit = random_edit(loaded)
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    assert export_size(loaded, edit, "checkpoint") == pytest.approx(size, rel=0.01)
    before, after = load_file(folder / "model.safetensors"), load_file(out / "model.safetensors")
    wanted = merged(load_model(folder, device="cpu"), edit, BF16).state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(changed) == len(edit.edited_sites())
    assert all(torch.equal(after[name], wanted[name]) for name in changed)
    for file in (folder / "config.json", folder / "tokenizer.json"):
        assert (out / file.name).read_bytes() == file.read_bytes()
    assert verify_export(loaded, edit, out).passed
    adapter = export_adapter(loaded, edit, tmp_path / "adapter")
    assert verify_export(loaded, edit, adapter).passed
    assert plan_second_model(loaded, edit, out).dtype == plan_second_model(loaded, edit, adapter).dtype == BF16
    assert plan_second_model(loaded, edit, adapter).target is None


def test_a_recipe_made_so_is_one_of_the_original_model_and_not_of_the_quantised_files(
    loaded, quantized, folder, tmp_path
):
    recipe = save_edit(chain(loaded).edit, tmp_path / "recipe.safetensors")
    assert load_edit(recipe, base=load_model(folder, device="cpu")).provenance.model_id == "full"
    tiny_tokenizer().save_pretrained(shutil.copytree(quantized, tmp_path / "alone"))
    with pytest.raises(Exception, match="full"):
        load_edit(recipe, base=load_model(tmp_path / "alone", device="cpu"))


def test_another_process_can_load_it_in_the_same_way(loaded):
    again = _Copy.of(loaded).load()
    assert again.fingerprint == loaded.fingerprint
    assert is_quantized(again.model.get_submodule(again.spec.sites[0].name).weight)


def test_the_command_line_takes_the_originals(loaded, quantized, folder, tmp_path, capsys):
    recipe = str(save_edit(random_edit(loaded), tmp_path / "recipe.safetensors"))
    named = ["--model", str(quantized), "--originals", str(folder), "--device", "cpu"]
    assert main(["export", *named, recipe, "-o", str(tmp_path / "out")]) == 0
    assert main(["info", *named]) == 0
    assert "quantised (bitsandbytes)" in capsys.readouterr().out


def spoiled(folder: Path, target: Path, name: str, change: object) -> Path:
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    change(weights[name])
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    return target


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("model.layers.1.mlp.down_proj.weight", lambda weight: weight.normal_(), "layers.1.mlp.down_proj differs by"),
        # What a training moves a little is far below what 4 bits lose; the embedding tells.
        ("model.embed_tokens.weight", lambda weight: weight.mul_(1.02), "of the embedding's rows differ"),
    ],
)
def test_originals_of_another_model_are_refused(quantized, folder, tmp_path, name, change, said):
    other = spoiled(folder, tmp_path / "other", name, change)
    with pytest.raises(ModelLoadError, match=f"other is not the model that {quantized.name} was made from.*{said}"):
        load_model(quantized, device="cpu", originals=other)


def test_a_dtype_that_quantised_files_do_not_heed_is_said(quantized, folder):
    asked = load_model(quantized, device="cpu", originals=folder, dtype=torch.float16)
    assert asked.model.dtype != torch.float16
    assert any("torch.float16 was ignored" in warning for warning in asked.warnings)
    held = load_model(quantized, device="cpu", originals=folder, dtype=asked.model.dtype)
    assert not any("was ignored" in warning for warning in held.warnings)


def test_a_few_other_rows_of_the_embedding_are_tokens_that_were_added(quantized, folder, tmp_path):
    def trained(weight: torch.Tensor) -> None:
        weight[-2:] = 0

    other = spoiled(folder, tmp_path / "other", "model.embed_tokens.weight", trained)
    assert load_model(quantized, device="cpu", originals=other).model_id == "other"


def test_originals_of_other_sizes_or_another_type_are_refused(quantized, tmp_path):
    for model_type, sizes in (("llama", SIZES | {"num_hidden_layers": 2}), ("qwen2", SIZES)):
        other = saved_folder(tmp_path / model_type, model_type, dtype=BF16, **sizes)
        with pytest.raises(ModelLoadError, match=f"{model_type} is not the model.*other heads and neurons"):
            load_model(quantized, device="cpu", originals=other)


def test_originals_have_no_use_where_nothing_is_quantised_and_none_where_they_are_so_themselves(quantized, folder):
    with pytest.raises(ModelLoadError, match="full are not quantised.*Leave out --originals"):
        load_model(folder, device="cpu", originals=folder)
    with pytest.raises(ModelLoadError, match=r"is quantised too \(bitsandbytes\)"):
        load_model(quantized, device="cpu", originals=quantized)
    with pytest.raises(ModelLoadError, match="The model folder nowhere does not exist"):
        load_model(quantized, device="cpu", originals="/nowhere")


def test_where_the_originals_cannot_run_from_the_disk_the_check_says_so(tmp_path):
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    loaded = load_model(saved_folder(tmp_path / "model", "dbrx"), device="cpu", quantize="int8")
    edit = random_edit(loaded)
    found = verify_export(loaded, edit, export_checkpoint(loaded, edit, tmp_path / "out"))
    assert not found.passed and "cannot be run with its weights on the disk" in "".join(found.lines())


@pytest.mark.parametrize("library", ["torchao", "optimum.quanto"])
def test_files_of_other_libraries_run_and_have_originals_too(library, folder, tmp_path):
    package = pytest.importorskip(library, reason=f"needs {library}")
    small = tmp_path / "small"
    if library == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        save_quantized(folder, small, TorchAoConfig(Int8WeightOnlyConfig()))
    else:  # transformers writes no such files; the library does
        model = AutoModelForCausalLM.from_pretrained(folder)
        package.QuantizedModelForCausalLM.quantize(model, weights=package.qint8).save_pretrained(small)
    tiny_tokenizer().save_pretrained(small)
    alone = load_model(small, device="cpu")
    edit = random_edit(alone)
    assert verify_export(alone, edit, export_adapter(alone, edit, tmp_path / "adapter")).passed
    loaded = load_model(small, device="cpu", originals=folder)
    assert is_quantized(loaded.model.get_submodule(loaded.spec.sites[0].name).weight)
    edit = random_edit(loaded)
    assert verify_export(loaded, edit, export_checkpoint(loaded, edit, tmp_path / "out")).passed


def test_a_configuration_that_speaks_of_fewer_bits_over_plain_weights_is_a_sentence(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config |= {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="says that its weights are quantised .bitsandbytes., but they are not"):
        load_model(tmp_path / "model", device="cpu")
