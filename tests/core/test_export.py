"""The streamed checkpoint: only the intended bytes change, it loads anywhere, and a failure leaves nothing behind."""

import json
import os
import pickle
import resource
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import metadata_load
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from s2e_core import Cancelled, Edited, ExportError, Original, compare, load_model, preview_logits
from s2e_core import checkpoint as checkpoint_module
from s2e_core.checkpoint import locate, open_checkpoint
from s2e_core.export import export_checkpoint, export_size
from s2e_core.model_card import RECIPE_FILE, layer_ranges
from s2e_core.recipe import load_edit, save_edit
from s2e_core.staging import Meter, copy_file, readable_size, staged
from tests.core.edits import IDS, files_of, merged, random_edit, stored_tensors
from tests.families import VOCABULARY, saved, saved_folder, tiny_model, tiny_tokenizer

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
OURS = {"README.md", RECIPE_FILE}


def folder_of(folder, model_type, dtype, **overrides):
    """A saved model in one file, or in many shards for "sharded", with the files that surround a published model."""
    shards = {"max_shard_size": "60KB"} if overrides.pop("sharded", False) else {}
    saved(tiny_model(model_type, vocab_size=VOCABULARY, **overrides), folder, dtype, **shards)
    tiny_tokenizer().save_pretrained(folder)
    (folder / "LICENSE").write_text("Do what you like.")
    return folder


def without_prefix(folder, dtype=BF16):
    """GPT-2 as published: saved from the base model, so that names lack `transformer.`"""
    model = tiny_model("gpt2", vocab_size=VOCABULARY).to(dtype)
    model.transformer.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


CASES = {
    "llama in shards, bf16": lambda f: folder_of(f, "llama", BF16, sharded=True),
    "llama tied, fp16": lambda f: folder_of(f, "llama", FP16, tie_word_embeddings=True),
    "gpt2 in shards, fp32": lambda f: folder_of(f, "gpt2", FP32, sharded=True),
    "gpt2 without prefix, bf16": without_prefix,
    "gemma2, bf16": lambda f: folder_of(f, "gemma2", BF16),
    "gemma3 with a wrapper, bf16": lambda f: folder_of(f, "gemma3", BF16),
}


@pytest.fixture(scope="module", params=CASES, ids=lambda name: name.replace(" ", "_"))
def loaded(request, tmp_path_factory):
    return load_model(CASES[request.param](tmp_path_factory.mktemp("case") / "model"), device="cpu")


@pytest.fixture
def model_folder(llama, tmp_path):
    """A copy of the tiny model's folder that a test may change before it is loaded."""
    return shutil.copytree(llama.source, tmp_path / "model")


def header_of(path):
    content = path.read_bytes()
    return content[: 8 + int.from_bytes(content[:8], "little")]


def plain(folder, **options):
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


@torch.inference_mode()
def logits(model):
    return model(input_ids=IDS, use_cache=False).logits


def assert_rounded_sum(stored, expected):
    """Equal after the one rounding; fp32 may differ in the last bit, where the sum is one fused operation."""
    last_bit = 1e-6 if stored.dtype == FP32 else 0.0
    torch.testing.assert_close(stored, expected.to(stored.dtype), rtol=last_bit, atol=last_bit)


# What is written


def test_only_the_edited_tensors_change_and_they_hold_the_rounded_sum(loaded, tmp_path):
    edit = random_edit(loaded, sites=(0, 3))
    located = {at.tensor.name: i for i, at in locate(open_checkpoint(loaded.source), loaded, (0, 3)).items()}
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    before, after = stored_tensors(loaded.source), stored_tensors(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys() and changed == located.keys() and len(changed) == 2
    for name, i in located.items():
        change = edit.left[i].unsqueeze(1) * edit.right[i].unsqueeze(0)
        change = change.T if loaded.spec.sites[i].transposed else change
        assert_rounded_sum(after[name], before[name].float() + change)


def test_headers_shards_and_all_other_files_are_the_same_bytes(loaded, tmp_path):
    out = export_checkpoint(loaded, random_edit(loaded), tmp_path / "out")
    before, after = files_of(loaded.source), files_of(out)
    assert after.keys() == before.keys() | OURS
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


def test_float32_holds_the_preview_exactly(loaded, tmp_path):
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
    (at,) = locate(open_checkpoint(loaded.source), loaded, (1,)).values()
    out = export_checkpoint(loaded, edit, tmp_path / "out", dtype="float32")
    before, after = stored_tensors(loaded.source), stored_tensors(out)
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name].float(), after[name])}
    assert same == before.keys() - {at.tensor.name}


