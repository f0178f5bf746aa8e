"""Tests of exports of mixtures of experts: stored as one stack or expert by expert, adapted by PEFT as parameters."""

import json
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from s2e_core import (
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
from s2e_core.export import CONFIG_FILE, WEIGHTS_FILE
from s2e_core.export.card import change_of_edited_matrices
from s2e_core.export.locating import locate, split_by_matrix
from s2e_core.files import checkpoint as checkpoint_module
from s2e_core.files import open_checkpoint
from s2e_core.generation import preview_logits
from tests.core.edits import BF16, FP32, IDS, files_of, folder_of, logits, merged, plain, random_edit, stored_tensors

FAMILIES = {
    "mixtral": "block_sparse_moe.experts.0.w2.weight",
    "qwen3_moe": "mlp.experts.0.down_proj.weight",
    "deepseek_v3": "mlp.experts.0.down_proj.weight",
    "jamba": "feed_forward.experts.0.down_proj.weight",
    "nemotron_h": "mixer.experts.0.down_proj.weight",
    "granitemoe": "block_sparse_moe.output_linear.weight",
    "gpt_oss": "mlp.experts.down_proj",
    "aria_text": "mlp.experts.fc2.weight",
    "llama4_text": "feed_forward.experts.down_proj",
    "jetmoe": "mlp.output_linear.weight",
}
"""By model type, the end of the name on disk of a layer's (first) experts."""


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request, tmp_path_factory):
    folder = folder_of(tmp_path_factory.mktemp(request.param) / "model", request.param, BF16, sharded=True)
    return load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory):
    return load_model(folder_of(tmp_path_factory.mktemp("mixtral") / "model", "mixtral", FP32), device="cpu")


def first_mixture(loaded):
    """The index of the first site with experts."""
    return next(i for i in loaded.spec.of_kind("neurons") if loaded.spec.sites[i].experts)


def keep_one_expert(loaded, edit, expert):
    """The part of an edit that changes one expert of the first mixture."""
    site = first_mixture(loaded)
    n = loaded.spec.sites[site].n_inputs // loaded.spec.sites[site].experts
    only = torch.zeros_like(edit.right[site])
    only[expert * n : (expert + 1) * n] = edit.right[site][expert * n : (expert + 1) * n]
    return replace(edit, right=tuple(only if i == site else torch.zeros_like(r) for i, r in enumerate(edit.right)))


# Checkpoints


def test_the_stored_tensors_of_a_mixture_contain_each_input_once(loaded):
    site = first_mixture(loaded)
    pieces = dict(locate(open_checkpoint(loaded.source), loaded, [site]))[site]
    stored, n = stored_tensors(loaded.source), loaded.spec.sites[site].n_inputs
    assert pieces[0].tensor.name.endswith(FAMILIES[loaded.spec.model_type])
    assert len(pieces) in (1, loaded.spec.sites[site].experts)
    assert sorted(i for piece in pieces for i in range(n)[piece.inputs]) == list(range(n))
    for piece in pieces:
        whole = stored[piece.tensor.name].float()
        matrices = whole.view(-1, *whole.shape[-2:])
        side_by_side = torch.cat([matrix.T if piece.transposed else matrix for matrix in matrices], dim=1)
        assert torch.equal(side_by_side, loaded.weight(site)[:, piece.inputs])


def test_transformers_loads_the_experts_edited_in_memory(loaded, tmp_path):
    edit = random_edit(loaded)
    expected = merged(loaded, edit, BF16).state_dict()
    out = plain(export_checkpoint(loaded, edit, tmp_path / "out"), dtype=BF16)
    for name, tensor in out.state_dict().items():
        # One fused operation may change the last bit.
        torch.testing.assert_close(tensor, expected[name], rtol=2**-7, atol=1e-5)
    assert not torch.allclose(logits(out), logits(plain(loaded.source, dtype=BF16)), atol=1e-2)


def test_float32_contains_the_sum_unrounded(loaded, tmp_path):
    edit = random_edit(loaded)
    out = plain(export_checkpoint(loaded, edit, tmp_path / "out", dtype="float32"))
    expected = merged(loaded, edit, FP32).state_dict()
    assert out.dtype == FP32
    for name, tensor in out.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-6)


