"""Tests of the model card: what was changed, from which base, under which licence, and how to load it."""

import re
import shutil
from dataclasses import replace

import pytest
import torch
from huggingface_hub import metadata_load

from s2e_core import Edited, EditSettings, export_adapter, export_checkpoint, load_edit, load_model
from s2e_core.export import RECIPE_FILE
from s2e_core.generation import preview_logits
from s2e_core.settings import Gate
from s2e_core.text import layer_ranges
from tests.core.edits import (
    FP32,
    IDS,
    logits,
    merged,
    random_edit,
)
from tests.families import saved_folder
from tests.hub_server import Repository, running_hub, use_hub


@pytest.fixture
def model_folder(llama, tmp_path):
    """A copy of the tiny model's folder that a test may change before loading it."""
    return shutil.copytree(llama.source, tmp_path / "model")


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
    for detail in ("owner/base at revision abc123", loaded.fingerprint, "c0ffee", "2602.09870", "from_pretrained"):
        assert detail in text
    assert "mood / test" in text  # a bar would break the table
    assert (out / "README_base.md").read_text() == card


def test_a_folder_is_no_base_model_of_the_hub(llama, tmp_path):
    front = metadata_load(export_checkpoint(llama, random_edit(llama), tmp_path / "out") / "README.md")
    assert "base_model" not in front and "base_model_relation" not in front
    assert llama.model_id in (tmp_path / "out" / "README.md").read_text()


def test_the_size_on_the_card_is_the_change_of_the_edited_matrices(llama, tmp_path):
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


def test_the_recipe_is_in_a_folder_where_no_program_mistakes_it_for_weights(llama, tmp_path):
    edit = random_edit(llama)
    out = export_checkpoint(llama, edit, tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(load_edit(out / RECIPE_FILE, base=llama).right, edit.right, strict=True)
    )
    assert [path.name for path in out.glob("*.safetensors")] == ["model.safetensors"]


def card_rows(loaded, settings, folder, harmless="everyday.txt"):
    """The table of an edit with these settings as {name: value}, and the sentence on its formula."""
    edit = random_edit(loaded)
    edit = replace(edit, settings=settings, provenance=replace(edit.provenance, harmless=harmless))
    text = (export_adapter(loaded, edit, folder) / "README.md").read_text()
    (formula,) = re.findall("^The formula is closed-form.*$", text, flags=re.MULTILINE)
    return dict(re.findall(r"^\| (.+) \| (.+) \|$", text, flags=re.MULTILINE)), formula


def test_the_card_of_a_gate_has_its_dials_and_no_formula_of_the_paper(llama, tmp_path):
    settings = EditSettings(None, None, 0.5, strength=2, gate=Gate(0.5, 10, 100))
    rows, formula = card_rows(llama, settings, tmp_path)
    assert (rows["family"], rows["strength"]) == ("gated steering", "2")
    assert [rows[f"{name} of the gate"] for name in ("gamma", "mu", "size")] == ["0.5", "10", "100 components"]
    assert rows["harmless texts"] == "everyday.txt" and not {"protect", "rho of the heads"} & rows.keys()
    assert all(number in formula for number in ("2409.05907", "2506.07022", "2410.02355"))
    assert "gated steering" in formula and "2602.09870" not in formula


def test_the_card_of_a_sum_names_the_paper_for_its_elastic_net(llama, tmp_path):
    settings = EditSettings(0.3, None, 0.5, gate=Gate(0.5), protect=1)
    rows, formula = card_rows(llama, settings, tmp_path)
    assert rows["family"] == "elastic net + baked steering" and rows["size of the gate"] == "all components"
    assert rows["rho of the heads"] == "0.3" and rows["protect"].startswith(
        "silent on the 1 strongest input direction "
    )
    assert "the elastic net of Sun" in formula and "baked steering" in formula and "as in AlphaEdit" in formula


def test_the_card_of_the_papers_edit_says_nothing_of_gates(llama, tmp_path):
    rows, formula = card_rows(llama, EditSettings(0.3, None, 0.5), tmp_path, harmless="")
    assert list(rows)[-4:] == ["rho of the heads", "rho of the neurons", "alpha, strength", "by hand"]
    assert "family" not in rows and formula.endswith("no training: Sun, Yan, Wang, Weng: Steer2Edit, arXiv 2602.09870.")


def code_on_card(folder):
    """The Python code on the card of an export, with the folder's path filled in."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    assert code.count('"path/to/this/folder"') >= 1
    return code.replace("path/to/this/folder", str(folder))


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
@pytest.mark.parametrize("export", [export_checkpoint, export_adapter])
def test_the_lines_on_the_card_load_what_the_preview_showed(tmp_path, family, export):
    loaded = load_model(saved_folder(tmp_path / "model", family), device="cpu")
    edit, variables = random_edit(loaded), {}
    code = code_on_card(export(loaded, edit, tmp_path / "out"))
    exec(code.replace(f"path/to/{loaded.model_id}", str(loaded.source)), variables)
    torch.testing.assert_close(logits(variables["model"]), preview_logits(loaded, Edited(edit), IDS), atol=1e-4, rtol=0)
    assert variables["tokenizer"]("Hello")["input_ids"] == loaded.tokenizer("Hello")["input_ids"]


def test_the_lines_on_the_card_of_an_adapter_find_a_base_on_the_hub_word_for_word(llama, tmp_path, monkeypatch):
    with running_hub() as hub:
        hub.repositories = {"owner/base": Repository.of(llama.source)}
        use_hub(monkeypatch, hub.address, tmp_path / "cache")
        loaded = load_model("owner/base", device="cpu")
        edit, variables = random_edit(loaded), {}
        exec(code_on_card(export_adapter(loaded, edit, tmp_path / "out")), variables)
        assert loaded.revision and variables["model"].peft_config["default"].base_model_name_or_path == "owner/base"
        torch.testing.assert_close(
            logits(variables["model"]), preview_logits(loaded, Edited(edit), IDS), atol=1e-4, rtol=0
        )


def test_layers_are_written_as_ranges():
    assert layer_ranges([3, 1, 2, 7, 9, 10, 7]) == "1-3, 7, 9-10"
    assert layer_ranges([]) == ""