def final_texts(loaded, variants, temperature):
    *_, texts = compare(loaded, "How are you?", variants, max_new_tokens=24, temperature=temperature, seed=3)
    return texts


def test_float32_text_is_the_previews_text(loaded, tmp_path):
    edit = random_edit(loaded, size=3.0)
    exported = load_model(export_checkpoint(loaded, edit, tmp_path / "out", dtype="float32"), device="cpu")
    for temperature in (0.0, 1.0):
        preview, original = final_texts(loaded, [Edited(edit), Original()], temperature)
        assert final_texts(exported, [Original()], temperature) == (preview,)
    assert original != preview  # where the dice decide; greedy, some random models repeat one token whatever happens


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
def test_modes_are_kept_and_a_read_only_source_is_no_obstacle(model_folder, tmp_path, dtype):
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


def test_unedited_weights_in_other_formats_and_hidden_folders_are_left_out(model_folder, tmp_path):
    for name in ("pytorch_model.bin", "consolidated.safetensors", "model-q4.gguf", ".cache/lock", "onnx/model.onnx"):
        (model_folder / name).parent.mkdir(exist_ok=True)
        (model_folder / name).write_bytes(b"unedited")
    (model_folder / "templates").mkdir()
    (model_folder / "templates" / "tool.jinja").write_text("{{ messages }}")
    loaded = load_model(model_folder, device="cpu")
    names = files_of(export_checkpoint(loaded, random_edit(loaded), tmp_path / "out")).keys()
    assert "templates/tool.jinja" in names
    assert not [name for name in names if name.endswith((".bin", ".gguf", ".onnx", "lock")) or "consolidated" in name]


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


# Where a tensor is on disk


def test_names_on_disk_may_differ_from_names_in_memory(loaded):
    located = locate(open_checkpoint(loaded.source), loaded, range(len(loaded.spec.sites)))
    stored = stored_tensors(loaded.source)
    for i, at in located.items():
        weight = stored[at.tensor.name].float()
        assert torch.equal(weight.T if at.transposed else weight, loaded.weight(i))
    in_memory = {f"{site.name}.weight" for site in loaded.spec.sites}
    assert len(located) == len({at.tensor.name for at in located.values()}) == len(in_memory)


def test_the_cases_above_do_include_renamed_tensors(tmp_path):
    renamed = 0
    for case in ("gpt2 without prefix, bf16", "gemma3 with a wrapper, bf16"):
        loaded = load_model(CASES[case](tmp_path / case), device="cpu")
        (at,) = locate(open_checkpoint(loaded.source), loaded, (0,)).values()
        renamed += at.tensor.name != f"{loaded.spec.sites[0].name}.weight"
    assert renamed == 2


@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
def test_a_tensor_stored_the_other_way_round_is_found_by_content_and_written_that_way(model_type, tmp_path):
    loaded = load_model(saved_folder(tmp_path / "model", model_type), device="cpu")
    file = loaded.source / "model.safetensors"
    weights = load_file(file)
    names = {i: f"{loaded.spec.sites[i].name}.weight" for i in (0, 1)}
    turned = {f"other.{i}": weights.pop(name).T.contiguous() for i, name in names.items()}
    save_file(weights | turned, file, {"format": "pt"})
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


# Sizes


