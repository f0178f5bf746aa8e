"""Models in fewer bits: run and tried out so, scored and exported from the files' own weights; what is stored so is
turned back into numbers where that is possible, and refused with a sentence where it is not.

What needs a library that is not installed is skipped; bitsandbytes is among the tests' requirements.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from s2e_core import (
    Edited,
    ExportError,
    ModelLoadError,
    Original,
    compare,
    export_adapter,
    export_checkpoint,
    load_edit,
    load_model,
    save_edit,
    verify_export,
)
from s2e_core.export import export_size
from s2e_core.files import open_checkpoint
from s2e_core.generation import preview_logits
from s2e_core.loading import residence
from s2e_core.loading.memory import estimate_weight_bytes
from s2e_core.loading.originals import describe_difference
from s2e_core.loading.quantized import check_stored, read_quantization_method
from s2e_core.model import LoadedModel, bytes_by_device, find_sites, is_quantized, site_weight, verify_sites
from tests.core.chain import chain
from tests.core.edits import BF16, FP32, IDS, merged, random_edit
from tests.families import saved_folder, tiny_tokenizer

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "head_dim": 16}
LOSSES = {"int8": 0.01, "int4": 0.12}
"""Of a weight's norm, that quantising may cost."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_folder(tmp_path_factory.mktemp("full"), "llama", dtype=BF16, **SIZES)


@pytest.fixture(scope="module")
def whole(folder: Path) -> LoadedModel:
    return load_model(folder, device="cpu")


@pytest.fixture(scope="module", params=["int8", "int4"])
def small(request: pytest.FixtureRequest, folder: Path) -> LoadedModel:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    return load_model(folder, device="cpu", quantize=request.param)


def test_it_runs_in_fewer_bits_and_says_so(small, whole):
    quantize = small.placement.quantize
    assert quantize in residence(small) and any(f"({quantize})" in warning for warning in small.warnings)
    assert is_quantized(small.model.get_submodule(small.spec.sites[0].name).weight)
    assert sum(bytes_by_device(small.model).values()) < 0.7 * sum(bytes_by_device(whole.model).values())
    running = [site_weight(small.model, site) for site in small.spec.sites]
    losses = [float((w - whole.weight(i)).norm() / whole.weight(i).norm()) for i, w in enumerate(running)]
    assert 0 < max(losses) < LOSSES[quantize]


def test_weights_fingerprint_and_sites_are_those_of_the_files(small, whole):
    assert small.fingerprint == whole.fingerprint
    assert [repr(site) for site in small.spec.sites] == [repr(site) for site in whole.spec.sites]
    assert all(torch.equal(small.weight(i), whole.weight(i)) for i in range(len(whole.spec.sites)))
    assert all(torch.equal(*pair) for pair in zip(small.blocks(0), whole.blocks(0), strict=True))


def test_an_edit_made_in_fewer_bits_is_one_of_the_full_model(small, whole, tmp_path):
    edit = chain(small).edit
    recipe = save_edit(edit, tmp_path / "recipe.safetensors")
    assert load_edit(recipe, base=whole).provenance.fingerprint == whole.fingerprint
    moved = preview_logits(small, Edited(edit), IDS) - preview_logits(small, Original(), IDS)
    assert float(moved.abs().max()) > 1e-3
    assert list(compare(small, "Hi", [Original(), Edited(edit)], max_new_tokens=4))[-1]


def test_an_export_patches_the_full_precision_files(small, whole, tmp_path):
    edit = random_edit(small)
    out = export_checkpoint(small, edit, tmp_path / "small")
    same = export_checkpoint(whole, random_edit(whole), tmp_path / "whole")
    assert (out / "model.safetensors").read_bytes() == (same / "model.safetensors").read_bytes()
    written = AutoModelForCausalLM.from_pretrained(out, dtype=BF16).state_dict()
    wanted = merged(whole, edit, BF16).state_dict()
    assert all(torch.equal(written[name], tensor) for name, tensor in wanted.items())
    assert verify_export(small, edit, out).passed
    assert verify_export(small, edit, export_adapter(small, edit, tmp_path / "adapter")).passed


