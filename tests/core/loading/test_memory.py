"""Memory: the estimate from the headers, and one sentence where it is not enough, before or while a model loads."""

import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

from s2e_core import ModelLoadError, load_model
from s2e_core.files import open_checkpoint
from s2e_core.loading import available_memory, estimate_memory, is_out_of_memory, memory
from s2e_core.loading.memory import MemoryNeed, estimate_weight_bytes, refuse_too_large
from s2e_core.model import bytes_by_device
from tests.families import saved_folder

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_the_estimate_is_what_the_loaded_weights_take(tmp_path, dtype):
    folder = saved_folder(tmp_path, dtype=torch.bfloat16)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or "auto")
    assert estimate_weight_bytes(open_checkpoint(folder), dtype) == sum(bytes_by_device(model).values())


def test_the_machine_says_how_much_is_free():
    assert 1e6 < (available_memory(CPU) or 0) < 1e14


def test_a_container_may_have_less_than_its_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    assert (available_memory(CPU) or 0) > 1e6
    (tmp_path / "memory.max").write_text("1000\n")
    assert available_memory(CPU) == 300


def test_a_model_larger_than_the_memory_is_refused_before_anything_is_built(llama, monkeypatch):
    monkeypatch.setattr("s2e_core.loading.memory.available_memory", lambda device: 1000)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
    with pytest.raises(ModelLoadError, match="kB of memory for its weights, and 1.0 kB are free on cpu"):
        load_model(llama.source, device="cpu")


def test_where_bfloat16_would_fit_it_is_offered(llama):
    checkpoint = open_checkpoint(llama.source)
    need = estimate_memory(checkpoint, CPU, torch.float32)
    between = MemoryNeed(need.weights, need.weights * 3 // 4, "cpu")
    with pytest.raises(ModelLoadError, match="--dtype bfloat16"):
        refuse_too_large("m", checkpoint, between)
    with pytest.raises(ModelLoadError) as error:
        refuse_too_large("m", checkpoint, MemoryNeed(need.weights, need.weights // 4, "cpu"))
    assert "bfloat16" not in str(error.value)
    with pytest.raises(ModelLoadError) as error:
        refuse_too_large("m", checkpoint, between, method="torchao")
    assert "Choose a smaller model" in str(error.value)


def test_a_tight_fit_loads_with_a_warning_and_an_ample_one_without(llama, monkeypatch):
    size = sum(bytes_by_device(llama.model).values())
    monkeypatch.setattr("s2e_core.loading.memory.available_memory", lambda device: int(size * 1.05))
    assert any("long prompts" in warning for warning in load_model(llama.source, device="cpu").warnings)
    monkeypatch.setattr("s2e_core.loading.memory.available_memory", lambda device: size * 2)
    assert not load_model(llama.source, device="cpu").warnings


def test_a_device_that_does_not_tell_is_tried():
    need = MemoryNeed(10**15, None, "xpu")
    assert need.warning is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_running_out_of_memory_while_loading_is_a_sentence(llama, monkeypatch, error):
    def full(*args, **options):
        raise error

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", full)
    with pytest.raises(ModelLoadError, match="does not fit into the memory of cpu"):
        load_model(llama.source, device="cpu")


def test_a_real_allocation_that_is_too_large_is_known_as_such():
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 55)
    assert is_out_of_memory(error.value)
    assert not is_out_of_memory(RuntimeError("shapes do not match")) and not is_out_of_memory(None)


def test_other_errors_keep_their_own_sentence(llama, tmp_path):
    folder = shutil.copytree(llama.source, tmp_path / "model")
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelLoadError, match="config.json cannot be read"):
        load_model(folder, device="cpu")
