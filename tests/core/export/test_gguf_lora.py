"""The GGUF LoRA: its names are those of the format's own package, and what is written is read back in every bit."""

import json

import gguf
import numpy as np
import pytest
import torch
from huggingface_hub import metadata_load

from s2e_core import ExportError, load_edit, load_model, verify_export
from s2e_core.export import GGUF_FILE, RECIPE_FILE, export_gguf_lora, export_size, tensor_name
from s2e_core.export.gguf_lora import ARCHITECTURES
from s2e_core.files import encode_gguf, read_gguf
from tests.core.edits import files_of, random_edit
from tests.core.gguf_files import write_gguf
from tests.families import in_memory, saved_folder, tiny_model

PUBLISHED_NAMES = {"block_sparse_moe.experts.down_proj": "block_sparse_moe.output_linear"}
"""Of Granite's experts, which transformers renames as it loads them."""


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_weight_is_called_what_llama_cpps_conversion_calls_it(model_type):
    spec = in_memory(tiny_model(model_type)).spec
    assert spec.model_type == model_type
    architectures = {name: architecture for architecture, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(architectures[ARCHITECTURES[model_type]], spec.n_layers)
    for i, site in enumerate(spec.sites):
        path = f"{site.name}.{site.parameter}".removesuffix(".weight")
        if model_type.startswith("granitemoe"):
            path = next((path.replace(*pair) for pair in PUBLISHED_NAMES.items() if pair[0] in path), path)
        assert tensor_name(spec, i) == f"{names.get_name(path)}.weight", path


def test_the_formats_own_package_reads_the_factors(llama, tmp_path):
    edit = random_edit(llama, sites=(0, 3))
    reader = gguf.GGUFReader(export_gguf_lora(llama, edit, tmp_path / "out") / GGUF_FILE)
    fields = {name: reader.get_field(name).contents() for name in reader.fields if not name.startswith("GGUF.")}
    assert fields.pop("general.name")
    assert fields == {
        "general.type": "adapter",
        "general.architecture": "llama",
        "adapter.type": "lora",
        "adapter.lora.alpha": 1.0,
    }
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    assert tensors.keys() == {
        f"blk.{layer}.{part}.weight.{side}"
        for layer, part in ((0, "attn_output"), (1, "ffn_down"))
        for side in ("lora_a", "lora_b")
    }
    for i, name in ((0, "blk.0.attn_output"), (3, "blk.1.ffn_down")):
        change = tensors[f"{name}.weight.lora_b"] @ tensors[f"{name}.weight.lora_a"]
        assert np.array_equal(change, torch.outer(edit.left[i], edit.right[i]).numpy())


def test_experts_are_a_stack_in_which_all_share_the_direction(tmp_path):
    loaded = load_model(saved_folder(tmp_path / "model", "gpt_oss"), device="cpu")
    edit = random_edit(loaded)
    folder = export_gguf_lora(loaded, edit, tmp_path / "out")
    _, tensors = read_gguf((folder / GGUF_FILE).read_bytes())
    (i,) = (i for i, site in enumerate(loaded.spec.sites) if site.experts and site.layer == 1)
    a, b = (tensors[f"blk.1.ffn_down_exps.weight.{side}"] for side in ("lora_a", "lora_b"))
    for expert, right in enumerate(edit.right[i].chunk(loaded.spec.sites[i].experts)):
        assert torch.equal(b[expert] @ a[expert], torch.outer(edit.left[i], right))
    assert verify_export(loaded, edit, folder).passed


def test_card_licence_and_recipe_lie_beside_it_and_its_size_is_known(llama, tmp_path):
    edit = random_edit(llama)
    folder = export_gguf_lora(llama, edit, tmp_path / "out")
    files = files_of(folder)
    assert files.keys() == {"README.md", GGUF_FILE, RECIPE_FILE}
    size = sum(len(content) for content in files.values())
    assert abs(size - export_size(llama, edit, "gguf-lora")) <= 0.01 * size
    card = files["README.md"].decode()
    assert "--lora steer2edit-lora.gguf " in card and "made in float32" in card
    assert metadata_load(folder / "README.md")["tags"] == [
        "steer2edit", "model-editing", "arxiv:2602.09870", "lora",
    ]  # fmt: skip
    assert torch.equal(load_edit(folder / RECIPE_FILE, base=llama).right[0], edit.right[0])


def test_the_check_finds_a_changed_a_missing_and_a_foreign_tensor(llama, tmp_path):
    edit = random_edit(llama)
    folder = export_gguf_lora(llama, edit, tmp_path / "out")
    assert verify_export(llama, edit, folder).passed
    header, tensors = read_gguf((folder / GGUF_FILE).read_bytes())
    name, other = "blk.0.ffn_down.weight.lora_a", "blk.1.ffn_down.weight.lora_b"
    changed = {**tensors, name: tensors[name] * 0.5, "blk.9.ffn_down.weight.lora_a": tensors[name]}
    del changed[other]
    (folder / GGUF_FILE).write_bytes(encode_gguf(header, changed))
    result = verify_export(llama, edit, folder)
    assert not result.passed and result.unedited_tensors == (name, other)
    assert result.unexpected_tensors == ("blk.9.ffn_down.weight.lora_a",)
    assert result.realised_shares[1][1] == pytest.approx(0.5) and result.realised_shares[3][1] == 0
    assert result.sentence().startswith("The GGUF LoRA does not contain what the preview showed. Without the edit:")


@pytest.mark.parametrize(
    ("key", "value"), [("adapter.lora.alpha", 2.0), ("general.architecture", "qwen2"), ("general.type", "model")]
)
def test_a_header_that_llama_cpp_would_take_otherwise_is_refused(llama, tmp_path, key, value):
    edit = random_edit(llama)
    folder = export_gguf_lora(llama, edit, tmp_path / "out")
    header, tensors = read_gguf((folder / GGUF_FILE).read_bytes())
    (folder / GGUF_FILE).write_bytes(encode_gguf({**header, key: value}, tensors))
    with pytest.raises(ExportError, match=rf"says {key} = {value}, and .* was expected"):
        verify_export(llama, edit, folder)
    (folder / GGUF_FILE).write_bytes(b"GGUF nonsense")
    with pytest.raises(ExportError, match=r"steer2edit-lora\.gguf cannot be read.*export it again"):
        verify_export(llama, edit, folder)


@pytest.mark.parametrize("model_type", ["opt", "gptj"])
def test_a_model_type_that_was_not_compared_is_refused_by_name(model_type, tmp_path):
    loaded = load_model(saved_folder(tmp_path / "model", model_type), device="cpu")
    with pytest.raises(ExportError, match=f"model type {model_type}: it is not known .* PEFT adapter instead"):
        export_gguf_lora(loaded, random_edit(loaded), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_from_a_gguf_file_gets_the_lora_for_that_very_file(tmp_path):
    loaded = load_model(write_gguf(tmp_path / "tiny.gguf", saved_folder(tmp_path / "model")), device="cpu")
    folder = export_gguf_lora(loaded, random_edit(loaded), tmp_path / "out")
    assert verify_export(loaded, random_edit(loaded), folder).passed
    assert "llama-server -m tiny.gguf --lora" in (folder / "README.md").read_text()
    header, tensors = read_gguf((folder / GGUF_FILE).read_bytes())
    base = {tensor.name: tensor.shape.tolist() for tensor in gguf.GGUFReader(tmp_path / "tiny.gguf").tensors}
    assert header["general.architecture"] == "llama"
    for name, tensor in tensors.items():
        weight, side = name.rsplit(".", 1)
        assert tensor.shape[1 if side == "lora_a" else 0] == base[weight][0 if side == "lora_a" else 1]


def test_the_command_writes_and_checks_it(llama, tmp_path, capsys):
    from s2e_core.cli import main
    from s2e_core.export import save_edit

    recipe, out = str(save_edit(random_edit(llama), tmp_path / "a.safetensors")), str(tmp_path / "out")
    model = ["--model", str(llama.source), "--device", "cpu"]
    assert main(["export", recipe, *model, "--format", "gguf-lora", "-o", out]) == 0
    assert "those of the edit in every bit" in capsys.readouterr().out
    assert main(["verify", recipe, out, *model, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["passed"] and record["kind"] == "gguf-lora" and record["logits"]["difference"] is None