def test_only_the_edited_experts_bytes_change(loaded, tmp_path):
    edit = keep_one_expert(loaded, random_edit(loaded), expert=1)
    (pieces,) = dict(locate(open_checkpoint(loaded.source), loaded, [first_mixture(loaded)])).values()
    name = pieces[1 if len(pieces) > 1 else 0].tensor.name
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    before, after = stored_tensors(loaded.source), stored_tensors(out)
    assert {n for n in before if not torch.equal(before[n], after[n])} == {name} and before.keys() == after.keys()
    if len(pieces) == 1:
        assert torch.equal(before[name][0], after[name][0]) and not torch.equal(before[name][1], after[name][1])
    changed = [file for file, content in files_of(loaded.source).items() if files_of(out)[file] != content]
    assert len(changed) == 1


def test_small_blocks_that_end_within_a_matrix_write_the_same_bytes(loaded, tmp_path, monkeypatch):
    edit = random_edit(loaded)
    whole = files_of(export_checkpoint(loaded, edit, tmp_path / "whole"))
    monkeypatch.setattr(checkpoint_module, "CHUNK", 5000)
    assert files_of(export_checkpoint(loaded, edit, tmp_path / "blocks")) == whole
    result = verify_export(loaded, edit, tmp_path / "blocks")
    assert result.passed and result.realised_median == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("kind", ["stored", "float32", "adapter"])
def test_an_export_does_what_the_preview_showed(loaded, tmp_path, kind):
    edit = random_edit(loaded)
    if kind == "adapter":
        out = export_adapter(loaded, edit, tmp_path / "out")
    else:
        out = export_checkpoint(loaded, edit, tmp_path / "out", dtype=kind)
    result = verify_export(loaded, edit, out)
    assert result.passed and not result.unedited_tensors and not result.unexpected_tensors and result.agreement > 0.9
    assert result.logit_difference < 0.1 * result.logit_effect
    assert result.realised_median == pytest.approx(1.0, abs=0.02 if kind == "stored" else 1e-4)


def test_a_tensor_of_one_expert_that_was_put_back_is_found(mixtral, tmp_path):
    edit = random_edit(mixtral)
    out = export_checkpoint(mixtral, edit, tmp_path / "out")
    name = "model.layers.1.block_sparse_moe.experts.2.w2.weight"
    tensors = load_file(out / "model.safetensors")
    save_file(tensors | {name: stored_tensors(mixtral.source)[name]}, out / "model.safetensors", {"format": "pt"})
    result = verify_export(mixtral, edit, out)
    assert result.unedited_tensors == (name,) and not result.passed
    assert "layer 1 expert 2 neuron 1 0%" in result.lines()[5]


def test_as_many_layers_as_experts_are_not_mistaken_for_them(tmp_path):
    loaded = load_model(folder_of(tmp_path / "model", "qwen3_moe", FP32, num_hidden_layers=4), device="cpu")
    mixtures = [i for i, site in enumerate(loaded.spec.sites) if site.experts]
    pieces_by_site = dict(locate(open_checkpoint(loaded.source), loaded, mixtures))
    for site, pieces in pieces_by_site.items():
        layer = loaded.spec.sites[site].layer
        names = [f"model.layers.{layer}.mlp.experts.{expert}.down_proj.weight" for expert in range(4)]
        assert [piece.tensor.name for piece in pieces] == names


def test_transposed_experts_are_found_by_content(mixtral, tmp_path):
    folder = folder_of(tmp_path / "model", "mixtral", FP32)
    loaded, file = load_model(folder, device="cpu"), folder / "model.safetensors"
    stored = load_file(file)
    save_file({n: t.T.contiguous() if ".w2." in n else t for n, t in stored.items()}, file, {"format": "pt"})
    edit = random_edit(loaded)
    after = stored_tensors(export_checkpoint(loaded, edit, tmp_path / "out"))
    expected = stored_tensors(export_checkpoint(mixtral, random_edit(mixtral), tmp_path / "expected"))
    assert all(torch.equal(t.T if ".w2." in n else t, expected[n]) for n, t in after.items())


