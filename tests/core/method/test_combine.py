"""Several edits as one: the sum of their changes, in the preview, the recipe, the weights and every adapter."""

import re
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from s2e_core import (
    Edited,
    ExportError,
    RecipeError,
    SettingsError,
    export_adapter,
    export_checkpoint,
    import_file,
    load_edit,
    load_model,
    save_edit,
    verify_export,
)
from s2e_core.cli import main
from s2e_core.export import export_gguf_lora, export_mlx, rank_of, site_factors
from s2e_core.generation import preview_logits
from s2e_core.method import combine
from tests.core.edits import IDS, random_edit
from tests.families import saved_folder


def other_edit(loaded):
    """Other directions, and other components than those of `random_edit` at half the sites."""
    edit = random_edit(loaded, 0.3)
    return replace(
        edit,
        left=tuple(left.roll(1) for left in edit.left),
        right=tuple(right.roll(i % 2) for i, right in enumerate(edit.right)),
        provenance=replace(edit.provenance, contrast_name="another"),
    )


def change(edits, factors, i):
    return sum(f * torch.outer(edit.left[i], edit.right[i]) for edit, f in zip(edits, factors, strict=True))


@pytest.fixture(scope="module", params=["llama", "gpt2", "mixtral", "gpt_oss"])
def loaded(request, tmp_path_factory):
    return load_model(saved_folder(tmp_path_factory.mktemp(request.param), request.param), device="cpu")


@torch.inference_mode()
def logits(model):
    return model(input_ids=IDS, use_cache=False).logits


def test_the_factors_are_the_sum_of_the_changes(llama):
    edits = random_edit(llama), other_edit(llama)
    both = combine(edits, (1, 0.5))
    assert rank_of(both) == 2 and not both.is_empty and both.also[0].settings.strength == 0.5
    for i in range(len(llama.spec.sites)):
        factors = site_factors(both, i)
        torch.testing.assert_close(factors.left @ factors.right, change(edits, (1, 0.5), i))


def test_edits_of_the_same_directions_need_one_column(llama):
    edit = random_edit(llama)
    twice = combine((edit, edit), (0.5, 0.25))
    assert len(twice.parts) == 2 and rank_of(twice) == 1
    assert torch.allclose(site_factors(twice, 1).right[0], 0.75 * edit.right[1])


def test_a_component_that_both_change_counts_once(llama):
    edits = random_edit(llama, sites=(0, 1)), random_edit(llama, sites=(1, 2))
    both = combine(edits)
    assert both.edited_sites() == (0, 1, 2)
    assert both.count("neurons") == edits[0].count("neurons") == edits[1].count("neurons")


def test_checkpoint_and_adapter_compute_the_preview_of_both(loaded, tmp_path):
    edits = random_edit(loaded), other_edit(loaded)
    both = combine(edits, (1, 0.5))
    half = combine(edits[1:], (0.5,))
    expected = preview_logits(loaded, Edited(edits[0], (half,)), IDS)
    torch.testing.assert_close(preview_logits(loaded, Edited(both), IDS), expected)
    assert not torch.allclose(preview_logits(loaded, Edited(edits[0]), IDS), expected, atol=1e-2)
    folder = export_checkpoint(loaded, both, tmp_path / "checkpoint", dtype="float32")
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(folder)), expected, atol=1e-4, rtol=0)
    adapter = export_adapter(loaded, both, tmp_path / "adapter")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(loaded.source), adapter).eval()
    torch.testing.assert_close(logits(model), expected, atol=1e-4, rtol=0)
    for written in (folder, adapter):
        result = verify_export(loaded, both, written)
        assert result.passed and result.realised_min == pytest.approx(1, abs=1e-3)
    assert "rank-2 weight edit towards 2 steering directions" in (adapter / "README.md").read_text()


def test_what_other_programs_run_has_rank_2_too(llama, tmp_path):
    both = combine((random_edit(llama), other_edit(llama)))
    for export in (export_gguf_lora, export_mlx):
        assert verify_export(llama, both, export(llama, both, tmp_path / export.__name__)).passed
    with pytest.raises(ExportError, match="does not describe this edit"):
        verify_export(llama, random_edit(llama), tmp_path / "export_mlx")


def test_the_recipe_holds_both_and_says_so_to_older_readers(llama, tmp_path):
    both = combine((random_edit(llama), other_edit(llama)), (1, 0.5))
    path = save_edit(both, tmp_path / "both.safetensors")
    again = load_edit(path, base=llama)
    assert [part.provenance.contrast_name for part in again.parts] == ["mood | test", "another"]
    for one, two in zip(again.parts, both.parts, strict=True):
        assert all(map(torch.equal, one.right + one.left + one.strength, two.right + two.left + two.strength))
    assert save_edit(again, tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert b'"version": 2' in path.read_bytes() or b'\\"version\\": 2' in path.read_bytes()
    imported = import_file(path, llama)
    assert imported.edit is not None and len(imported.edit.parts) == 2
    assert re.search("made from mood | test, on top of a finished edit of .* made from another.$", imported.sentence())
    stranger = replace(llama, fingerprint="0" * 64)
    with pytest.raises(RecipeError, match="was made for"):
        load_edit(path, base=stranger)


@pytest.mark.parametrize(("strengths", "said"), [((1,), "need as many"), ((1, 0), "positive"), ((1, -1), "positive")])
def test_strengths_that_are_none_are_refused(llama, strengths, said):
    with pytest.raises(SettingsError, match=said):
        combine((random_edit(llama), other_edit(llama)), strengths)


def test_edits_of_two_models_are_refused_with_both_names(llama, gpt2):
    with pytest.raises(SettingsError, match="different models"):
        combine((random_edit(llama), random_edit(gpt2)))


def test_the_command_combines_recipes(llama, tmp_path, capsys):
    paths = [
        str(save_edit(edit, tmp_path / f"{n}.safetensors"))
        for n, edit in enumerate((random_edit(llama), other_edit(llama)))
    ]
    out = str(tmp_path / "both.safetensors")
    assert main(["combine", *paths, "--strengths", "1", "0.5", "-o", out]) == 0
    assert capsys.readouterr().out.startswith("2 edits as one, rank 2, ")
    edits = random_edit(llama), other_edit(llama)
    factors = site_factors(load_edit(out, base=llama), 3)
    torch.testing.assert_close(factors.left @ factors.right, change(edits, (1, 0.5), 3))
    assert main(["combine", *paths, "--strengths", "1", "-o", out]) == 2
    assert "2 edits need as many strengths, and 1 were given" in capsys.readouterr().err