@pytest.mark.parametrize(("dtype", "format"), [("stored", "checkpoint"), ("float32", "checkpoint-float32")])
def test_the_size_is_known_before_writing(loaded, tmp_path, dtype, format):
    edit = random_edit(loaded)
    expected = export_size(loaded, edit, format)
    written = sum(len(content) for content in files_of(export_checkpoint(loaded, edit, tmp_path, dtype=dtype)).values())
    assert abs(written - expected) <= 0.01 * written


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
    seen = []
    export_checkpoint(llama, random_edit(llama), tmp_path / "out", progress=lambda *now: seen.append(now))
    assert len({total for _, total in seen}) == 1
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] == sum(len(content) for content in files_of(tmp_path / "out").values())


# What is refused, in one sentence, with nothing left behind


def refused(loaded, edit, tmp_path, said, **options):
    """The export fails with a sentence that names no folder above the model's, and leaves no file anywhere."""
    (tmp_path / "exports").mkdir(exist_ok=True)
    with pytest.raises(ExportError, match=said) as error:
        export_checkpoint(loaded, edit, tmp_path / "exports" / "out", **options)
    assert not list((tmp_path / "exports").iterdir())
    assert str(tmp_path) not in str(error.value) and str(error.value).endswith(".")


def test_an_empty_edit_is_refused(llama, tmp_path):
    refused(llama, random_edit(llama, size=0.0), tmp_path, "nothing would change")


def test_an_edit_of_another_model_is_refused_with_both_names(llama, gpt2, tmp_path):
    refused(llama, random_edit(gpt2), tmp_path, f"{gpt2.model_id}.*{llama.model_id}")


def test_an_edit_with_nan_is_refused(llama, tmp_path):
    edit = random_edit(llama)
    edit.right[0][1] = float("nan")
    refused(llama, edit, tmp_path, "not finite")


def test_an_edit_that_rounds_away_completely_is_refused(tmp_path):
    loaded = load_model(folder_of(tmp_path / "model", "llama", BF16), device="cpu")
    refused(loaded, random_edit(loaded, size=1e-7), tmp_path, "too small for the stored number format")
    export_checkpoint(loaded, random_edit(loaded, size=1e-7), tmp_path / "fine", dtype="float32")


def test_an_edit_beyond_the_range_of_fp16_is_refused(tmp_path):
    loaded = load_model(folder_of(tmp_path / "model", "llama", FP16), device="cpu")
    refused(loaded, random_edit(loaded, size=1e6), tmp_path, "not finite numbers in its format")
    export_checkpoint(loaded, random_edit(loaded, size=1e6), tmp_path / "fine", dtype="float32")


def test_nan_in_the_model_is_named(model_folder, tmp_path):
    file = model_folder / "model.safetensors"
    weights = load_file(file)
    weights["model.layers.1.self_attn.o_proj.weight"][3, 3] = float("nan")
    good = load_model(model_folder, device="cpu")
    save_file(weights, file, {"format": "pt"})
    model = plain(model_folder)
    refused(replace(good, model=model), random_edit(good), tmp_path, r"layers\.1\.self_attn\.o_proj.*not finite")


def test_weights_that_changed_on_disk_since_loading_are_named(model_folder, tmp_path):
    loaded = load_model(model_folder, device="cpu")
    weights = load_file(model_folder / "model.safetensors")
    weights["model.layers.2.mlp.down_proj.weight"] *= 1.01
    save_file(weights, model_folder / "model.safetensors", {"format": "pt"})
    refused(loaded, random_edit(loaded), tmp_path, r"layers\.2\.mlp\.down_proj\.weight")


def test_a_quantised_tensor_is_named(model_folder, tmp_path):
    loaded = load_model(model_folder, device="cpu")
    weights = load_file(model_folder / "model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    save_file(weights | {name: weights[name].to(torch.float8_e4m3fn)}, model_folder / "model.safetensors")
    refused(loaded, random_edit(loaded), tmp_path, r"layers\.0\.mlp\.down_proj\.weight is stored quantised \(F8_E4M3\)")


def test_a_quantised_tensor_beside_the_edit_cannot_become_float32(model_folder, tmp_path):
    loaded = load_model(model_folder, device="cpu")
    weights = load_file(model_folder / "model.safetensors")
    save_file(weights | {"extra": torch.ones(4).to(torch.float8_e5m2)}, model_folder / "model.safetensors")
    refused(loaded, random_edit(loaded), tmp_path, "extra is stored quantised", dtype="float32")


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_pickled_weights_are_refused_and_never_opened(model_folder, tmp_path):
    loaded = load_model(model_folder, device="cpu")
    (model_folder / "model.safetensors").unlink()
    (model_folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(str(tmp_path / "ran"))))
    refused(loaded, random_edit(loaded), tmp_path, "only pickled weights")
    assert not (tmp_path / "ran").exists()