def test_experts_that_are_exchanged_on_disk_are_not_mistaken_for_the_loaded_ones(tmp_path):
    folder = folder_of(tmp_path / "model", "mixtral", FP32)
    loaded, file = load_model(folder, device="cpu"), folder / "model.safetensors"
    first, second = (f"model.layers.0.block_sparse_moe.experts.{i}.w2.weight" for i in (0, 1))
    stored = load_file(file)
    save_file(stored | {first: stored[second], second: stored[first]}, file, {"format": "pt"})
    with pytest.raises(ExportError, match=r"No tensor in model equals .*experts\.down_proj"):
        export_checkpoint(loaded, random_edit(loaded), tmp_path / "out")


def test_quantised_experts_are_refused_by_name(mixtral, tmp_path):
    folder = folder_of(tmp_path / "model", "qwen3_moe", FP32)
    loaded, file = load_model(folder, device="cpu"), folder / "model.safetensors"
    stored = {n: t.to(torch.float8_e4m3fn) if ".experts." in n else t for n, t in load_file(file).items()}
    save_file(stored, file, {"format": "pt"})
    with pytest.raises(ExportError, match=r"experts\.down_proj is stored quantised \(F8_E4M3\).*adapter"):
        export_checkpoint(loaded, random_edit(loaded), tmp_path / "out")


def test_rows_of_stacked_matrices_are_split_at_the_ends_of_matrices():
    rows = torch.arange(7).unsqueeze(1)
    parts = [(matrix, row, part.flatten().tolist()) for matrix, row, part in split_by_matrix(4, rows, 3)]
    assert parts == [(1, 1, [0, 1]), (2, 0, [2, 3, 4]), (3, 0, [5, 6])]


def test_the_change_of_edited_matrices_is_computed_over_all_experts(mixtral):
    edit = random_edit(mixtral)
    change = sum(float(torch.outer(u, a).square().sum()) for u, a in zip(edit.left, edit.right, strict=True))
    weight = sum(float(mixtral.weight(i).square().sum()) for i in range(len(mixtral.spec.sites)))
    assert change_of_edited_matrices(mixtral, edit) == pytest.approx((change / weight) ** 0.5, rel=1e-5)


def test_a_recipe_keeps_the_experts(mixtral, tmp_path):
    edit = random_edit(mixtral)
    again = load_edit(save_edit(edit, tmp_path / "edit.safetensors"), base=mixtral)
    assert again.spec.sites[1].experts == 4 and again.spec.sites[1].parameter == edit.spec.sites[1].parameter
    assert all(torch.equal(a, b) for a, b in zip(again.right, edit.right, strict=True))


# Adapters


def load_with_adapter(loaded, folder):
    """Base and adapter loaded with plain PEFT; a warning about missing or unexpected keys is an error here."""
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(loaded.source, dtype=FP32), folder).eval()


def test_peft_computes_the_preview_and_leaves_the_base_alone(loaded, tmp_path):
    edit = random_edit(loaded)
    model = load_with_adapter(loaded, export_adapter(loaded, edit, tmp_path))
    preview, original = preview_logits(loaded, Edited(edit), IDS), preview_logits(loaded, Original(), IDS)
    torch.testing.assert_close(logits(model), preview, atol=1e-4, rtol=0)
    with model.disable_adapter():
        torch.testing.assert_close(logits(model), original, atol=1e-4, rtol=0)
    assert not torch.allclose(original, preview, atol=1e-2)
    expected = merged(loaded, edit, FP32).state_dict()
    for name, tensor in model.merge_and_unload().state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=1e-6)


def test_transformers_alone_loads_the_adapter_too(mixtral, tmp_path):
    edit = random_edit(mixtral)
    model = plain(mixtral.source)
    model.load_adapter(str(export_adapter(mixtral, edit, tmp_path)))
    torch.testing.assert_close(logits(model), preview_logits(mixtral, Edited(edit), IDS), atol=1e-4, rtol=0)


