"""Tests of the LoRA adapter: PEFT loads it without a warning and computes the same logits as the preview."""

import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from huggingface_hub import metadata_load
from peft import AutoPeftModelForCausalLM, PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from s2e_core import (
    Cancelled,
    Edited,
    ExportError,
    Original,
    export_adapter,
    export_checkpoint,
    load_edit,
    load_model,
    save_edit,
    verify_export,
)
from s2e_core.cli import main
from s2e_core.export import CONFIG_FILE, EVALUATE_FILE, RECIPE_FILE, WEIGHTS_FILE, export_size
from s2e_core.generation import preview_logits
from tests.core.edits import IDS, files_of, merged, random_edit
from tests.families import saved_folder

FAMILIES = {"llama": torch.float32, "gpt2": torch.float32, "gemma2": torch.bfloat16, "gemma3": torch.float16}


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request, tmp_path_factory):
    dtype = FAMILIES[request.param]
    return load_model(saved_folder(tmp_path_factory.mktemp(request.param), request.param, dtype=dtype), device="cpu")


def load_with_adapter(loaded, folder):
    """Base and adapter loaded with plain PEFT; a warning about missing or unexpected keys is an error here."""
    base = AutoModelForCausalLM.from_pretrained(loaded.source, dtype=torch.float32)
    return PeftModel.from_pretrained(base, folder).eval()


@torch.inference_mode()
def logits(model):
    return model(input_ids=IDS, use_cache=False).logits


def test_peft_computes_the_preview(loaded, tmp_path):
    edit = random_edit(loaded)
    model = load_with_adapter(loaded, export_adapter(loaded, edit, tmp_path))
    preview, original = preview_logits(loaded, Edited(edit), IDS), preview_logits(loaded, Original(), IDS)
    torch.testing.assert_close(logits(model), preview, atol=1e-4, rtol=0)
    assert not torch.allclose(original, preview, atol=1e-2)
    with model.disable_adapter():
        torch.testing.assert_close(logits(model), original, atol=1e-4, rtol=0)


def test_merging_the_adapter_gives_the_edited_weights(loaded, tmp_path):
    edit = random_edit(loaded)
    model = load_with_adapter(loaded, export_adapter(loaded, edit, tmp_path)).merge_and_unload()
    expected = merged(loaded, edit, torch.float32).state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=1e-6)


def test_peft_takes_over_every_factor_and_nothing_else(loaded, tmp_path):
    edit = random_edit(loaded, sites=(0, 3, 4))
    folder = export_adapter(loaded, edit, tmp_path)
    peft_tensors = get_peft_model_state_dict(load_with_adapter(loaded, folder), save_embedding_layers=False)
    factors = load_file(folder / WEIGHTS_FILE)
    assert peft_tensors.keys() == factors.keys() and len(factors) == 6
    assert all(torch.equal(peft_tensors[name], factor) for name, factor in factors.items())
    assert all(factor.dtype == torch.float32 for factor in factors.values())


def test_only_edited_modules_are_named_by_their_full_path(loaded, tmp_path):
    config = json.loads((export_adapter(loaded, random_edit(loaded, sites=(1, 2)), tmp_path) / CONFIG_FILE).read_text())
    assert config["target_modules"] == [loaded.spec.sites[i].name for i in (1, 2)]
    assert config["r"] == config["lora_alpha"] == 1
    assert config["fan_in_fan_out"] == (loaded.spec.model_type == "gpt2")
    assert config["base_model_name_or_path"] == f"path/to/{loaded.model_id}"


def test_the_name_of_a_folder_is_not_mistaken_for_a_model_of_the_hub(llama, tmp_path):
    """A folder may be called gpt2 and contain any model; the Hub model of that name is another one."""
    base = replace(llama, model_id="gpt2")
    out = export_adapter(base, random_edit(base), tmp_path / "out")
    for load in (AutoPeftModelForCausalLM.from_pretrained, AutoModelForCausalLM.from_pretrained):
        with pytest.raises(OSError, match="path/to/gpt2"):
            load(out)


def test_half_the_scale_is_half_the_edit(llama, tmp_path):
    edit = random_edit(llama)
    model = load_with_adapter(llama, export_adapter(llama, edit, tmp_path))
    for module in model.modules():
        if hasattr(module, "set_scale"):
            module.set_scale("default", 0.5)
    half = replace(edit, right=tuple(right / 2 for right in edit.right))
    torch.testing.assert_close(logits(model), preview_logits(llama, Edited(half), IDS), atol=1e-4, rtol=0)


def test_transformers_alone_loads_it_too(llama, tmp_path):
    edit = random_edit(llama)
    model = AutoModelForCausalLM.from_pretrained(llama.source, dtype=torch.float32).eval()
    model.load_adapter(str(export_adapter(llama, edit, tmp_path)))
    torch.testing.assert_close(logits(model), preview_logits(llama, Edited(edit), IDS), atol=1e-4, rtol=0)