def sharded(tmp_path):
    return load_model(folder_of(tmp_path / "model", "llama", FP32, sharded=True), device="cpu")


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder, shard: shutil.rmtree(folder), "is gone"),
        (lambda folder, shard: (folder / "model.safetensors.index.json").unlink(), "no model.safetensors"),
        (lambda folder, shard: (folder / "model.safetensors.index.json").write_text("{"), "index.json.*not complete"),
        (lambda folder, shard: (folder / "model.safetensors.index.json").write_text("[]"), "not an index of shards"),
        (
            lambda folder, shard: (folder / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "../../a.safetensors"}}'
            ),
            "no shards in its own folder",
        ),
        (lambda folder, shard: shard.unlink(), "is missing"),
        (lambda folder, shard: cut(shard, -1), "not complete: it has"),
        (lambda folder, shard: cut(shard, 50), "header is cut off"),
        (lambda folder, shard: cut(shard, 3), "header is cut off"),
        (lambda folder, shard: cut(shard, 0), "header is cut off"),
        (lambda folder, shard: shard.write_bytes(b"\x02\0\0\0\0\0\0\0[]"), "header cannot be read"),
        (lambda folder, shard: shard.write_bytes(b"\x02\0\0\0\0\0\0\0{}"), "does not hold it"),
    ],
)
def test_a_broken_source_is_refused(tmp_path, spoil, said):
    loaded = sharded(tmp_path)
    spoil(loaded.source, sorted(loaded.source.glob("*.safetensors"))[1])
    refused(loaded, random_edit(loaded), tmp_path, said)


def test_a_weight_that_another_part_of_the_model_uses_too_is_refused(llama, tmp_path):
    loaded = load_model(shutil.copytree(llama.source, tmp_path / "model"), device="cpu")
    layers = loaded.model.model.layers
    layers[0].mlp.down_proj.weight = layers[1].mlp.down_proj.weight
    refused(loaded, random_edit(loaded), tmp_path, r"layers\.\d\.mlp\.down_proj is also used")


def test_a_folder_with_files_is_refused_and_left_alone(llama, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ExportError, match="already holds files"):
        export_checkpoint(llama, random_edit(llama), tmp_path)
    for target in (tmp_path / "mine.txt", tmp_path / "mine.txt" / "out"):
        with pytest.raises(ExportError, match=r"mine\.txt is a file"):
            export_checkpoint(llama, random_edit(llama), target)
    assert files_of(tmp_path) == {"mine.txt": b"keep"}


def test_a_target_inside_the_source_is_refused(model_folder):
    loaded = load_model(model_folder, device="cpu")
    before = files_of(model_folder)
    for target in (model_folder / "edited", model_folder, model_folder / ".." / "model" / "x"):
        with pytest.raises(ExportError, match="inside the folder of the model"):
            export_checkpoint(loaded, random_edit(loaded), target)
    assert files_of(model_folder) == before


