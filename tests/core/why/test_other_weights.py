"""Weights of a base with something on top, and weights in files: as the model itself would have them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2e_core import export_adapter, export_checkpoint, load_model, save_edit
from s2e_core.errors import InteropError, RecipeError, S2EError
from s2e_core.export import CONFIG_FILE, WEIGHTS_FILE
from s2e_core.why import StoredWeights, WithAdapter, WithEdit, open_weights, unpack, weight_difference
from tests.core.edits import random_edit
from tests.families import saved_folder

MANY_BYTES = 10**8


@pytest.fixture(scope="module", params=["llama", "gpt2", "mixtral"])
def case(request, tmp_path_factory):
    """A model, an edit of it, and the folder of its checkpoint with the edit."""
    folder = tmp_path_factory.mktemp(request.param)
    loaded = load_model(saved_folder(folder / "base", request.param, chat=True), device="cpu")
    edit = random_edit(loaded)
    export_checkpoint(loaded, edit, folder / "edited")
    return loaded, edit, folder


def check(weights, loaded, edit, tolerance):
    for i, site in enumerate(loaded.spec.sites):
        expected = loaded.weight(i) + torch.outer(edit.left[i], edit.right[i])
        torch.testing.assert_close(weights.weight(i), expected, atol=tolerance, rtol=0)
        assert sum(block.shape[1] for block in weights.blocks(i)) == site.n_inputs


def test_a_checkpoint_is_read_as_it_would_be_loaded(case):
    loaded, edit, folder = case
    for path in (folder / "edited", folder / "edited" / "model.safetensors"):
        found = open_weights(loaded, path)
        assert isinstance(found, StoredWeights)
        check(found, loaded, edit, 1e-5)
    again = load_model(folder / "edited", device="cpu")
    for i in range(len(loaded.spec.sites)):
        assert torch.equal(found.weight(i), again.weight(i))


def test_a_recipe_and_an_adapter_lie_on_top(case):
    loaded, edit, folder = case
    recipe = save_edit(edit, folder / "edit.safetensors")
    found = open_weights(loaded, recipe)
    assert isinstance(found, WithEdit)
    check(found, loaded, edit, 1e-5)
    if any(site.experts for site in loaded.spec.sites):
        return
    export_adapter(loaded, edit, folder / "adapter")
    alone = folder / "alone" / "anything.safetensors"
    alone.parent.mkdir()
    shutil.copy(folder / "adapter" / WEIGHTS_FILE, alone)  # of rank 1 and alpha 1: its scale is that without a config
    for path in (folder / "adapter", alone):
        found = open_weights(loaded, path)
        assert isinstance(found, WithAdapter)
        check(found, loaded, edit, 1e-5)
    other = folder / "beside"
    other.mkdir()
    shutil.copy(alone, other / "a.safetensors")
    config = json.loads((folder / "adapter" / CONFIG_FILE).read_text())
    (other / CONFIG_FILE).write_text(json.dumps(config | {"lora_alpha": 3}))
    tripled = open_weights(loaded, other / "a.safetensors")
    change = tripled.weight(0) - loaded.weight(0)
    torch.testing.assert_close(change, 3 * torch.outer(edit.left[0], edit.right[0]), atol=1e-5, rtol=1e-4)


def pack(folder, target, top="x/"):
    with zipfile.ZipFile(target, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, top + file.name)
    return target


def test_an_archive_is_what_it_contains(case, tmp_path):
    loaded, edit, folder = case
    found = unpack(pack(folder / "edited", tmp_path / "a.zip"), tmp_path / "a", MANY_BYTES)
    assert {file.suffix for file in found.iterdir()} == {".safetensors"}
    check(open_weights(loaded, found), loaded, edit, 1e-5)


def test_an_archive_that_is_too_large_damaged_or_empty_is_refused(case, tmp_path):
    _, _, folder = case
    whole = pack(folder / "edited", tmp_path / "whole.zip")
    with pytest.raises(InteropError, match="unpacks to more than"):
        unpack(whole, tmp_path / "b", 1000)
    (tmp_path / "cut.zip").write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(InteropError, match="cannot be unpacked"):
        unpack(tmp_path / "cut.zip", tmp_path / "c", MANY_BYTES)
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as archive:
        archive.writestr("../../model.bin", b"no")
        archive.writestr("readme.txt", b"no")
    with pytest.raises(InteropError, match="contains no safetensors file"):
        unpack(tmp_path / "text.zip", tmp_path / "d", MANY_BYTES)
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a/model.safetensors", b"1")
        archive.writestr("b/model.safetensors", b"2")
    with pytest.raises(InteropError, match="two files of one name"):
        unpack(tmp_path / "twice.zip", tmp_path / "e", MANY_BYTES)


@pytest.fixture(scope="module")
def plain(llama, tmp_path_factory):
    """One model and an edit of it, as a checkpoint and as an adapter."""
    folder, edit = tmp_path_factory.mktemp("plain"), random_edit(llama)
    export_checkpoint(llama, edit, folder / "edited")
    export_adapter(llama, edit, folder / "adapter")
    return llama, edit, folder


def test_an_archive_with_altered_bytes_is_a_sentence(plain, tmp_path):
    _, _, folder = plain
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "edited" / "model.safetensors", "model.safetensors")
    whole = (tmp_path / "packed.zip").read_bytes()
    entry = whole.rindex(b"PK\x01\x02")
    altered = {"bytes": whole[:200] + bytes(range(256)) * 8 + whole[200 + 2048 :]}
    for method in (12, 14, 99):  # bz2, lzma and none that is known, where the bytes are deflated
        altered[str(method)] = (
            whole[:8] + bytes([method]) + whole[9 : entry + 10] + bytes([method]) + whole[entry + 11 :]
        )
    for name, content in altered.items():
        (tmp_path / f"{name}.zip").write_bytes(content)
        with pytest.raises(InteropError, match="cannot be unpacked"):
            unpack(tmp_path / f"{name}.zip", tmp_path / name, MANY_BYTES)


def test_a_folder_with_one_file_is_that_file_whatever_its_name(plain, tmp_path):
    loaded, edit, folder = plain
    for source, config in (("edited/model.safetensors", None), (f"adapter/{WEIGHTS_FILE}", CONFIG_FILE)):
        inside = tmp_path / source.partition("/")[0]
        inside.mkdir()
        shutil.copy(folder / source, inside / "mine.safetensors")
        if config is not None:
            shutil.copy(folder / "adapter" / config, inside / config)
        check(open_weights(loaded, inside), loaded, edit, 1e-5)


@pytest.mark.parametrize(
    "header",
    ["[" * 100_000, '{"a": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 0]}}', '{"a": 1}', "[]", "7"],
    ids=["nested", "infinite", "number", "list", "seven"],
)
def test_a_header_of_another_form_is_a_sentence(plain, tmp_path, header):
    loaded, _, _ = plain
    file = tmp_path / "odd.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(InteropError, match="its header cannot be read. Give a complete safetensors file"):
        open_weights(loaded, file)


@pytest.mark.parametrize("changed", [{"lora_alpha": 10**400}, {"lora_alpha": 1e300}, {"r": 10**400}, {"r": 0}])
def test_a_scale_that_cannot_be_right_is_a_sentence(plain, tmp_path, changed):
    loaded, _, folder = plain
    shutil.copytree(folder / "adapter", tmp_path / "a")
    config = json.loads((tmp_path / "a" / CONFIG_FILE).read_text())
    (tmp_path / "a" / CONFIG_FILE).write_text(json.dumps(config | changed))
    with pytest.raises(InteropError, match="names no rank and no lora_alpha that can be right"):
        open_weights(loaded, tmp_path / "a")


def test_a_change_that_is_no_number_any_more_is_a_sentence(plain, tmp_path):
    loaded, _, folder = plain
    tensors = load_file(folder / "adapter" / WEIGHTS_FILE)
    save_file({name: torch.full_like(tensor, 3e38) for name, tensor in tensors.items()}, tmp_path / "large.safetensors")
    with pytest.raises(S2EError, match="too large to be compared"):
        weight_difference(loaded, open_weights(loaded, tmp_path / "large.safetensors"))


def test_a_full_disk_is_no_damaged_archive(plain, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    whole = pack(plain[2] / "edited", tmp_path / "whole.zip")
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(InteropError, match=r"\(No space left on device\)\. Make room"):
        unpack(whole, tmp_path / "out", MANY_BYTES)


def test_a_name_in_an_archive_leads_nowhere_else(case, tmp_path):
    _, _, folder = case
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.write(folder / "edited" / "model.safetensors", "../../../escaped/model.safetensors")
    unpack(tmp_path / "up.zip", tmp_path / "inside", MANY_BYTES)
    assert [file.name for file in (tmp_path / "inside").iterdir()] == ["model.safetensors"]


def test_files_of_other_models_and_other_kinds_are_sentences(llama, gpt2, tmp_path):
    edit = random_edit(gpt2)
    export_checkpoint(gpt2, edit, tmp_path / "gpt2")
    with pytest.raises(InteropError, match="no checkpoint of"):
        open_weights(llama, tmp_path / "gpt2")
    with pytest.raises(RecipeError, match="was made for"):
        open_weights(llama, save_edit(edit, tmp_path / "r.safetensors"))
    tensors = load_file(llama.source / "model.safetensors")
    name = f"{llama.spec.sites[0].name}.weight"
    save_file(tensors | {name: tensors[name][:, 1:].contiguous()}, tmp_path / "small.safetensors")
    with pytest.raises(InteropError, match=r"is 64 x 63 in .*where .* has 64 x 64"):
        open_weights(llama, tmp_path / "small.safetensors")
    save_file(tensors | {name: torch.full_like(tensors[name], float("nan"))}, tmp_path / "nan.safetensors")
    with pytest.raises(InteropError, match="not finite"):
        open_weights(llama, tmp_path / "nan.safetensors").weight(0)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "nan.safetensors").read_bytes()[:500])
    with pytest.raises(InteropError, match="Give a complete safetensors file"):
        open_weights(llama, tmp_path / "cut.safetensors")
    (tmp_path / "a.bin").write_bytes(b"\x80\x04")
    with pytest.raises(InteropError, match="can run code"):
        open_weights(llama, tmp_path / "a.bin")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InteropError, match="Give a complete"):
        open_weights(llama, tmp_path / "nothing")