def test_card_licence_and_recipe_lie_beside_the_factors(llama, tmp_path):
    source = shutil.copytree(llama.source, tmp_path / "model")
    (source / "README.md").write_text("---\nlicense: mit\n---\n")
    (source / "LICENSE.txt").write_text("Do what you like.")
    base = replace(load_model(source, device="cpu"), model_id="owner/base", revision="abc123")
    out = export_adapter(base, random_edit(base), tmp_path / "out")
    assert files_of(out).keys() == {"README.md", "LICENSE.txt", CONFIG_FILE, WEIGHTS_FILE, RECIPE_FILE, EVALUATE_FILE}
    front = metadata_load(out / "README.md")
    assert (front["license"], front["base_model"], front["library_name"]) == ("mit", "owner/base", "peft")
    assert "from_pretrained('owner/base', revision='abc123', dtype=torch.float32)" in (out / "README.md").read_text()
    assert json.loads((out / CONFIG_FILE).read_text())["revision"] == "abc123"
    assert load_edit(out / RECIPE_FILE, base=base).count("heads") == random_edit(base).count("heads")


def test_the_size_is_known_and_the_bytes_are_the_same_every_time(loaded, tmp_path, monkeypatch):
    edit = random_edit(loaded)
    first, second = (files_of(export_adapter(loaded, edit, tmp_path / name)) for name in ("a", "b"))
    assert first == second
    size = sum(len(content) for content in first.values())
    monkeypatch.setitem(sys.modules, "peft", None)  # the page shows the size without waiting for this import
    assert abs(size - export_size(loaded, edit, "adapter")) <= 0.01 * size


@pytest.mark.parametrize("family", ["qwen2_moe", "deepseek_v2"])
def test_the_size_is_known_if_peft_needs_modules_as_parameters(family, tmp_path):
    loaded = load_model(saved_folder(tmp_path / "model", family), device="cpu")
    edit = random_edit(loaded)
    files = files_of(export_adapter(loaded, edit, tmp_path / "out"))
    assert json.loads(files[CONFIG_FILE])["target_parameters"]
    size = sum(len(content) for content in files.values())
    assert abs(size - export_size(loaded, edit, "adapter")) <= 0.01 * size


def test_a_weight_that_several_layers_share_goes_into_a_checkpoint_and_not_into_an_adapter(tmp_path):
    loaded = load_model(saved_folder(tmp_path / "model", "zamba"), device="cpu")
    edit = random_edit(loaded)
    with pytest.raises(ExportError, match=r"shared_transf\.self_attn\.o_proj.*later layers use.*checkpoint instead"):
        export_adapter(loaded, edit, tmp_path / "out")
    result = verify_export(loaded, edit, export_checkpoint(loaded, edit, tmp_path / "out"))
    assert result.passed and result.logit_difference < 1e-4 < 1e-2 < result.logit_effect


def test_edits_that_change_nothing_or_belong_elsewhere_are_refused(llama, gpt2, tmp_path):
    with pytest.raises(ExportError, match="The edit is empty"):
        export_adapter(llama, random_edit(llama, size=0.0), tmp_path / "out")
    with pytest.raises(ExportError, match=f"{gpt2.model_id}.*{llama.model_id}"):
        export_adapter(llama, random_edit(gpt2), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_files_is_refused_and_left_alone(llama, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ExportError, match="already contains files"):
        export_adapter(llama, random_edit(llama), tmp_path)
    assert files_of(tmp_path) == {"mine.txt": b"keep"}


def test_stop_leaves_nothing(llama, tmp_path):
    def stop(done, total):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        export_adapter(llama, random_edit(llama), tmp_path / "out", progress=stop)
    assert not list(tmp_path.iterdir())


def test_the_command_names_a_local_base_by_its_path_so_that_auto_classes_find_it(llama, tmp_path):
    recipe = str(save_edit(random_edit(llama), tmp_path / "a.safetensors"))
    arguments = ["export", recipe, "--model", str(llama.source), "--device", "cpu", "--format", "adapter", "-o"]
    assert main([*arguments, str(tmp_path / "local")]) == 0
    assert json.loads((tmp_path / "local" / CONFIG_FILE).read_text())["base_model_name_or_path"] == str(llama.source)
    assert "base_model" not in metadata_load(tmp_path / "local" / "README.md")
    model = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "local", dtype=torch.float32).eval()
    expected = preview_logits(llama, Edited(random_edit(llama)), IDS)
    torch.testing.assert_close(logits(model), expected, atol=1e-4, rtol=0)


def test_a_base_can_be_given_the_name_that_it_has_on_the_hub(llama, tmp_path, capsys):
    recipe = str(save_edit(random_edit(llama), tmp_path / "a.safetensors"))
    arguments = ["export", recipe, "--model", str(llama.source), "--device", "cpu", "--format", "adapter"]
    assert main([*arguments, "--base-name", "owner/base", "-o", str(tmp_path / "named")]) == 0
    config = json.loads((tmp_path / "named" / CONFIG_FILE).read_text())
    front = metadata_load(tmp_path / "named" / "README.md")
    assert config["base_model_name_or_path"] == front["base_model"] == "owner/base"
    assert front["base_model_relation"] == "adapter" and "arxiv:2602.09870" in front["tags"]
    with pytest.raises(SystemExit):
        main([*arguments, "--base-name", "base", "-o", str(tmp_path / "x")])
    assert '"base" is no Hub id. Write owner/name' in capsys.readouterr().err
