"""Tests of the second model of a verification: on the loaded weights, in memory, on the disk, or nowhere."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from s2e_core import Edited, ExportError, export_adapter, export_checkpoint, load_model, verify_export
from s2e_core.export import CONFIG_FILE, WEIGHTS_FILE
from s2e_core.files import open_checkpoint
from s2e_core.generation import preview_logits
from s2e_core.loading import memory as memory_module
from s2e_core.loading.memory import estimate_weight_bytes
from s2e_core.model import LoadedModel
from s2e_core.text import readable_size
from s2e_core.verify import plan_second_model
from s2e_core.verify import second_model as reloading_module
from s2e_core.verify.second_model import load_second_model
from tests.core.edits import BF16, FP32, IDS, folder_of, logits, random_edit
from tests.families import saved_folder, tiny_tokenizer

EXPERTS = ("mixtral", "deepseek_v3", "gpt_oss", "granitemoe")


def spread(folder: Path, dtype: torch.dtype = FP32, share: float = 0.5) -> LoadedModel:
    """Load a model with that share of its weights in memory and the rest on the disk."""
    size = estimate_weight_bytes(open_checkpoint(folder), dtype)
    return load_model(folder, device="auto", dtype=dtype, max_memory={"cpu": int(share * size)})


@pytest.fixture
def reads(monkeypatch):
    """Every model that is read from files during the test: (folder's name, target, dtype)."""
    reads, read = [], reloading_module.read_model

    def record_and_read(folder, target, dtype, **options):
        reads.append((folder.name, str(target), dtype))
        return read(folder, target, dtype, **options)

    monkeypatch.setattr(reloading_module, "read_model", record_and_read)
    return reads


# ---- an adapter: on the weights of the loaded model -----------------------------------------------------------------


def weight_versions(loaded: LoadedModel) -> dict[str, tuple[int, int]]:
    """By name, the identity of each parameter in memory and how often it was written."""
    weights = {name: p for name, p in loaded.model.named_parameters() if not p.is_meta and not p.is_inference()}
    return {name: (id(p), p._version) for name, p in weights.items()}


@pytest.mark.parametrize("family", ["llama", "gpt2", *EXPERTS])
@pytest.mark.parametrize("placement", ["whole", "half on the disk", "on the disk"])
def test_an_adapter_is_checked_without_a_second_copy_of_the_weights(tmp_path, reads, family, placement):
    folder = folder_of(tmp_path / "model", family, FP32, sharded=True)
    share = {"half on the disk": 0.5, "on the disk": 0.01}
    loaded = load_model(folder, device="cpu") if placement == "whole" else spread(folder, share=share[placement])
    edit = random_edit(loaded)
    out = export_adapter(loaded, edit, tmp_path / "adapter")
    before = weight_versions(loaded)
    modules = [(type(module), module._forward_hooks.copy()) for module in loaded.model.modules()]
    preview = preview_logits(loaded, Edited(edit), IDS)
    result = verify_export(loaded, edit, out)
    assert result.passed and result.logit_difference < 1e-4 and not result.warnings and not reads
    assert weight_versions(loaded) == before
    assert [(type(module), module._forward_hooks) for module in loaded.model.modules()] == modules
    assert torch.equal(preview_logits(loaded, Edited(edit), IDS), preview)
    model, _ = load_second_model(loaded, out, plan_second_model(loaded, edit, out))
    assert isinstance(model, PeftModel)
    torch.testing.assert_close(logits(model), preview, atol=1e-4, rtol=0)
    shared = {p.data_ptr() for p in loaded.model.parameters()}
    assert shared == {p.data_ptr() for name, p in model.named_parameters() if ".lora_" not in name}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_in_16_bits_the_adapter_runs_in_16_bits_and_nearer_to_the_preview_than_a_second_model_would(
    tmp_path, reads, family
):
    loaded = load_model(saved_folder(tmp_path / "model", family, dtype=BF16), device="cpu", dtype=BF16)
    edit = random_edit(loaded)
    result = verify_export(loaded, edit, export_adapter(loaded, edit, tmp_path / "adapter"))
    assert result.passed and not reads and result.logit_difference < 0.02 * result.logit_effect


@pytest.mark.parametrize("family", EXPERTS)
@pytest.mark.parametrize("placement", ["whole", "on the disk"])
def test_experts_in_16_bits_are_checked_in_float32_as_their_card_says_to_load_them(tmp_path, reads, family, placement):
    folder = folder_of(tmp_path / "model", family, BF16)
    loaded = load_model(folder, device="cpu", dtype=BF16) if placement == "whole" else spread(folder, BF16, 0.01)
    edit = random_edit(loaded)
    result = verify_export(loaded, edit, export_adapter(loaded, edit, tmp_path / "adapter"))
    assert result.passed and {dtype for _, _, dtype in reads} == {FP32}
    assert result.realised_min == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_experts_of_a_model_that_runs_in_fewer_bits_are_checked_from_its_files(tmp_path, quantize):
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    folder = folder_of(tmp_path / "model", "mixtral", BF16, hidden_size=64, intermediate_size=128)
    loaded = load_model(folder, device="cpu", quantize=quantize)
    edit = random_edit(loaded)
    result = verify_export(loaded, edit, export_adapter(loaded, edit, tmp_path / "adapter"))
    assert result.passed and not result.not_checked


# ---- a checkpoint: in memory or on the disk -------------------------------------------------------------------------


def test_the_memory_of_the_check_is_known_in_advance_and_reported(llama, tmp_path):
    edit = random_edit(llama)
    plan = plan_second_model(llama, edit, export_checkpoint(llama, edit, tmp_path / "out"))
    size = estimate_weight_bytes(open_checkpoint(llama.source), FP32)
    assert plan.target == torch.device("cpu") and f"{readable_size(size)} on cpu" in plan.sentence
    assert plan.sentence in "\n".join(verify_export(llama, edit, tmp_path / "out").lines())


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_without_enough_memory_it_stays_on_the_disk_with_the_same_result(tmp_path, family, monkeypatch):
    loaded = load_model(folder_of(tmp_path / "model", family, BF16, sharded=True), device="cpu")
    edit = random_edit(loaded)
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    in_memory_result = verify_export(loaded, edit, out)
    monkeypatch.setattr(memory_module, "available_memory", lambda device: 1000)
    plan = plan_second_model(loaded, edit, out)
    disk_result = verify_export(loaded, edit, out)
    assert plan.target == "disk" and "beside the loaded one" in plan.sentence and "stays on the disk" in plan.sentence
    assert disk_result.passed and (disk_result.logit_difference, disk_result.agreement) == (
        in_memory_result.logit_difference,
        in_memory_result.agreement,
    )


def test_a_spread_model_is_checked_within_what_is_free_now(tmp_path, monkeypatch):
    loaded = spread(saved_folder(tmp_path / "model", "llama"))
    edit, limits = random_edit(loaded), []
    read = reloading_module.read_model
    monkeypatch.setattr(reloading_module, "budget", lambda limits: {"cpu": 200_000})

    def record_and_read(*arguments, max_memory):
        limits.append(max_memory)
        return read(*arguments, max_memory=max_memory)

    monkeypatch.setattr(reloading_module, "read_model", record_and_read)
    assert verify_export(loaded, edit, export_checkpoint(loaded, edit, tmp_path / "out")).passed
    assert limits == [{"cpu": 200_000}] and loaded.placement.max_memory["cpu"] > 200_000


# ---- nowhere: written, but not checked ------------------------------------------------------------------------------


def not_checked_sentence(result, reason: str) -> str:
    """The verdict of a check that could not run: the files are right, and it says how to check them."""
    assert not result.passed and not result.unedited_tensors and reason in result.not_checked
    sentence = result.sentence()
    assert sentence.startswith(
        f"The {result.kind} was written, and the edit is in all {len(result.intended_tensors)} intended"
    )
    assert "was not checked here, because" in sentence and "does not do" not in " ".join(result.lines())
    assert "s2e_core verify out/recipe/steer2edit.safetensors out there" in sentence
    assert "nan" not in " ".join(result.lines()) and all(line.endswith(".") for line in result.lines())
    return sentence


def test_a_quantised_model_without_enough_memory_is_reported_as_not_checked(tmp_path, monkeypatch):
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "head_dim": 16}
    small = load_model(saved_folder(tmp_path / "full", "llama", dtype=BF16, **sizes), device="cpu", quantize="int8")
    small.model.save_pretrained(tmp_path / "stored")
    tiny_tokenizer().save_pretrained(tmp_path / "stored")
    stored = load_model(tmp_path / "stored", device="cpu")
    edit = random_edit(stored)
    out = export_adapter(stored, edit, tmp_path / "out")
    monkeypatch.setattr(memory_module, "available_memory", lambda device: 1000)
    assert "1.0 kB are free on cpu" in not_checked_sentence(verify_export(stored, edit, out), "stored quantised, needs")


