"""Tests of verifying an export: it passes what is right, fails what is wrong, and measures what rounding loses."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2e_core import (
    Cancelled,
    Component,
    ExportError,
    edited_weight,
    export_adapter,
    export_checkpoint,
    load_model,
    verify_export,
)
from s2e_core.export import CONFIG_FILE, WEIGHTS_FILE
from s2e_core.loading import BUNDLED_MODEL
from s2e_core.model import prompt_ids
from s2e_core.verify import Verification
from s2e_core.verify.findings import realised_share
from tests.core.edits import random_edit, stored_tensors
from tests.families import VOCABULARY, saved, saved_folder, tiny_model, tiny_tokenizer

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32


def load_tiny(folder, model_type, dtype, **overrides):
    """Save a tiny model in a dtype and load it."""
    return load_model(saved_folder(folder, model_type, dtype=dtype, **overrides), device="cpu")


@pytest.fixture(scope="module")
def bf16_llama(tmp_path_factory):
    """A llama that is stored as bf16 in shards and computes in fp32."""
    folder = tmp_path_factory.mktemp("bf16")
    saved(tiny_model("llama", vocab_size=VOCABULARY), folder, BF16, max_shard_size="60KB")
    tiny_tokenizer().save_pretrained(folder)
    return load_model(folder, device="cpu")


@pytest.mark.parametrize("dtype", [FP32, BF16, FP16])
@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gemma3"])
def test_a_correct_checkpoint_passes(tmp_path, model_type, dtype):
    loaded = load_tiny(tmp_path / "model", model_type, dtype)
    edit = random_edit(loaded, sites=(0, 1, 3))
    result = verify_export(loaded, edit, export_checkpoint(loaded, edit, tmp_path / "out"))
    assert result.passed and result.n_changed == 3 and not result.unexpected_tensors and not result.unedited_tensors
    assert result.logit_difference < (1e-4 if dtype == FP32 else 0.1) < result.logit_effect
    assert result.agreement > 0.9 and result.n_positions > 50
    assert result.realised_median == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("kind", ["float32", "adapter"])
def test_what_is_not_rounded_is_exact(bf16_llama, tmp_path, kind):
    edit = random_edit(bf16_llama, size=0.003)
    if kind == "adapter":
        out = export_adapter(bf16_llama, edit, tmp_path / "out")
    else:
        out = export_checkpoint(bf16_llama, edit, tmp_path / "out", dtype="float32")
    result = verify_export(bf16_llama, edit, out)
    assert result.passed and result.kind == ("adapter" if kind == "adapter" else "checkpoint")
    assert result.realised_min == pytest.approx(1.0, abs=1e-4)
    assert result.logit_difference <= result.logit_tolerance < 1e-2
    assert result.agreement == 1.0 and not result.warnings


@pytest.mark.parametrize("kind", ["stored", "float32", "adapter"])
def test_a_preview_in_bf16_is_compared_with_the_tolerance_that_its_rounding_needs(bf16_llama, tmp_path, kind):
    loaded = load_model(bf16_llama.source, device="cpu", dtype=BF16)
    edit = random_edit(loaded)
    if kind == "adapter":
        out = export_adapter(loaded, edit, tmp_path / "out")
    else:
        out = export_checkpoint(loaded, edit, tmp_path / "out", dtype=kind)
    result = verify_export(loaded, edit, out)
    assert result.passed and result.logit_difference < 0.1 * result.logit_effect
    assert not verify_export(loaded, edit, shutil.copytree(loaded.source, tmp_path / "base")).passed


@pytest.mark.parametrize("dtype", [BF16, FP16])
def test_an_edit_smaller_than_the_rounding_of_the_running_model_is_visible_in_its_tensors(tmp_path, dtype):
    loaded = load_model(BUNDLED_MODEL, device="cpu", dtype=dtype)
    edit = random_edit(loaded, size=0.001)
    result = verify_export(loaded, edit, export_checkpoint(loaded, edit, tmp_path / "out"))
    assert result.passed and 0 < result.logit_effect <= result.logit_tolerance
    assert any("too little to be visible" in line for line in result.lines())
    base = verify_export(loaded, edit, shutil.copytree(loaded.source, tmp_path / "base"))
    assert not base.passed and base.unedited_tensors


# Wrong exports fail


def test_a_copy_of_the_base_fails(llama, tmp_path):
    result = verify_export(llama, random_edit(llama), shutil.copytree(llama.source, tmp_path / "out"))
    assert not result.passed and result.n_changed == 0 and len(result.unedited_tensors) == 6
    assert result.realised_min == result.realised_median == 0.0
    assert result.logit_difference == pytest.approx(result.logit_effect, rel=1e-3)
    assert "does not" in result.sentence() and "Without the edit" in result.sentence()
    assert not any("Change kept in :" in line for line in result.lines())


def export_and_damage(loaded, edit, folder, change):
    """Export a checkpoint, then change its tensors with `change`."""
    out = export_checkpoint(loaded, edit, folder)
    tensors = load_file(out / "model.safetensors")
    change(tensors)
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    return out


def test_a_changed_bit_in_another_tensor_is_found_however_small(llama, tmp_path):
    def nudge(tensors):
        tensors["model.embed_tokens.weight"][300, 3] += 1e-7

    edit = random_edit(llama)
    result = verify_export(llama, edit, export_and_damage(llama, edit, tmp_path / "out", nudge))
    assert result.unexpected_tensors == ("model.embed_tokens.weight",) and not result.unedited_tensors
    assert result.logit_difference < 1e-4 and not result.passed
    assert "Changed unintentionally: model.embed_tokens.weight." in result.warnings


def test_one_tensor_put_back_is_found(llama, tmp_path):
    name = "model.layers.1.self_attn.o_proj.weight"
    original = stored_tensors(llama.source)[name]
    edit = random_edit(llama)
    out = export_and_damage(llama, edit, tmp_path / "out", lambda tensors: tensors.update({name: original}))
    result = verify_export(llama, edit, out)
    assert result.unedited_tensors == (name,) and not result.passed and result.n_changed == 5
    assert [component.site for component, _ in result.worst(2)] == [2, 2] and result.worst(1)[0][1] == 0.0


def test_an_extra_tensor_is_found(llama, tmp_path):
    edit = random_edit(llama)
    out = export_and_damage(llama, edit, tmp_path / "out", lambda tensors: tensors.update({"extra": torch.zeros(2)}))
    result = verify_export(llama, edit, out)
    assert result.unexpected_tensors == ("extra",) and not result.passed


def test_a_weight_that_transformers_has_to_invent_is_found(llama, tmp_path):
    edit = random_edit(llama)
    out = export_and_damage(llama, edit, tmp_path / "out", lambda tensors: tensors.pop("model.norm.weight"))
    result = verify_export(llama, edit, out)
    assert result.random_weights == result.unexpected_tensors == ("model.norm.weight",) and not result.passed
    assert any("no stored values for model.norm.weight" in warning for warning in result.warnings)


def test_half_the_edit_is_found(llama, tmp_path):
    edit = random_edit(llama)
    half = replace(edit, right=tuple(right / 2 for right in edit.right))
    result = verify_export(llama, edit, export_checkpoint(llama, half, tmp_path / "out"))
    assert not result.passed and not result.unedited_tensors and not result.unexpected_tensors
    assert result.realised_min == pytest.approx(0.5, abs=1e-3)
    assert any("Logits differ" in warning for warning in result.warnings)


def test_nan_in_the_export_fails(llama, tmp_path):
    def spoil(tensors):
        tensors["model.layers.2.mlp.down_proj.weight"][0, 1] = float("nan")

    edit = random_edit(llama)
    assert not verify_export(llama, edit, export_and_damage(llama, edit, tmp_path / "out", spoil)).passed


def export_and_damage_adapter(loaded, edit, folder, change):
    """Export an adapter, then change its factors with `change`."""
    out = export_adapter(loaded, edit, folder)
    factors = load_file(out / WEIGHTS_FILE)
    change(factors)
    save_file(factors, out / WEIGHTS_FILE, {"format": "pt"})
    return out


def test_an_adapter_with_another_factor_is_found(llama, tmp_path):
    name = "base_model.model.model.layers.0.self_attn.o_proj.lora_A.weight"
    edit = random_edit(llama)
    out = export_and_damage_adapter(
        llama, edit, tmp_path / "out", lambda factors: factors.update({name: factors[name] * 0.25})
    )
    result = verify_export(llama, edit, out)
    assert not result.passed and result.unedited_tensors == (name,)
    assert result.realised_min == pytest.approx(0.25, abs=1e-4)


def test_an_adapter_that_peft_scales_down_is_found_by_its_logits(llama, tmp_path):
    edit = random_edit(llama)
    out = export_adapter(llama, edit, tmp_path / "out")
    config = json.loads((out / CONFIG_FILE).read_text())
    (out / CONFIG_FILE).write_text(json.dumps(config | {"lora_alpha": 0.5}))
    result = verify_export(llama, edit, out)
    assert not result.unedited_tensors and not result.unexpected_tensors and not result.passed


@pytest.mark.filterwarnings("ignore:Found missing adapter keys", "ignore:While injecting the PEFT adapters")
def test_an_adapter_whose_config_forgets_a_module_is_found(llama, tmp_path):
    edit = random_edit(llama)
    out = export_adapter(llama, edit, tmp_path / "out")
    config = json.loads((out / CONFIG_FILE).read_text())
    forgotten = config["target_modules"].pop()
    (out / CONFIG_FILE).write_text(json.dumps(config))
    result = verify_export(llama, edit, out)
    assert (
        len(result.unedited_tensors) == 2
        and all(forgotten in name for name in result.unedited_tensors)
        and not result.passed
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: (out / "model.safetensors").unlink(), "out contains no export: adapter_config.json"),
        (lambda out: (out / "model.safetensors").write_bytes(b"short"), "not complete: .*; export it again"),
        (lambda out: (out / "config.json").write_text("{"), "cannot be loaded"),
        (lambda out: shutil.rmtree(out), "out contains no export"),
    ],
)
def test_an_export_that_cannot_be_read_gets_a_sentence(llama, tmp_path, spoil, message):
    edit = random_edit(llama)
    out = export_checkpoint(llama, edit, tmp_path / "out")
    spoil(out)
    with pytest.raises(ExportError, match=message):
        verify_export(llama, edit, out)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: (out / WEIGHTS_FILE).unlink(), f"{WEIGHTS_FILE} is missing in out; export it again"),
        (lambda out: (out / WEIGHTS_FILE).write_bytes(b"short"), "not complete: .*; export it again"),
        (lambda out: (out / CONFIG_FILE).unlink(), "out contains no export"),
    ],
)
def test_an_adapter_that_cannot_be_read_gets_a_sentence(llama, tmp_path, spoil, message):
    edit = random_edit(llama)
    out = export_adapter(llama, edit, tmp_path / "out")
    spoil(out)
    with pytest.raises(ExportError, match=message):
        verify_export(llama, edit, out)


def test_an_adapter_of_another_model_is_recognised_by_the_shape_of_its_factors(llama, tmp_path):
    other = load_tiny(tmp_path / "other", "llama", FP32, hidden_size=96)
    out = export_adapter(other, random_edit(other), tmp_path / "out")
    with pytest.raises(
        ExportError, match=r"belongs to another model.*lora_A\.weight has the shape \[1, 96\], and \[1, 64\]"
    ):
        verify_export(llama, random_edit(llama), out)


# The share of each component that survives rounding


def test_the_share_of_each_component_is_that_of_a_plain_loop(tmp_path):
    loaded = load_tiny(tmp_path / "model", "gpt2", BF16)
    edit = random_edit(loaded, size=0.02)
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    result = verify_export(loaded, edit, out)
    before, after = stored_tensors(loaded.source), stored_tensors(out)
    for i, site in enumerate(loaded.spec.sites):
        name = f"{site.name}.weight"
        realised = (after[name].double() - before[name].double()).T  # Conv1D is stored (in, out)
        for j in range(site.n_components):
            columns = slice(j * site.width, (j + 1) * site.width)
            intended = torch.outer(edit.left[i], edit.right[i][columns]).double()
            if not intended.any():
                assert result.realised_shares[i][j].isnan()
                continue
            share = (realised[:, columns] * intended).sum() / intended.square().sum()
            assert float(result.realised_shares[i][j]) == pytest.approx(float(share), abs=1e-5)


def test_the_worst_components_are_listed_and_the_adapter_is_suggested(bf16_llama, tmp_path):
    edit = random_edit(bf16_llama, size=0.003)
    result = verify_export(bf16_llama, edit, export_checkpoint(bf16_llama, edit, tmp_path / "out"))
    shares = [share for _, share in result.worst()]
    assert shares == sorted(shares) and len(shares) == 5 and shares[0] == result.realised_min < 0.9
    component, share = result.worst()[0]
    assert float(result.realised_shares[component.site][component.index]) == share
    assert any("less than 90%" in warning and "adapter" in warning for warning in result.warnings)


def test_small_changes_vanish_in_bf16_as_much_as_expected(bf16_llama):
    """A head block of 4096 x 128 with weights of 0.02 keeps 51 %, 88 % and 99 % of lambda 0.01, 0.03 and 0.1."""
    generator = torch.Generator().manual_seed(0)
    weight = (torch.randn(4096, 128, generator=generator) * 0.02).to(BF16)
    u, k = (torch.nn.functional.normalize(torch.randn(n, generator=generator), dim=0) for n in (4096, 128))
    site = replace(bf16_llama.spec.sites[0], n_components=1, width=128)
    spec = replace(bf16_llama.spec, sites=(site,), d_model=4096)
    for lam, share in ((0.01, 0.51), (0.03, 0.88), (0.1, 0.99)):
        edit = replace(random_edit(bf16_llama), spec=spec, left=(u,), right=(lam * k,), strength=(torch.tensor([lam]),))
        change = edited_weight(weight, u, lam * k).double() - weight.double()
        assert float(realised_share(edit, 0, u.double() @ change)) == pytest.approx(share, abs=0.03)


# The verdict as text, progress, and Stop


def test_the_verdict_is_a_sentence(llama, tmp_path):
    edit = random_edit(llama, sites=(0,))
    result = verify_export(llama, edit, export_checkpoint(llama, edit, tmp_path / "out"))
    assert result.sentence().startswith("The checkpoint does what the preview showed: the edit is in all 1 intended")
    assert result.lines()[0] == result.sentence()
    assert any("layer 0 head" in line for line in result.lines())
    assert all(line.endswith(".") for line in result.lines())


def test_a_verdict_without_logits_never_passes(llama):
    edit = random_edit(llama)
    result = Verification("checkpoint", llama.spec, "F32", ("a",), (), (), edit.strength)
    assert not result.passed
    assert replace(result, logit_difference=0.0, logit_tolerance=1e-4).passed


def test_own_prompts_and_progress(llama, tmp_path):
    edit = random_edit(llama)
    out, ticks = export_checkpoint(llama, edit, tmp_path / "out"), []
    result = verify_export(llama, edit, out, prompts=["Hello"], progress=lambda *tick: ticks.append(tick))
    total = len(stored_tensors(llama.source)) + 1
    assert ticks == [(done, total) for done in range(1, total + 1)]
    assert result.n_positions == len(prompt_ids(llama.tokenizer, "Hello"))


def test_stop_ends_it(llama, tmp_path):
    edit = random_edit(llama)
    out = export_checkpoint(llama, edit, tmp_path / "out")

    def stop(done, total):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        verify_export(llama, edit, out, progress=stop)


def test_the_loaded_model_is_the_same_afterwards(llama, tmp_path):
    before = {name: tensor.clone() for name, tensor in llama.model.state_dict().items()}
    modules = [type(module) for module in llama.model.modules()]
    edit = random_edit(llama)
    verify_export(llama, edit, export_adapter(llama, edit, tmp_path / "out"))
    assert [type(module) for module in llama.model.modules()] == modules
    assert all(torch.equal(tensor, before[name]) for name, tensor in llama.model.state_dict().items())
    assert Component(0, 1) in [component for component, _ in verify_export(llama, edit, tmp_path / "out").worst(500)]
