"""The MLX adapter: the factors transposed, read back in every bit; run by mlx-lm where both its packages are there."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from s2e_core import ExportError, export_checkpoint, load_model, verify_export
from s2e_core.export import CONFIG_FILE, MLX_FILE, export_mlx, export_size
from s2e_core.export.mlx import MODEL_TYPES
from tests.core.edits import IDS, files_of, random_edit
from tests.families import saved_folder


def test_the_factors_are_transposed_and_the_configuration_names_them(llama, tmp_path):
    edit = random_edit(llama, sites=(0, 3))
    folder = export_mlx(llama, edit, tmp_path / "out")
    factors = load_file(folder / MLX_FILE)
    assert len(factors) == 4
    for i in (0, 3):
        a, b = (factors[f"{llama.spec.sites[i].name}.{side}"] for side in ("lora_a", "lora_b"))
        assert torch.equal((a @ b).T, torch.outer(edit.left[i], edit.right[i]))
    config = json.loads((folder / CONFIG_FILE).read_text())
    assert config["num_layers"] == llama.spec.n_layers and config["fine_tune_type"] == "lora"
    keys = ["mlp.down_proj", "self_attn.o_proj"]
    assert config["lora_parameters"] == {"rank": 1, "scale": 1.0, "dropout": 0.0, "keys": keys}
    size = sum(len(content) for content in files_of(folder).values())
    assert abs(size - export_size(llama, edit, "mlx")) <= 0.01 * size


def test_the_check_finds_what_is_not_the_edit(llama, tmp_path):
    edit = random_edit(llama)
    folder = export_mlx(llama, edit, tmp_path / "out")
    result = verify_export(llama, edit, folder)
    assert result.passed and "The MLX adapter contains the edit" in result.sentence()
    factors = load_file(folder / MLX_FILE)
    name = f"{llama.spec.sites[1].name}.lora_a"
    save_file({**factors, name: factors[name] / 2}, folder / MLX_FILE)
    result = verify_export(llama, edit, folder)
    assert not result.passed and result.unedited_tensors == (name,)
    assert float(result.realised_shares[1][1]) == pytest.approx(0.5)
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["lora_parameters"]["scale"] = 2.0
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(ExportError, match="does not describe this edit"):
        verify_export(llama, edit, folder)


@pytest.mark.parametrize("model_type", ["gpt2", "mixtral"])
def test_other_model_types_are_refused_by_name(model_type, tmp_path):
    loaded = load_model(saved_folder(tmp_path / "model", model_type), device="cpu")
    with pytest.raises(ExportError, match=f"the model type {model_type}: it is not known that mlx-lm"):
        export_mlx(loaded, random_edit(loaded), tmp_path / "out")


@pytest.mark.skipif(not (find_spec("mlx") and find_spec("mlx_lm")), reason="mlx and mlx-lm are not installed")
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_mlx_itself_computes_with_the_adapter_what_it_computes_with_the_edited_checkpoint(model_type, tmp_path):
    """Compared in MLX alone, whose model of a tiny base need not agree with that of transformers."""
    import mlx.core as mx
    from mlx_lm.utils import load_adapters
    from mlx_lm.utils import load_model as load_mlx

    layers = {"num_hidden_layers": 6} if model_type in ("cohere2", "gemma3_text") else {}  # as its pattern needs
    loaded = load_model(saved_folder(tmp_path / "model", model_type, **layers), device="cpu")
    edit = random_edit(loaded)
    folder = export_mlx(loaded, edit, tmp_path / "out")
    export_checkpoint(loaded, edit, tmp_path / "checkpoint", dtype="float32")
    with mx.stream(mx.cpu):
        ids, (model, _), (edited, _) = (
            mx.array(IDS.numpy()),
            load_mlx(tmp_path / "model"),
            load_mlx(tmp_path / "checkpoint"),
        )
        original, expected = np.array(model(ids)), np.array(edited(ids))
        found = np.array(load_adapters(model, str(folder))(ids))
    assert np.allclose(found, expected, atol=1e-3)
    assert not np.allclose(original, expected, atol=1e-2)