def test_weights_that_are_not_the_files_are_noticed(small, whole):
    other = AutoModelForCausalLM.from_pretrained(whole.source, dtype=FP32)
    assert describe_difference(small.model, small.spec, other, whole.spec) is None
    other.get_submodule(whole.spec.sites[0].name).weight.data.normal_()
    said = describe_difference(small.model, small.spec, other, whole.spec)
    assert said is not None and said.startswith("the weight of model.layers.0")


def test_weights_of_zeros_and_a_few_far_larger_numbers_can_be_quantised(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.layers.0.self_attn.o_proj.weight"].zero_()
    weights["model.layers.1.mlp.down_proj.weight"][:, ::64] *= 5  # in every block of 64 that shares a scale
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert load_model(tmp_path, device="cpu", quantize="int4").placement.quantize == "int4"


def test_what_is_stored_quantised_can_be_tried_and_taken_home_as_an_adapter(small, tmp_path):
    small.model.save_pretrained(tmp_path / "stored")
    tiny_tokenizer().save_pretrained(tmp_path / "stored")
    stored = load_model(tmp_path / "stored", device="cpu")
    assert any("files are quantised (bitsandbytes)" in warning for warning in stored.warnings)
    edit = chain(stored).edit
    assert verify_export(stored, edit, export_adapter(stored, edit, tmp_path / "adapter")).passed
    with pytest.raises(ExportError, match="files are quantised.*adapter or a recipe; or start with --originals"):
        export_checkpoint(stored, edit, tmp_path / "checkpoint")
    with pytest.raises(ExportError, match="files are quantised"):
        export_size(stored, edit, "checkpoint")
    with pytest.raises(ModelLoadError, match="already quantised"):
        load_model(tmp_path / "stored", device="cpu", quantize="int8")


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_the_estimate_is_close_to_what_is_held(folder, quantize):
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    held = sum(bytes_by_device(load_model(folder, device="cpu", quantize=quantize).model).values())
    assert estimate_weight_bytes(open_checkpoint(folder), FP32, quantize=quantize) == pytest.approx(held, rel=0.15)


@pytest.mark.parametrize("library", ["torchao", "optimum.quanto"])
def test_weights_of_other_libraries_are_turned_back_into_numbers(library, whole):
    pytest.importorskip(library, reason=f"needs {library}")
    from transformers import QuantoConfig, TorchAoConfig

    if library == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig

        config = TorchAoConfig(Int8WeightOnlyConfig())
    else:
        config = QuantoConfig(weights="int8")
    model = AutoModelForCausalLM.from_pretrained(whole.source, dtype=FP32, quantization_config=config)
    spec = verify_sites(model.eval(), find_sites(model))
    for i, site in enumerate(spec.sites):
        loss = (site_weight(model, site) - whole.weight(i)).norm() / whole.weight(i).norm()
        assert 0 < float(loss) < LOSSES["int8"]


def in_fp8(folder: Path, target: Path) -> Path:
    """The folder's model with every projection in fp8, one scale for each 128 x 128 block."""
    shutil.copytree(folder, target)
    stored: dict[str, Tensor] = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        if "proj" not in name:
            stored[name] = weight
            continue
        blocks = [[part.float() for part in rows.split(128, 1)] for rows in weight.split(128, 0)]
        scales = torch.stack([torch.stack([part.abs().max() / 448 for part in row]) for row in blocks])
        pairs = zip(blocks, scales, strict=True)
        whole = torch.cat([torch.cat([p / s for p, s in zip(*row, strict=True)], 1) for row in pairs])
        stored[name], stored[f"{name}_scale_inv"] = whole.to(torch.float8_e4m3fn), scales
    save_file(stored, target / "model.safetensors", metadata={"format": "pt"})
    _configure(target, {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]})
    return target


def _configure(folder: Path, quantization: dict[str, object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}))


