"""Models of which a part stays on the disk: everything is bit for bit what it is with the whole model in memory."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from s2e_core import (
    Edited,
    ModelLoadError,
    Original,
    Steered,
    UnsupportedModelError,
    compare,
    export_adapter,
    export_checkpoint,
    load_model,
    verify_export,
)
from s2e_core.cli import main
from s2e_core.files import open_checkpoint
from s2e_core.generation import preview_logits
from s2e_core.loading import budget, describe_weights_size, estimate_memory, residence
from s2e_core.loading.memory import refuse_too_large
from s2e_core.model import (
    LoadedModel,
    bytes_by_device,
    parameter_count,
    parse_memory_limits,
    read_parameter,
    weight_identities,
)
from s2e_core.model.placement import is_absent
from tests.core.chain import chain
from tests.core.edits import IDS
from tests.families import saved_folder, tiny_model

FAMILIES = ("llama", "gpt2", "gemma2", "mixtral")


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, LoadedModel]:
    """The same model in memory, and with more than half of it on the disk."""
    folder = saved_folder(tmp_path_factory.mktemp(request.param), request.param)
    return load_model(folder, device="cpu"), spread(folder)


def spread(folder: Path, share: float = 0.6) -> LoadedModel:
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return load_model(folder, device="auto", dtype=torch.float32, max_memory={"cpu": int(share * size)})


def test_a_part_is_on_the_disk_and_it_is_said(pair):
    whole, parted = pair
    places = bytes_by_device(parted.model)
    assert list(places) == ["cpu", "disk"] and sum(places.values()) == sum(bytes_by_device(whole.model).values())
    assert residence(parted) == "float32 on cpu and the disk" and residence(whole) == "float32 on cpu"
    assert "on the disk" in describe_weights_size(parted) and "of weights" in describe_weights_size(whole)
    assert any("stay on the disk" in warning for warning in parted.warnings)
    assert not any("disk" in warning for warning in whole.warnings)


def test_sites_weights_and_fingerprint_are_the_same(pair):
    whole, parted = pair
    assert [repr(site) for site in parted.spec.sites] == [repr(site) for site in whole.spec.sites]
    assert parted.fingerprint == whole.fingerprint
    assert all(torch.equal(parted.weight(i), whole.weight(i)) for i in range(len(whole.spec.sites)))


def test_scores_edits_previews_and_texts_are_the_same(pair):
    whole, parted = pair
    ours, theirs = chain(whole), chain(parted)
    assert all(torch.equal(a, b) for a, b in zip(ours.scores.g, theirs.scores.g, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(ours.edit.right, theirs.edit.right, strict=True))
    for mine, other in (
        (Original(), Original()),
        (Edited(ours.edit), Edited(theirs.edit)),
        (Steered(ours.directions, 0.5), Steered(theirs.directions, 0.5)),
    ):
        assert torch.equal(preview_logits(whole, mine, IDS), preview_logits(parted, other, IDS))
    assert not torch.equal(preview_logits(whole, Edited(ours.edit), IDS), preview_logits(whole, Original(), IDS))
    texts = [
        list(compare(loaded, "Say hello.", [Original(), Edited(made)], max_new_tokens=6))[-1]
        for loaded, made in ((whole, ours.edit), (parted, theirs.edit))
    ]
    assert texts[0] == texts[1]


def test_exported_bytes_are_the_same_and_the_check_passes(pair, tmp_path):
    whole, parted = pair
    edit, parted_edit = chain(whole).edit, chain(parted).edit
    ours = export_checkpoint(whole, edit, tmp_path / "whole") / "model.safetensors"
    theirs = export_checkpoint(parted, parted_edit, tmp_path / "parted") / "model.safetensors"
    assert ours.read_bytes() == theirs.read_bytes()
    assert verify_export(parted, parted_edit, theirs.parent).passed


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_an_adapter_is_checked_with_a_part_of_the_model_on_the_disk(family, tmp_path):
    parted = spread(saved_folder(tmp_path / "model", family))
    edit = chain(parted).edit
    assert verify_export(parted, edit, export_adapter(parted, edit, tmp_path / "adapter")).passed


def test_with_room_for_everything_nothing_is_spread(llama):
    loaded = load_model(llama.source, device="auto")
    assert residence(loaded) == residence(llama) or torch.cuda.is_available()
    assert loaded.fingerprint == llama.fingerprint


def test_even_the_first_weights_may_be_on_the_disk(llama):
    parted = spread(llama.source, share=0.01)
    assert list(bytes_by_device(parted.model)) == ["disk"]
    assert torch.equal(preview_logits(parted, Original(), IDS), preview_logits(llama, Original(), IDS))
    texts = [list(compare(loaded, "Hi", [Original()], max_new_tokens=4))[-1] for loaded in (llama, parted)]
    assert texts[0] == texts[1]


def test_a_nan_on_the_disk_is_found(llama, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(llama.source / "model.safetensors")
    weights["model.layers.2.mlp.up_proj.weight"][3, 4] = float("nan")
    folder = tmp_path / "model"
    folder.mkdir()
    for file in llama.source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"is damaged: model\.layers\.2\.mlp\.up_proj"):
        spread(folder)


def test_shared_weights_are_known_also_where_they_have_no_address():
    model = tiny_model("llama", tie_word_embeddings=True).to("meta")
    model.tie_weights()
    same = weight_identities(model)
    assert same["lm_head.weight"] == same["model.embed_tokens.weight"]
    assert len(set(same.values())) == len(same) - 1
    assert is_absent(model.lm_head, "weight")


def test_reading_a_weight_in_memory_copies_nothing(llama):
    module = llama.model.get_submodule(llama.spec.sites[0].name)
    assert read_parameter(module, "weight").data_ptr() == module.weight.data_ptr()


def test_a_model_larger_than_memory_is_told_how_to_start(llama):
    checkpoint = open_checkpoint(llama.source)
    need = estimate_memory(checkpoint, torch.device("cpu"), torch.float32)
    need = type(need)(need.weights, need.weights // 100, "cpu")
    with pytest.raises(ModelLoadError, match="--device auto"):
        refuse_too_large("m", checkpoint, need)


def test_a_model_that_transformers_cannot_run_from_the_disk_says_so(tmp_path):
    with pytest.raises(UnsupportedModelError, match="dbrx .* with part of the weights on disk, which not every"):
        spread(saved_folder(tmp_path, "dbrx"))


def test_limits_of_memory_are_refused_where_they_would_not_be_heeded(llama):
    with pytest.raises(ModelLoadError, match="--device auto"):
        load_model(llama.source, device="cpu", max_memory={"cpu": 10})


def test_limits_of_memory_are_read_in_gigabytes():
    assert parse_memory_limits("0=20,cpu=0.5") == {"0": 20_000_000_000, "cpu": 500_000_000}
    for wrong in ("20", "disk=3", "cpu=x", "cpu=1=2"):
        with pytest.raises(ValueError):
            parse_memory_limits(wrong)


def test_the_budget_is_what_is_free_less_room_to_work_in_or_what_was_asked_for(monkeypatch):
    monkeypatch.setattr("s2e_core.loading.build.available_memory", lambda device: 1200)
    free = budget(None)
    assert free["cpu" if "cpu" in free else "mps"] == 1000
    (place,) = {"cpu", "mps"} & set(map(str, free))
    assert budget({place: 7})[place] == 7


def test_a_limit_of_a_place_that_is_not_there_is_refused_and_never_ignored(llama):
    with pytest.raises(ModelLoadError, match="--max-memory sets a limit for 97, but .* spread only over .* here"):
        load_model(llama.source, device="auto", max_memory={"97": 20_000_000_000})


def test_a_limit_that_cannot_be_read_is_a_sentence_of_the_command_line(capsys):
    with pytest.raises(SystemExit):
        main(["info", "--device", "auto", "--max-memory", "cpu=much"])
    assert '"cpu=much" is no limit. Write gigabytes by place, as in 0=20,cpu=32' in capsys.readouterr().err


@pytest.mark.parametrize("share", [0.01, 0.6])
def test_a_weight_with_two_names_is_counted_once_also_on_the_disk(share, tmp_path):
    folder = saved_folder(tmp_path, "llama", tie_word_embeddings=True)
    whole, parted = load_model(folder, device="cpu"), spread(folder, share)
    assert sum(bytes_by_device(parted.model).values()) == sum(bytes_by_device(whole.model).values())
    assert parameter_count(parted.model) == parameter_count(whole.model) == whole.model.num_parameters()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_is_spread_over_gpu_memory_and_disk(llama):
    size = sum(bytes_by_device(llama.model).values())
    limits = {"0": int(0.6 * size), "cpu": int(0.3 * size)}
    parted = load_model(llama.source, device="auto", dtype=torch.float32, max_memory=limits)
    assert {"cuda:0", "disk"} <= set(bytes_by_device(parted.model)) and parted.device.type == "cuda"
    edit, parted_edit = chain(llama).edit, chain(parted).edit
    preview = preview_logits(parted, Edited(parted_edit), IDS)
    assert torch.allclose(preview, preview_logits(llama, Edited(edit), IDS), atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_goes_straight_onto_the_gpu_in_its_stored_dtype(tmp_path):
    loaded = load_model(saved_folder(tmp_path, dtype=torch.bfloat16))
    assert (loaded.device.type, loaded.dtype) == ("cuda", torch.bfloat16)
    assert not hasattr(loaded.model, "_hf_hook")


def test_what_was_written_for_the_disk_goes_with_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    parted = spread(saved_folder(tmp_path / "model", "mixtral"))  # its experts are not in the files as they run
    assert list((tmp_path / "temporary").rglob("*.safetensors"))
    del parted
    gc.collect()
    assert not list((tmp_path / "temporary").iterdir())