def test_a_model_that_transformers_cannot_run_from_the_disk_is_reported_as_not_checked(tmp_path, monkeypatch):
    loaded = load_model(folder_of(tmp_path / "model", "dbrx", FP32), device="cpu")
    edit = random_edit(loaded)
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    assert verify_export(loaded, edit, out).passed
    monkeypatch.setattr(memory_module, "available_memory", lambda device: 1000)
    not_checked_sentence(verify_export(loaded, edit, out), "cannot be run with its weights on the disk")


def test_wrong_logits_from_the_disk_are_not_blamed_on_the_files(tmp_path, monkeypatch):
    loaded = load_model(folder_of(tmp_path / "model", "longcat_flash", FP32), device="cpu")
    edit = random_edit(loaded)
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    assert verify_export(loaded, edit, out).passed
    monkeypatch.setattr(memory_module, "available_memory", lambda device: 1000)
    not_checked_sentence(verify_export(loaded, edit, out), "transformers computes other logits")


def test_logits_that_are_wrong_from_disk_and_memory_are_blamed_on_the_files(llama, tmp_path, monkeypatch):
    edit = random_edit(llama)
    out = export_checkpoint(llama, edit, tmp_path / "out")
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    monkeypatch.setattr(memory_module, "available_memory", lambda device: 1000)
    result = verify_export(llama, edit, out)
    assert not result.passed and not result.not_checked and "Logits differ from the preview" in result.sentence()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "does not fit into memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "does not fit into memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk for temporary files is full"),
    ],
)
def test_memory_or_disk_that_runs_out_during_loading_is_not_blamed_on_the_files(
    llama, tmp_path, monkeypatch, error, reason
):
    edit = random_edit(llama)
    out = export_checkpoint(llama, edit, tmp_path / "out")

    def read(*args, **options):
        raise error

    monkeypatch.setattr(reloading_module, "read_model", read)
    not_checked_sentence(verify_export(llama, edit, out), reason)


