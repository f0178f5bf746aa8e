"""Tests of exports that are refused: each gets one message and leaves nothing behind."""

import os
import pickle
import resource
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2e_core import Cancelled, ExportError, export_checkpoint, load_model
from s2e_core.files import Meter, copy_file, stage_folder
from tests.core.edits import (
    BF16,
    FP16,
    FP32,
    files_of,
    folder_of,
    plain,
    random_edit,
)


@pytest.fixture
def model_folder(llama, tmp_path):
    """A copy of the tiny model's folder that a test may change before loading it."""
    return shutil.copytree(llama.source, tmp_path / "model")


def export_refused(loaded, edit, tmp_path, message, **options):
    """The export fails with a message without the path of a folder, and leaves no file."""
    (tmp_path / "exports").mkdir(exist_ok=True)
    with pytest.raises(ExportError, match=message) as error:
        export_checkpoint(loaded, edit, tmp_path / "exports" / "out", **options)
    assert not list((tmp_path / "exports").iterdir())
    assert str(tmp_path) not in str(error.value) and str(error.value).endswith(".")


def test_an_empty_edit_is_refused(llama, tmp_path):
    export_refused(llama, random_edit(llama, size=0.0), tmp_path, "The edit is empty")


def test_an_edit_of_another_model_is_refused_with_both_names(llama, gpt2, tmp_path):
    export_refused(llama, random_edit(gpt2), tmp_path, f"{gpt2.model_id}.*{llama.model_id}")


def test_an_edit_with_nan_is_refused(llama, tmp_path):
    edit = random_edit(llama)
    edit.right[0][1] = float("nan")
    export_refused(llama, edit, tmp_path, "not finite")


def test_an_edit_that_rounds_away_completely_is_refused(tmp_path):
    loaded = load_model(folder_of(tmp_path / "model", "llama", BF16), device="cpu")
    export_refused(loaded, random_edit(loaded, size=1e-7), tmp_path, "too small for the stored number format")
    export_checkpoint(loaded, random_edit(loaded, size=1e-7), tmp_path / "fine", dtype="float32")


def test_an_edit_beyond_the_range_of_fp16_is_refused(tmp_path):
    loaded = load_model(folder_of(tmp_path / "model", "llama", FP16), device="cpu")
    export_refused(loaded, random_edit(loaded, size=1e6), tmp_path, "not finite in its number format")
    export_checkpoint(loaded, random_edit(loaded, size=1e6), tmp_path / "fine", dtype="float32")


def test_nan_in_the_model_is_named(model_folder, tmp_path):
    file = model_folder / "model.safetensors"
    weights = load_file(file)
    weights["model.layers.1.self_attn.o_proj.weight"][3, 3] = float("nan")
    good = load_model(model_folder, device="cpu")
    save_file(weights, file, {"format": "pt"})
    model = plain(model_folder)
    export_refused(replace(good, model=model), random_edit(good), tmp_path, r"layers\.1\.self_attn\.o_proj.*not finite")


def test_weights_that_changed_on_disk_since_loading_are_named(model_folder, tmp_path):
    loaded = load_model(model_folder, device="cpu")
    weights = load_file(model_folder / "model.safetensors")
    weights["model.layers.2.mlp.down_proj.weight"] *= 1.01
    save_file(weights, model_folder / "model.safetensors", {"format": "pt"})
    export_refused(loaded, random_edit(loaded), tmp_path, r"layers\.2\.mlp\.down_proj\.weight")


