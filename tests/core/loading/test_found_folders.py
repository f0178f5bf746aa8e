"""Folders and names as they are met in the wild: each loads as meant, or gets a sentence that says what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from s2e_core import ModelLoadError, load_model
from s2e_core.files import is_companion
from s2e_core.loading import hub_name
from s2e_core.loading.file_names import choose_files, find_gguf
from s2e_core.model import LoadedModel

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 4096\n"
SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture
def folder(llama: LoadedModel, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder that a test may change."""
    return shutil.copytree(llama.source, tmp_path / "model")


def refused(source: Path | str) -> str:
    with pytest.raises(ModelLoadError) as error:
        load_model(source, device="cpu")
    return str(error.value)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_in_place_of_a_file_is_named_with_what_to_run(folder, name):
    (folder / name).write_text(POINTER.format("ab" * 32))
    said = refused(folder)
    assert f"its {name} is only a Git LFS pointer" in said and "git lfs pull" in said


def test_a_pointer_in_place_of_a_shard_or_a_gguf_file_is_named(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    (folder / SHARD).write_text(POINTER.format("ab" * 32))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": SHARD}}))
    assert f"its {SHARD} is only a Git LFS pointer" in refused(folder)
    (tmp_path / "tiny.Q8_0.gguf").write_text(POINTER.format("cd" * 32))
    assert "its tiny.Q8_0.gguf is only a Git LFS pointer" in refused(tmp_path / "tiny.Q8_0.gguf")


def test_a_pointer_in_place_of_what_is_not_needed_is_no_obstacle(folder):
    (folder / "photo.png").write_text(POINTER.format("ab" * 32))
    (folder / "pytorch_model.bin").write_text(POINTER.format("ab" * 32))
    assert load_model(folder, device="cpu").spec.sites


def test_shards_without_their_index_are_told_by_the_name_of_the_index(folder):
    (folder / "model.safetensors").rename(folder / SHARD)
    assert "in shards, but not model.safetensors.index.json" in refused(folder)


def test_mistrals_own_layout_is_told_by_its_files(folder):
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    (folder / "config.json").rename(folder / "params.json")
    (folder / "tokenizer.json").rename(folder / "tekken.json")
    said = refused(folder)
    assert "Mistral's own layout (params.json, consolidated.safetensors)" in said and "config.json" in said


def test_weights_in_mistrals_own_layout_beside_a_configuration_are_told_too(folder):
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    assert "no safetensors weights" not in (said := refused(folder)) and "Mistral's own layout" in said


@pytest.mark.parametrize(("name", "package"), [("tokenizer.model", "sentencepiece"), ("tekken.json", "mistral-common")])
def test_a_tokenizer_that_needs_a_package_names_that_package(folder, name, package, monkeypatch):
    monkeypatch.setattr("s2e_core.loading.messages._is_installed", lambda module: module == "google.protobuf")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"}))
    (folder / name).write_bytes(b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02")
    said = refused(folder)
    assert f"its tokenizer ({name}) needs the package {package}. Run pip install {package}, or add" in said


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://huggingface.co/owner/name", "owner/name"),
        ("http://hf.co/owner/name/", "owner/name"),
        ("huggingface.co/owner/name?library=transformers", "owner/name"),
        ("https://huggingface.co/owner/name/tree/main", "owner/name@main"),
        ("https://huggingface.co/owner/name/tree/refs%2Fpr%2F3", "owner/name@refs/pr/3"),
        ("https://huggingface.co/owner/name/blob/v1.0/q4/tiny.Q4_0.gguf", "owner/name/q4/tiny.Q4_0.gguf@v1.0"),
        ("models--owner--name", "owner/name"),
        ("models--owner--some--name", "owner/some--name"),
        ("models--owner--name/snapshots/0123abc", "owner/name@0123abc"),
        ("owner/name@branch", "owner/name@branch"),
        ("owner/name/tiny.Q4_0.gguf", "owner/name/tiny.Q4_0.gguf"),
        ("models--owner", "models--owner"),
    ],
)
def test_addresses_and_names_of_the_cache_are_names_of_models(source, name):
    assert hub_name(source) == name