@pytest.mark.parametrize("dtype", ["stored", "float32"])
def test_stop_at_any_moment_leaves_nothing(llama, tmp_path, dtype):
    calls = []
    export_checkpoint(
        llama, random_edit(llama), tmp_path / "whole", dtype=dtype, progress=lambda *now: calls.append(now)
    )
    shutil.rmtree(tmp_path / "whole")
    for last in (calls[0][0], calls[len(calls) // 2][0], calls[-1][0]):

        def stop(done, total, last=last):
            if done >= last:
                raise Cancelled("Stopped.")

        with pytest.raises(Cancelled):
            export_checkpoint(llama, random_edit(llama), tmp_path / "out", dtype=dtype, progress=stop)
        assert not list(tmp_path.iterdir())


@contextmanager
def largest_file(n_bytes):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_refuses_in_the_middle_of_a_shard_leaves_nothing(llama, tmp_path):
    edit = random_edit(llama)
    with largest_file(100_000):
        refused(llama, edit, tmp_path, "could not be written: File too large")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_gets_its_own_sentence(llama, tmp_path):
    with pytest.raises(ExportError, match="is full: the export needs 1.0 kB"), staged(tmp_path / "out", 1000):
        copy_file(llama.source / "model.safetensors", Path("/dev/full"), Meter(1, None))
    assert not list(tmp_path.iterdir())


def test_too_little_free_space_is_said_before_the_first_byte(llama, tmp_path):
    with pytest.raises(ExportError, match="adapter, which is small"), staged(tmp_path / "out", 10**18):
        pytest.fail("the disk cannot hold an exabyte")
    assert not list(tmp_path.iterdir())


def test_a_source_that_vanishes_while_it_is_copied_leaves_nothing(model_folder, tmp_path):
    loaded = load_model(model_folder, device="cpu")

    def vanish(done, total):
        shutil.rmtree(model_folder, ignore_errors=True)

    refused(loaded, random_edit(loaded), tmp_path, "model", progress=vanish)


# The model card


def test_the_card_says_what_was_changed_and_keeps_the_licence_and_the_base_card(model_folder, tmp_path):
    card = "---\nlicense: other\nlicense_name: tiny\nlicense_link: LICENSE\ndatasets: [a]\n---\n# Base\n"
    (model_folder / "README.md").write_text(card)
    loaded = replace(load_model(model_folder, device="cpu"), model_id="owner/base", revision="abc123")
    edit = random_edit(loaded, sites=(0, 1, 5))
    out = export_checkpoint(loaded, edit, tmp_path / "out")
    front = metadata_load(out / "README.md")
    assert (front["license"], front["license_name"], front["license_link"]) == ("other", "tiny", "LICENSE")
    assert front["base_model"] == "owner/base" and front["library_name"] == "transformers"
    text = (out / "README.md").read_text()
    heads, neurons = edit.count("heads"), edit.count("neurons")
    assert f"{heads} of 12 attention heads and {neurons} of 288 MLP neurons" in text
    assert "2 of 3 layers (0, 2, counted from 0)" in text
    for said in ("owner/base at revision abc123", loaded.fingerprint, "c0ffee", "2602.09870", "from_pretrained"):
        assert said in text
    assert "mood / test" in text  # a bar would break the table
    assert (out / "README_base.md").read_text() == card


def test_the_relative_size_on_the_card_is_that_of_the_changed_matrices(llama, tmp_path):
    edit = random_edit(llama, sites=(0,))
    before, after = llama.weight(0), merged(llama, edit, FP32).get_submodule(llama.spec.sites[0].name).weight.detach()
    ratio = float((after - before).norm() / before.norm())
    assert f"The change is {ratio:.2%} of" in (export_checkpoint(llama, edit, tmp_path) / "README.md").read_text()


@pytest.mark.parametrize("card", ["no front matter", "---\n: [\n---\n", "---\n- a\n---\n", ""])
def test_a_base_card_without_readable_front_matter_is_no_obstacle(model_folder, tmp_path, card):
    (model_folder / "README.md").write_text(card)
    loaded = load_model(model_folder, device="cpu")
    out = export_checkpoint(loaded, random_edit(loaded), tmp_path / "out")
    assert "license" not in metadata_load(out / "README.md")


def test_the_recipe_lies_beside_the_weights_where_nothing_takes_it_for_weights(llama, tmp_path):
    edit = random_edit(llama)
    out = export_checkpoint(llama, edit, tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(load_edit(out / RECIPE_FILE, base=llama).right, edit.right, strict=True)
    )
    assert [path.name for path in out.glob("*.safetensors")] == ["model.safetensors"]


def test_layers_are_written_as_ranges():
    assert layer_ranges([3, 1, 2, 7, 9, 10, 7]) == "1-3, 7, 9-10"
    assert layer_ranges([]) == ""