def test_fp8_files_become_plain_numbers_while_they_are_loaded(folder, whole, tmp_path):
    loaded = load_model(in_fp8(folder, tmp_path / "fp8"), device="cpu")
    assert not any(is_quantized(parameter) for parameter in loaded.model.parameters())
    assert any("files are quantised (fp8)" in warning for warning in loaded.warnings)
    for i in range(len(whole.spec.sites)):
        assert float((loaded.weight(i) - whole.weight(i)).norm() / whole.weight(i).norm()) < 0.05
    edit = chain(loaded).edit
    with pytest.raises(ExportError, match="quantised"):
        export_checkpoint(loaded, edit, tmp_path / "out")
    assert verify_export(loaded, edit, export_adapter(loaded, edit, tmp_path / "adapter")).passed
    size = estimate_weight_bytes(open_checkpoint(loaded.source), None, method="fp8")
    assert size == pytest.approx(sum(bytes_by_device(loaded.model).values()), rel=0.01)


def test_mxfp4_experts_become_plain_numbers_while_they_are_loaded(tmp_path):
    folder = saved_folder(tmp_path / "full", "gpt_oss", dtype=BF16, intermediate_size=64)
    dice = torch.Generator().manual_seed(3)
    stored: dict[str, Tensor] = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        if name.endswith(("experts.down_proj", "experts.gate_up_proj")):
            experts, n_inputs, n_outputs = weight.shape
            rows = (experts, n_outputs, n_inputs // 32)  # a scale for every 32 numbers, two of which share a byte
            stored[f"{name}_blocks"] = torch.randint(0, 256, (*rows, 16), generator=dice, dtype=torch.uint8)
            stored[f"{name}_scales"] = torch.randint(122, 126, rows, generator=dice, dtype=torch.uint8)
        else:
            stored[name] = weight
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    _configure(folder, {"quant_method": "mxfp4", "modules_to_not_convert": ["self_attn", "router", "embed", "lm_head"]})
    loaded = load_model(folder, device="cpu")
    experts = next(i for i, site in enumerate(loaded.spec.sites) if site.experts)
    values = {abs(value) * 2.0**shift for value in (0, 0.5, 1, 1.5, 2, 3, 4, 6) for shift in range(-5, -1)}
    assert set(loaded.weight(experts).abs().unique().tolist()) <= values
    edit = chain(loaded).edit
    with pytest.raises(ExportError, match=r"files are quantised \(mxfp4\)"):
        export_checkpoint(loaded, edit, tmp_path / "out")
    assert verify_export(loaded, edit, export_adapter(loaded, edit, tmp_path / "adapter")).passed
    size = estimate_weight_bytes(open_checkpoint(folder), None, method="mxfp4")
    assert size == pytest.approx(sum(bytes_by_device(loaded.model).values()), rel=0.05)


@pytest.mark.parametrize("method", ["gptq", "awq", "hqq", "something"])
def test_formats_that_cannot_be_turned_back_are_refused_by_name_before_anything_is_read(folder, tmp_path, method):
    target = shutil.copytree(folder, tmp_path / "model")
    _configure(target, {"quant_method": method, "bits": 4})
    with pytest.raises(ModelLoadError, match=rf"\({method}\).*Load the full-precision model"):
        load_model(target, device="cpu")


def test_a_missing_library_is_named(monkeypatch, folder):
    monkeypatch.setattr("s2e_core.loading.quantized._is_installed", lambda module: False)
    with pytest.raises(ModelLoadError, match="pip install bitsandbytes"):
        load_model(folder, device="cpu", quantize="int4")
    for method, package in (("bitsandbytes", "bitsandbytes"), ("torchao", "torchao"), ("quanto", "optimum-quanto")):
        with pytest.raises(ModelLoadError, match=f"needs the package {package}, which is not installed"):
            check_stored(method, "m")
    check_stored("mxfp4", "m")


def test_how_a_checkpoint_is_stored_is_read_from_its_configuration():
    assert read_quantization_method({}) is None
    assert read_quantization_method({"quantization_config": {"load_in_4bit": True}}) == "bitsandbytes"
    assert read_quantization_method({"text_config": {"quantization_config": {"quant_method": "fp8"}}}) == "fp8"
    assert read_quantization_method({"quantization_config": {"bits": 4}}) == "an unnamed method"