@pytest.mark.parametrize(
    "address",
    [
        "https://huggingface.co/owner",
        "https://huggingface.co/datasets/owner/name",
        "https://huggingface.co/owner/name/tree/main/onnx",
        "https://huggingface.co/owner/name/blob/main/config.json",
    ],
)
def test_another_address_is_a_sentence(address):
    with pytest.raises(ModelLoadError, match="is not the address of a model"):
        hub_name(address)


def test_an_address_reaches_the_hub_as_the_id():
    assert refused("https://huggingface.co/nobody/nothing/tree/v2").startswith("nobody/nothing")


def cached(folder: Path, commits: tuple[str, ...], main: str | None) -> Path:
    """A folder of the Hub's cache whose snapshots are copies of `folder`."""
    repository = folder.parent / "models--owner--tiny"
    for commit in commits:
        shutil.copytree(folder, repository / "snapshots" / commit)
    if main is not None:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(main)
    return repository


@pytest.mark.parametrize(("commits", "main"), [(("aaa", "bbb"), "bbb"), (("bbb",), None), (("bbb",), "gone")])
def test_a_folder_of_the_cache_is_its_snapshot(folder, commits, main):
    loaded = load_model(cached(folder, commits, main), device="cpu")
    assert (loaded.model_id, loaded.revision, loaded.source.name) == ("owner/tiny", "bbb", "bbb")


def test_a_folder_of_the_cache_without_a_snapshot_to_choose_is_a_sentence(folder):
    assert "contains 2 snapshots (aaa and bbb)" in refused(cached(folder, ("aaa", "bbb"), None))
    shutil.rmtree(folder.parent / "models--owner--tiny" / "snapshots")
    (folder.parent / "models--owner--tiny" / "snapshots").mkdir()
    assert "contains 0 snapshots (none)" in refused(folder.parent / "models--owner--tiny")


def test_of_several_quantisations_one_must_be_named_and_helper_files_do_not_count(tmp_path):
    for name in ("tiny.Q4_0.gguf", "Q8/tiny.Q8_0.gguf", "mmproj-tiny-f16.gguf", "tiny.imatrix.gguf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"GGUF")
    said = refused(tmp_path)
    assert "several GGUF files: Q8/tiny.Q8_0.gguf, tiny.Q4_0.gguf. Name one of them" in said
    assert find_gguf("tiny", ["mmproj-tiny.gguf", "tiny.Q4_0.gguf"]) == "tiny.Q4_0.gguf"


BELONGS = [
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt",
    "vocab.txt", "chat_template.jinja", "additional_chat_templates/tool.jinja", "preprocessor_config.json", "README.md",
    "LICENSE", "LICENSE.txt", "NOTICE", "quanto_qmap.json", "qwen.tiktoken", "tekken.json", "USE_POLICY.md",
]  # fmt: skip
LEFTOVERS = [
    "model.tflite", "optimizer.pkl", "model.safetensors.bak", "model.onnx", "onnx/config.json", "pytorch_model.bin",
    "tf_model.h5", "training_args.bin", "trainer_state.json", "adapter_config.json", "adapter_model.safetensors",
    "consolidated.safetensors", "pytorch_model.bin.index.json", "model.mlmodel", "run.py", "notes.docx", ".env",
    "checkpoint-100/config.json", "requirements.txt", "tokenizer.json.orig", "params.json", "original/params.json",
]  # fmt: skip


@pytest.mark.parametrize("name", [*BELONGS, *LEFTOVERS])
def test_one_list_says_what_belongs_to_a_model_for_downloads_and_exports(name):
    names = ("config.json", "model.safetensors", name)
    assert is_companion(name) == (name in choose_files("tiny", names)) == (name in BELONGS)
