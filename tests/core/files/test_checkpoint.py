"""Tests of finding the stored tensors of a site: names often differ from those in memory, so content decides."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2e_core import export_checkpoint, load_model
from s2e_core.export.locating import locate
from s2e_core.files import open_checkpoint
from tests.core.edits import (
    BF16,
    CASES,
    FP32,
    assert_rounded_sum,
    folder_of,
    logits,
    merged,
    plain,
    random_edit,
    stored_tensors,
)
from tests.families import saved_folder


def test_names_on_disk_may_differ_from_names_in_memory(loaded):
    pieces_by_site = dict(locate(open_checkpoint(loaded.source), loaded, range(len(loaded.spec.sites))))
    stored = stored_tensors(loaded.source)
    for i, (piece,) in pieces_by_site.items():
        weight = stored[piece.tensor.name].float()
        assert torch.equal(weight.T if piece.transposed else weight, loaded.weight(i))
    names = {f"{site.name}.weight" for site in loaded.spec.sites}
    assert len(pieces_by_site) == len({piece.tensor.name for (piece,) in pieces_by_site.values()}) == len(names)


def test_the_cases_include_renamed_tensors(tmp_path):
    n_renamed = 0
    for case in ("gpt2 without prefix, bf16", "gemma3 with a wrapper, bf16"):
        loaded = load_model(CASES[case](tmp_path / case), device="cpu")
        ((piece,),) = dict(locate(open_checkpoint(loaded.source), loaded, (0,))).values()
        n_renamed += piece.tensor.name != f"{loaded.spec.sites[0].name}.weight"
    assert n_renamed == 2


@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
def test_a_transposed_tensor_is_found_by_content_and_stays_transposed(model_type, tmp_path):
    loaded = load_model(saved_folder(tmp_path / "model", model_type), device="cpu")
    file = loaded.source / "model.safetensors"
    weights = load_file(file)
    names = {i: f"{loaded.spec.sites[i].name}.weight" for i in (0, 1)}
    transposed = {f"other.{i}": weights.pop(name).T.contiguous() for i, name in names.items()}
    save_file(weights | transposed, file, {"format": "pt"})
    edit = random_edit(loaded, sites=(0, 1))
    after = stored_tensors(export_checkpoint(loaded, edit, tmp_path / "out"))
    for i in names:
        expected = loaded.weight(i) + torch.outer(edit.left[i], edit.right[i])
        stored = after[f"other.{i}"] if loaded.spec.sites[i].transposed else after[f"other.{i}"].T
        assert_rounded_sum(stored, expected)


def test_a_model_loaded_in_another_dtype_is_found_and_keeps_its_stored_dtype(tmp_path):
    folder = folder_of(tmp_path / "model", "llama", FP32)
    loaded = load_model(folder, device="cpu", dtype=BF16)
    edit = random_edit(loaded)
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    torch.testing.assert_close(logits(plain(out)), logits(merged(loaded, edit, FP32)), rtol=1e-5, atol=1e-5)


def test_of_two_equal_tensors_the_one_of_the_same_name_is_edited(model_folder, tmp_path):
    file = model_folder / "model.safetensors"
    weights = load_file(file)
    first, second = "model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"
    save_file(weights | {first: weights[second].clone()}, file, {"format": "pt"})
    loaded = load_model(model_folder, device="cpu")
    (site,) = [i for i, s in enumerate(loaded.spec.sites) if s.name + ".weight" == second]
    after = stored_tensors(export_checkpoint(loaded, random_edit(loaded, sites=(site,)), tmp_path / "out"))
    assert torch.equal(after[first], weights[second]) and not torch.equal(after[second], weights[second])