def test_a_quantised_tensor_is_named(model_folder, tmp_path):
    loaded = load_model(model_folder, device="cpu")
    weights = load_file(model_folder / "model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    save_file(weights | {name: weights[name].to(torch.float8_e4m3fn)}, model_folder / "model.safetensors")
    message = r"layers\.0\.mlp\.down_proj\.weight is stored quantised \(F8_E4M3\)"
    export_refused(loaded, random_edit(loaded), tmp_path, message)


def test_a_quantised_tensor_beside_the_edit_cannot_become_float32(model_folder, tmp_path):
    loaded = load_model(model_folder, device="cpu")
    weights = load_file(model_folder / "model.safetensors")
    save_file(weights | {"extra": torch.ones(4).to(torch.float8_e5m2)}, model_folder / "model.safetensors")
    export_refused(loaded, random_edit(loaded), tmp_path, "extra is stored quantised", dtype="float32")


class Evil:
    """Creates a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_pickled_weights_are_refused_and_never_opened(model_folder, tmp_path):
    loaded = load_model(model_folder, device="cpu")
    (model_folder / "model.safetensors").unlink()
    (model_folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(str(tmp_path / "ran"))))
    export_refused(loaded, random_edit(loaded), tmp_path, "only pickled weights")
    assert not (tmp_path / "ran").exists()


def sharded_model(tmp_path):
    return load_model(folder_of(tmp_path / "model", "llama", FP32, sharded=True), device="cpu")


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder, shard: shutil.rmtree(folder), "no longer exists"),
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
        (lambda folder, shard: shard.write_bytes(b"\x02\0\0\0\0\0\0\0{}"), "does not contain it"),
    ],
)
def test_a_broken_source_is_refused(tmp_path, spoil, message):
    loaded = sharded_model(tmp_path)
    spoil(loaded.source, sorted(loaded.source.glob("*.safetensors"))[1])
    export_refused(loaded, random_edit(loaded), tmp_path, message)


def test_a_weight_that_another_part_of_the_model_uses_too_is_refused(llama, tmp_path):
    loaded = load_model(shutil.copytree(llama.source, tmp_path / "model"), device="cpu")
    layers = loaded.model.model.layers
    layers[0].mlp.down_proj.weight = layers[1].mlp.down_proj.weight
    export_refused(loaded, random_edit(loaded), tmp_path, r"also uses the weight of model\.layers\.\d\.mlp\.down_proj")


def test_a_folder_with_files_is_refused_and_left_alone(llama, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ExportError, match="already contains files"):
        export_checkpoint(llama, random_edit(llama), tmp_path)
    for target in (tmp_path / "mine.txt", tmp_path / "mine.txt" / "out"):
        with pytest.raises(ExportError, match=r"mine\.txt is a file"):
            export_checkpoint(llama, random_edit(llama), target)
    assert files_of(tmp_path) == {"mine.txt": b"keep"}


def test_a_target_inside_the_source_is_refused(model_folder):
    loaded = load_model(model_folder, device="cpu")
    before = files_of(model_folder)
    for target in (model_folder / "edited", model_folder, model_folder / ".." / "model" / "x"):
        with pytest.raises(ExportError, match="inside the folder of its own base model"):
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
def file_size_limit(n_bytes):
    """While the block runs, the system refuses to write a file larger than `n_bytes`."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_refuses_in_the_middle_of_a_shard_leaves_nothing(llama, tmp_path):
    edit = random_edit(llama)
    with file_size_limit(100_000):
        export_refused(llama, edit, tmp_path, "could not be written: File too large")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_gets_its_own_sentence(llama, tmp_path):
    with pytest.raises(ExportError, match="is full: the export needs 1.0 kB"), stage_folder(tmp_path / "out", 1000):
        copy_file(llama.source / "model.safetensors", Path("/dev/full"), Meter(1, None))
    assert not list(tmp_path.iterdir())


def test_too_little_free_space_is_said_before_the_first_byte(llama, tmp_path):
    with pytest.raises(ExportError, match="adapter, which is small"), stage_folder(tmp_path / "out", 10**18):
        pytest.fail("the disk cannot hold an exabyte")
    assert not list(tmp_path.iterdir())


def test_a_source_that_vanishes_while_it_is_copied_leaves_nothing(model_folder, tmp_path):
    loaded = load_model(model_folder, device="cpu")

    def vanish(done, total):
        shutil.rmtree(model_folder, ignore_errors=True)

    export_refused(loaded, random_edit(loaded), tmp_path, "model", progress=vanish)