def test_wrong_files_are_reported_even_if_nothing_can_run(llama, tmp_path, monkeypatch):
    edit = random_edit(llama)
    out = export_checkpoint(llama, random_edit(llama, sites=(0,)), tmp_path / "out")

    def read(*args, **options):
        raise MemoryError

    monkeypatch.setattr(reloading_module, "read_model", read)
    result = verify_export(llama, edit, out)
    assert result.unedited_tensors and result.sentence().startswith(
        "The checkpoint does not do what the preview showed."
    )


# ---- files that cannot be loaded or run -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda config: config | {"peft_type": "NOTHING"},
        lambda config: config | {"target_modules": ["nowhere"]},
        lambda config: config | {"target_modules": 7},
        lambda config: config | {"r": -1},
        lambda config: config | {"r": 3},
        lambda config: config | {"r": "one"},
        lambda config: config | {"lora_alpha": "one"},
        lambda config: config | {"task_type": "nothing"},
        lambda config: config | {"target_parameters": ["model.norm.weight"]},
        lambda config: [config],
        lambda config: None,
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_adapter_with_another_configuration_fails_with_a_sentence(llama, tmp_path, spoil):
    edit = random_edit(llama)
    out = export_adapter(llama, edit, tmp_path / "out")
    (out / CONFIG_FILE).write_text(json.dumps(spoil(json.loads((out / CONFIG_FILE).read_text()))))
    try:
        assert not verify_export(llama, edit, out).passed
    except ExportError as error:
        assert str(error).startswith("What was written to out cannot be ") and str(tmp_path) not in str(error)


@pytest.mark.parametrize("rows", [0, 2, 5])
def test_an_adapter_whose_factors_have_another_shape_fails_with_a_sentence(llama, tmp_path, rows):
    edit = random_edit(llama)
    out = export_adapter(llama, edit, tmp_path / "out")
    factors = load_file(out / WEIGHTS_FILE)
    name = next(iter(factors))
    save_file(factors | {name: torch.zeros(rows, *factors[name].shape[1:])}, out / WEIGHTS_FILE, {"format": "pt"})
    with pytest.raises(ExportError, match="belongs to another model"):
        verify_export(llama, edit, out)


@pytest.mark.parametrize("dtype", [BF16, torch.float64])
def test_an_adapter_in_another_number_format_is_judged_by_its_numbers(llama, tmp_path, dtype):
    edit = random_edit(llama)
    out = export_adapter(llama, edit, tmp_path / "out")
    factors = {name: factor.to(dtype) for name, factor in load_file(out / WEIGHTS_FILE).items()}
    save_file(factors, out / WEIGHTS_FILE, {"format": "pt"})
    assert verify_export(llama, edit, out).passed == (dtype == torch.float64)
