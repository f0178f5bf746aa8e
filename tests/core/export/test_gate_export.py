"""A gate taken home: checkpoint, adapter and recipe do what the preview shows, on every kind of model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from s2e_core import (
    Edited,
    EditSettings,
    ExportError,
    Original,
    RecipeError,
    build_edit,
    export_adapter,
    export_checkpoint,
    extract,
    load_edit,
    load_model,
    save_edit,
    verify_export,
)
from s2e_core.export import RECIPE_FILE
from s2e_core.generation import preview_logits
from s2e_core.settings import Gate
from tests.core.chain import EXAMPLES, GATED, TEXTS, chain
from tests.core.edits import IDS, logits, merged, plain
from tests.families import saved_folder

FAMILIES = ("llama", "gpt2", "gemma2", "gemma3", "mixtral", "qwen2_moe", "zamba")
"""Plain, transposed, norms behind, with a wrapper, two kinds of experts, and a block that several layers share."""
WITHOUT_ADAPTER = {"zamba"}
KINDS = {
    "gated": GATED,
    "baked": EditSettings(None, None, 0.5, gate=Gate(0.5)),
    "sum of 20": EditSettings(0.3, 0.3, 0.5, gate=Gate(0.8, 2.0, size=20), protect=1),
}


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request, tmp_path_factory):
    return load_model(saved_folder(tmp_path_factory.mktemp(request.param), request.param), device="cpu")


@pytest.fixture(scope="module")
def edits(loaded):
    extraction = extract(loaded, EXAMPLES, texts=TEXTS)
    return {name: build_edit(extraction, settings) for name, settings in KINDS.items()}


def assert_visible(loaded, preview):
    assert (preview - preview_logits(loaded, Original(), IDS)).abs().max() > 1e-2


def same_bits(a, b):
    return all(torch.equal(x.view(torch.int32), y.view(torch.int32)) for x, y in zip(a, b, strict=True))


def test_a_checkpoint_computes_the_preview_and_is_verified(loaded, edits, tmp_path):
    for name in ("gated", "sum of 20"):
        edit = edits[name]
        out = export_checkpoint(loaded, edit, tmp_path / name)
        preview = preview_logits(loaded, Edited(edit), IDS)
        torch.testing.assert_close(logits(plain(out)), preview, atol=1e-4, rtol=1e-4)
        assert_visible(loaded, preview)
    result = verify_export(loaded, edits["gated"], tmp_path / "gated")
    assert result.passed and not result.unedited_tensors and not result.unexpected_tensors
    assert result.logit_difference < 1e-4 < 1e-2 < result.logit_effect
    assert result.realised_median == pytest.approx(1.0, abs=1e-3)
    assert not verify_export(loaded, edits["baked"], tmp_path / "gated").passed


def test_peft_computes_the_preview_and_is_verified(loaded, edits, tmp_path):
    edit = edits["gated"]
    if loaded.spec.model_type in WITHOUT_ADAPTER:
        with pytest.raises(ExportError, match="checkpoint instead"):
            export_adapter(loaded, edit, tmp_path / "out")
        return
    out = export_adapter(loaded, edit, tmp_path / "out")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(loaded.source), out).eval()
    preview = preview_logits(loaded, Edited(edit), IDS)
    torch.testing.assert_close(logits(model), preview, atol=1e-4, rtol=1e-4)
    assert_visible(loaded, preview)
    result = verify_export(loaded, edit, out)
    assert result.passed and result.logit_difference < 1e-4
    assert not verify_export(loaded, edits["baked"], out).passed


def test_the_preview_is_a_model_with_the_gate_in_its_weights(loaded, edits):
    for edit in edits.values():
        if loaded.spec.model_type == "zamba":
            break  # `merged` writes one matrix per site; the checkpoint above covers shared blocks
        expected = logits(merged(loaded, edit, torch.float32))
        torch.testing.assert_close(preview_logits(loaded, Edited(edit), IDS), expected, atol=1e-4, rtol=1e-4)


def test_a_recipe_gives_back_every_bit_the_gate_and_the_name_of_the_harmless_texts(loaded, edits, tmp_path):
    for name, edit in edits.items():
        reloaded = load_edit(save_edit(edit, tmp_path / f"{name}.safetensors"), base=loaded)
        for field in ("left", "right", "strength"):
            assert same_bits(getattr(edit, field), getattr(reloaded, field))
        assert vars(reloaded.settings.gate) == vars(edit.settings.gate)
        assert reloaded.settings.protect == edit.settings.protect
        assert reloaded.settings.family == edit.settings.family
        assert vars(reloaded.provenance) == vars(edit.provenance)
        assert reloaded.provenance.harmless == ("" if name == "baked" else TEXTS.harmless)
        again = save_edit(reloaded, tmp_path / "again.safetensors")
        assert again.read_bytes() == (tmp_path / f"{name}.safetensors").read_bytes()


# --- recipes of one small model


@pytest.fixture
def recipe(llama, tmp_path):
    return save_edit(chain(llama, GATED).edit, tmp_path / "edit.safetensors")


def description_of(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["steer2edit"])


def rewrite(path, **changes):
    save_file(load_file(path), path, {"steer2edit": json.dumps(description_of(path) | changes)})
    return path


def test_a_recipe_of_the_papers_edit_knows_nothing_of_gates_and_old_ones_load(llama, tmp_path):
    """The file is as before, to the byte: no key is new, neither in the settings nor in the provenance."""
    edit = chain(llama).edit
    path = save_edit(edit, tmp_path / "edit.safetensors")
    description = description_of(path)
    names = {"model_id", "revision", "fingerprint", "contrast_name", "contrast_hash"}
    assert not {"gate", "protect"} & set(description) and set(description["provenance"]) == names
    reloaded = load_edit(path, base=llama)
    assert reloaded.settings.gate is None and reloaded.settings.protect == 0 and reloaded.provenance.harmless == ""
    with_texts = extract(llama, EXAMPLES, texts=TEXTS)
    again = save_edit(build_edit(with_texts, edit.settings), tmp_path / "again.safetensors")
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"gate": {}},
        {"gate": 7},
        {"gate": []},
        {"gate": {"gamma": "much", "mu": 0.0, "size": None}},
        {"gate": {"gamma": -1.0, "mu": 0.0, "size": None}},
        {"gate": {"gamma": 1.0, "mu": float("nan"), "size": None}},
        {"gate": {"gamma": 1.0, "mu": 1.0, "size": 0}},
        {"gate": {"gamma": 1.0, "mu": 1.0, "size": float("inf")}},
        {"protect": "all"},
        {"protect": -2},
        {"protect": 1.5},
    ],
)
def test_a_damaged_gate_is_refused_with_the_usual_sentence(recipe, changes):
    load_edit(recipe)
    with pytest.raises(RecipeError, match=r"The recipe edit\.safetensors is damaged \(.*\); save the edit again"):
        load_edit(rewrite(recipe, **changes))


def test_a_recipe_whose_gate_was_taken_out_is_still_the_same_edit(llama, recipe):
    edit = load_edit(recipe)
    bare = load_edit(rewrite(recipe, gate=None), base=llama)
    assert same_bits(edit.right, bare.right) and bare.settings.gate is None


def test_an_export_has_the_recipe_of_the_gate_beside_it(llama, tmp_path):
    edit = chain(llama, GATED).edit
    inside = load_edit(export_checkpoint(llama, edit, tmp_path / "out") / RECIPE_FILE, base=llama)
    assert same_bits(edit.right, inside.right) and inside.provenance.harmless == TEXTS.harmless


def test_a_gate_survives_in_sixteen_bits_and_the_loss_is_measured(tmp_path):
    loaded = load_model(saved_folder(tmp_path / "m", "llama", dtype=torch.bfloat16), device="cpu")
    edit = chain(loaded, replace(GATED, gate=Gate(2.0, 2.0))).edit
    result = verify_export(loaded, edit, export_checkpoint(loaded, edit, tmp_path / "out"))
    assert result.passed and result.realised_median == pytest.approx(1.0, abs=0.05)