def test_experts_are_named_as_parameters_and_so_are_modules_that_peft_mistakes_for_experts(tmp_path):
    loaded = load_model(folder_of(tmp_path / "model", "deepseek_v3", FP32), device="cpu")
    config = json.loads((export_adapter(loaded, random_edit(loaded), tmp_path / "out") / CONFIG_FILE).read_text())
    heads = [site.name for site in loaded.spec.sites if site.kind == "heads"]
    assert config["target_modules"] == heads
    assert sorted(config["target_parameters"]) == [
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.1.mlp.experts.down_proj",
        "model.layers.1.mlp.shared_experts.down_proj.weight",
        "model.layers.2.mlp.experts.down_proj",
        "model.layers.2.mlp.shared_experts.down_proj.weight",
    ]


def test_the_factors_of_experts_contain_a_row_and_a_column_for_each(mixtral, tmp_path):
    edit = random_edit(mixtral)
    factors = load_file(export_adapter(mixtral, edit, tmp_path) / WEIGHTS_FILE)
    site = first_mixture(mixtral)
    name = f"base_model.model.{mixtral.spec.sites[site].name}"
    a, b = factors[f"{name}.lora_A.weight"], factors[f"{name}.lora_B.weight"]
    for expert in range(4):
        assert torch.equal(a[expert], edit.right[site][expert * a.shape[1] : (expert + 1) * a.shape[1]])
        assert torch.equal(b[:, expert], edit.left[site])
    assert "dtype=torch.float32" in (tmp_path / "README.md").read_text()


def test_experts_in_one_matrix_are_exported_as_a_checkpoint_but_not_as_an_adapter(tmp_path):
    loaded = load_model(folder_of(tmp_path / "model", "dbrx", FP32), device="cpu")
    edit = random_edit(loaded)
    with pytest.raises(ExportError, match=r"PEFT .* cannot adapt the experts of .*ffn.*checkpoint"):
        export_adapter(loaded, edit, tmp_path / "out")
    assert verify_export(loaded, edit, export_checkpoint(loaded, edit, tmp_path / "out")).passed


ONE_EXPERT = {"mixtral": "num_local_experts", "qwen3_moe": "num_experts", "gpt_oss": "num_local_experts"}


@pytest.mark.parametrize("family", ONE_EXPERT)
@pytest.mark.parametrize("hidden_size", [64, 96])
def test_a_single_expert_is_adapted_or_refused_if_peft_misreads_its_shape(tmp_path, family, hidden_size):
    """PEFT would add the transposed change to a square matrix, and fail on any other matrix."""
    sizes = {ONE_EXPERT[family]: 1, "num_experts_per_tok": 1, "hidden_size": hidden_size, "intermediate_size": 96}
    loaded = load_model(folder_of(tmp_path / "model", family, FP32, **sizes), device="cpu")
    edit = random_edit(loaded)
    if family == "gpt_oss":
        with pytest.raises(ExportError, match=r"PEFT .* cannot adapt the single expert of .*experts.*checkpoint"):
            export_adapter(loaded, edit, tmp_path / "out")
        assert verify_export(loaded, edit, export_checkpoint(loaded, edit, tmp_path / "out")).passed
    else:
        assert verify_export(loaded, edit, export_adapter(loaded, edit, tmp_path / "out")).passed


def test_an_adapter_that_peft_would_rename_and_lose_is_refused_in_favour_of_the_checkpoint(tmp_path):
    loaded = load_model(folder_of(tmp_path / "model", "laguna", FP32), device="cpu")
    with pytest.raises(ExportError, match=r"PEFT .*shared_experts\.down_proj under another name.*checkpoint"):
        export_adapter(loaded, random_edit(loaded), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Found missing adapter keys", "ignore:While injecting the PEFT adapters")
def test_an_adapter_that_peft_applies_to_all_experts_fails_the_check(tmp_path):
    loaded = load_model(folder_of(tmp_path / "model", "deepseek_v3", FP32), device="cpu")
    edit = random_edit(loaded, sites=(0, 1))
    out = export_adapter(loaded, edit, tmp_path / "out")
    config = json.loads((out / CONFIG_FILE).read_text())
    modules = [*config["target_modules"], *(n.removesuffix(".weight") for n in config.pop("target_parameters"))]
    (out / CONFIG_FILE).write_text(json.dumps(config | {"target_modules": modules}))
    result = verify_export(loaded, edit, out)
    assert not result.passed and len(result.unedited_tensors) == 2 and result.unexpected_tensors
    assert all("mlp.down_proj" in name for name in result.unedited_tensors)
