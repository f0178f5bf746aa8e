"""Tests of the exported checkpoint: only the intended bytes change, and transformers loads what the preview showed."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from s2e_core import (
    Cancelled,
    Edited,
    Original,
    compare,
    export_adapter,
    export_checkpoint,
    load_edit,
    load_model,
    save_edit,
)
from s2e_core.export import EVALUATE_FILE, RECIPE_FILE, export_size
from s2e_core.export.locating import locate
from s2e_core.files import checkpoint as checkpoint_module
from s2e_core.files import open_checkpoint
from s2e_core.generation import preview_logits
from s2e_core.text import readable_size
from tests.core.edits import (
    BF16,
    FP32,
    IDS,
    assert_rounded_sum,
    files_of,
    folder_of,
    logits,
    merged,
    plain,
    random_edit,
    stored_tensors,
)

OWN_FILES = {"README.md", RECIPE_FILE, EVALUATE_FILE}
"""Files that an export adds."""


def header_of(path):
    """The length and the JSON header of a safetensors file, as bytes."""
    content = path.read_bytes()
    return content[: 8 + int.from_bytes(content[:8], "little")]


def test_only_the_edited_tensors_change_and_they_contain_the_rounded_sum(loaded, tmp_path):
    edit = random_edit(loaded, sites=(0, 3))
    pieces = dict(locate(open_checkpoint(loaded.source), loaded, (0, 3)))
    sites = {piece.tensor.name: i for i, (piece,) in pieces.items()}
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    before, after = stored_tensors(loaded.source), stored_tensors(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys() and changed == sites.keys() and len(changed) == 2
    for name, i in sites.items():
        change = edit.left[i].unsqueeze(1) * edit.right[i].unsqueeze(0)
        change = change.T if loaded.spec.sites[i].transposed else change
        assert_rounded_sum(after[name], before[name].float() + change)


def test_headers_shards_and_all_other_files_are_the_same_bytes(loaded, tmp_path):
    out = export_checkpoint(loaded, random_edit(loaded), tmp_path / "out")
    before, after = files_of(loaded.source), files_of(out)
    assert after.keys() == before.keys() | OWN_FILES
    for name in before:
        if name.endswith(".safetensors"):
            assert header_of(out / name) == header_of(loaded.source / name)
            assert len(after[name]) == len(before[name])
        else:
            assert after[name] == before[name]


def test_plain_transformers_loads_exactly_the_model_edited_in_memory(loaded, tmp_path):
    edit = random_edit(loaded)
    stored = next(iter(stored_tensors(loaded.source).values())).dtype
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    expected = logits(merged(loaded, edit, stored))
    last_bits = 1e-5 if stored == FP32 else 0.0
    torch.testing.assert_close(logits(plain(out, dtype=stored)), expected, rtol=last_bits, atol=last_bits)
    assert not torch.allclose(logits(plain(loaded.source, dtype=stored)), expected, atol=1e-2)
    assert AutoTokenizer.from_pretrained(out).get_vocab() == loaded.tokenizer.get_vocab()


def test_float32_contains_the_preview_exactly(loaded, tmp_path):
    edit = random_edit(loaded)
    out = export_checkpoint(loaded, edit, tmp_path / "out", dtype="float32")
    reloaded = plain(out)
    assert {tensor.dtype for tensor in stored_tensors(out).values()} == {FP32}
    assert reloaded.dtype == FP32
    preview = preview_logits(loaded, Edited(edit), IDS)
    torch.testing.assert_close(logits(reloaded), preview, atol=1e-4, rtol=1e-5)
    assert not torch.allclose(preview_logits(loaded, Original(), IDS), preview, atol=1e-2)


def test_float32_changes_no_value_that_is_not_edited(loaded, tmp_path):
    edit = random_edit(loaded, sites=(1,))
    ((piece,),) = dict(locate(open_checkpoint(loaded.source), loaded, (1,))).values()
    out = export_checkpoint(loaded, edit, tmp_path / "out", dtype="float32")
    before, after = stored_tensors(loaded.source), stored_tensors(out)
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name].float(), after[name])}
    assert same == before.keys() - {piece.tensor.name}


def final_texts(loaded, variants, temperature):
    *_, texts = compare(loaded, "How are you?", variants, max_new_tokens=24, temperature=temperature, seed=3)
    return texts


def test_float32_text_is_the_previews_text(loaded, tmp_path):
    edit = random_edit(loaded, size=3.0)
    exported = load_model(export_checkpoint(loaded, edit, tmp_path / "out", dtype="float32"), device="cpu")
    for temperature in (0.0, 1.0):
        preview, original = final_texts(loaded, [Edited(edit), Original()], temperature)
        assert final_texts(exported, [Original()], temperature) == (preview,)
    assert original != preview  # at temperature 1; with greedy decoding some random models repeat one token in any case


def test_float32_says_so_in_config_and_index(tmp_path):
    folder = folder_of(tmp_path / "model", "gemma3", BF16, sharded=True)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    loaded = load_model(folder, device="cpu")
    out = export_checkpoint(loaded, random_edit(loaded), tmp_path / "out", dtype="float32")
    config = json.loads((out / "config.json").read_text())
    assert config["dtype"] == config["text_config"]["torch_dtype"] == "float32"
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in stored_tensors(out).values())
    for shard in out.glob("*.safetensors"):
        with safe_open(shard, "pt") as file:
            assert file.metadata() == {"format": "pt"}


def test_integers_stay_integers_in_float32(model_folder, tmp_path):
    weights = load_file(model_folder / "model.safetensors")
    extra = {"steps": torch.arange(3), "mask": torch.tensor([True, False, True]), "none": torch.zeros(0, 4)}
    save_file(weights | extra, model_folder / "model.safetensors", {"format": "pt"})
    loaded = load_model(model_folder, device="cpu")
    after = stored_tensors(export_checkpoint(loaded, random_edit(loaded), tmp_path / "out", dtype="float32"))
    assert all(torch.equal(after[name], tensor) and after[name].dtype == tensor.dtype for name, tensor in extra.items())


def test_many_small_blocks_write_the_same_bytes_as_one(loaded, tmp_path, monkeypatch):
    edit = random_edit(loaded)
    whole = files_of(export_checkpoint(loaded, edit, tmp_path / "whole"))
    monkeypatch.setattr(checkpoint_module, "CHUNK", 5000)
    assert files_of(export_checkpoint(loaded, edit, tmp_path / "blocks")) == whole


def test_the_loaded_model_is_never_written(loaded, tmp_path):
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    export_checkpoint(loaded, random_edit(loaded), tmp_path / "out")
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.model.state_dict().items())


@pytest.mark.parametrize("dtype", ["stored", "float32"])
def test_file_modes_stay_and_a_read_only_source_is_no_obstacle(model_folder, tmp_path, dtype):
    for path in model_folder.iterdir():
        path.chmod(0o444)
    (model_folder / "config.json").chmod(0o640)
    loaded = load_model(model_folder, device="cpu")
    out = export_checkpoint(loaded, random_edit(loaded), tmp_path / "out", dtype=dtype)
    for path in model_folder.iterdir():
        assert (out / path.name).stat().st_mode == path.stat().st_mode


def test_a_snapshot_made_of_links_becomes_a_folder_of_files(llama, tmp_path):
    (tmp_path / "snapshot").mkdir()
    for path in llama.source.iterdir():
        (tmp_path / "snapshot" / path.name).symlink_to(path)
    loaded = load_model(tmp_path / "snapshot", device="cpu")
    out = export_checkpoint(loaded, random_edit(loaded), tmp_path / "out")
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert not torch.equal(logits(plain(out)), logits(plain(llama.source)))


LEFTOVERS = (
    "pytorch_model.bin", "consolidated.safetensors", "model-q4.gguf", ".cache/lock", "onnx/model.onnx", "model.tflite",
    "weights.pkl", "model.safetensors.bak", "model.onnx", "model.safetensors.orig", "training/run.py",
    "adapter_model.safetensors", "checkpoint-9/model.safetensors", "optimizer.state",
)  # fmt: skip


def test_only_what_belongs_to_the_model_is_copied(model_folder, tmp_path):
    before = files_of(model_folder).keys()
    for name in LEFTOVERS:
        (model_folder / name).parent.mkdir(exist_ok=True)
        (model_folder / name).write_bytes(b"unedited")
    for name in ("templates/tool.jinja", "LICENSE"):
        (model_folder / name).parent.mkdir(exist_ok=True)
        (model_folder / name).write_text("{{ messages }}")
    loaded = load_model(model_folder, device="cpu")
    names = files_of(export_checkpoint(loaded, random_edit(loaded), tmp_path / "out")).keys()
    assert names == before | OWN_FILES | {"templates/tool.jinja", "LICENSE"}


def test_an_existing_empty_folder_and_missing_parents_are_fine(llama, tmp_path):
    (tmp_path / "empty").mkdir()
    assert export_checkpoint(llama, random_edit(llama), tmp_path / "empty") == tmp_path / "empty"
    assert export_checkpoint(llama, random_edit(llama), tmp_path / "a" / "b" / "c") == tmp_path / "a" / "b" / "c"
    assert files_of(tmp_path / "empty") == files_of(tmp_path / "a" / "b" / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty"]


def test_an_export_can_be_edited_and_exported_again(llama, tmp_path):
    first = load_model(export_checkpoint(llama, random_edit(llama), tmp_path / "first"), device="cpu")
    second = load_model(export_checkpoint(first, random_edit(first), tmp_path / "second"), device="cpu")
    assert len({llama.fingerprint, first.fingerprint, second.fingerprint}) == 3
    assert load_edit(second.source / RECIPE_FILE, base=first).count("heads")


@pytest.mark.parametrize(("dtype", "format"), [("stored", "checkpoint"), ("float32", "checkpoint-float32")])
def test_the_size_is_known_before_writing(loaded, tmp_path, dtype, format):
    edit = random_edit(loaded)
    expected = export_size(loaded, edit, format)
    size = sum(len(content) for content in files_of(export_checkpoint(loaded, edit, tmp_path, dtype=dtype)).values())
    assert abs(size - expected) <= 0.01 * size


def test_the_size_of_a_recipe_is_exact(llama, tmp_path):
    edit = random_edit(llama)
    assert save_edit(edit, tmp_path / "edit.safetensors").stat().st_size == export_size(llama, edit, "recipe")


def test_sizes_are_readable():
    assert [readable_size(n) for n in (12, 1234, 5.5e6, 3e9, 2e12)] == [
        "12 bytes",
        "1.2 kB",
        "5.5 MB",
        "3.0 GB",
        "2.0 TB",
    ]


def test_progress_counts_bytes_up_to_the_total(llama, tmp_path):
    ticks = []
    export_checkpoint(llama, random_edit(llama), tmp_path / "out", progress=lambda *tick: ticks.append(tick))
    assert len({total for _, total in ticks}) == 1
    assert [done for done, _ in ticks] == sorted(done for done, _ in ticks)
    size = sum(len(content) for content in files_of(tmp_path / "out").values())
    assert ticks[-1][0] == ticks[-1][1] and 0 <= size - ticks[-1][1] < 8  # the digits of the edit's size on the card


@pytest.mark.parametrize("export", [export_checkpoint, export_adapter])
def test_stop_takes_effect_at_every_matrix_that_is_read_before_the_first_byte(llama, tmp_path, export):
    edit, ticks = random_edit(llama), []

    def stop(done: int, total: int) -> None:
        ticks.append(done)
        if len(ticks) == len(edit.edited_sites()):
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        export(llama, edit, tmp_path / "out", progress=stop)
    assert not any(ticks) and not list(tmp_path.iterdir())
