"""Models of unusual layers, many without attention heads: what is told about them, and every way out of the program."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from s2e_core import (
    Edited,
    ExportError,
    Original,
    UnsupportedModelError,
    export_adapter,
    export_checkpoint,
    load_edit,
    load_model,
    save_edit,
)
from s2e_core.generation import BatchRow, answers, batching, preview_logits
from s2e_core.generation.cache import contains_all_states, new_cache, select_rows
from s2e_core.model import find_sites, verify_sites
from tests.core.by_hand import answer_by_hand
from tests.core.chain import chain
from tests.core.edits import IDS, logits, plain, random_edit, stored_tensors
from tests.families import HYBRIDS, SPECIAL, VOCABULARY, in_memory, saved_folder, tiny_model

PROMPTS = ((1, 40, 77, 12, 99), (1, 9, 8), (1, 50, 51, 52, 53, 54, 55))


@pytest.fixture(scope="module", params=HYBRIDS + SPECIAL)
def hybrid(request, tmp_path_factory):
    return load_model(saved_folder(tmp_path_factory.mktemp(request.param), request.param), device="cpu")


@pytest.mark.parametrize(
    ("model_type", "sentence"),
    [
        ("lfm2", r"No attention heads in layer 0: tokens are mixed by conv \(Lfm2ShortConv\), which is not edited"),
        ("qwen3_5", r"No attention heads in layers 0, 2: tokens are mixed by linear_attn \(Qwen3_5GatedDeltaNet\)"),
        ("recurrent_gemma", r"No attention heads in layers 0 to 1: .* temporal_block \(RecurrentGemmaRecurrentBlock\)"),
        ("falcon_h1", r"Besides the heads of layers 0 to 2, tokens are also mixed by mamba \(FalconH1Mixer\)"),
        ("mllama", r"Nothing to edit in layer 1: it only attends to images and does not run on text"),
    ],
)
def test_layers_without_heads_are_named_with_the_reason(model_type, sentence):
    (told,) = find_sites(tiny_model(model_type)).unreachable
    assert re.search(sentence, told)


def test_layers_of_a_single_branch_are_found_and_what_they_lack_is_told():
    blocks = ["mamba", "attention", "mlp"]
    model = tiny_model("nemotron_h", layers_block_type=blocks, mamba_num_heads=8, mamba_head_dim=16, ssm_state_size=16)
    spec = verify_sites(model, find_sites(model))
    assert [(site.layer, site.kind) for site in spec.sites] == [(1, "heads"), (2, "neurons")]
    assert spec.unreachable == (
        "No attention heads in layer 0: tokens are mixed by mixer (NemotronHMamba2Mixer), which is not edited.",
        "No MLP in layers 0 to 1.",
        "No attention in layer 2, only an MLP.",
    )


def test_stacks_that_take_turns_follow_each_other_on_the_heatmap_and_know_how_often_they_run():
    model = tiny_model("hrm_text")
    spec = verify_sites(model, find_sites(model))
    assert spec.n_layers == 6
    assert [site.runs for site in spec.sites] == [6] * 6 + [2] * 6
    assert spec.sites[6].name == "model.H_module.layers.0.self_attn.o_proj"
    with pytest.raises(UnsupportedModelError, match="ran 6 times in one forward pass; 9 expected"):
        verify_sites(model, replace(spec, sites=tuple(replace(site, runs=9) for site in spec.sites)))


def test_a_block_that_several_layers_share_is_edited_once_for_all_of_them(tmp_path):
    blocks = ["mamba", "hybrid", "hybrid", "mamba", "hybrid", "hybrid"]
    options = {"num_hidden_layers": 6, "layers_block_type": blocks, "layer_types": blocks, "num_mem_blocks": 2}
    folder = saved_folder(tmp_path / "m", "zamba2", **options)
    loaded = load_model(folder, device="cpu")
    shared = "model.layers.{}.shared_transformer.self_attn.o_proj"
    assert [site.places for site in loaded.spec.sites if site.kind == "heads"] == [
        (shared.format(1), shared.format(4)),
        (shared.format(2), shared.format(5)),
    ]
    assert {site.runs for site in loaded.spec.sites} == {2}
    assert loaded.spec.unreachable[:2] == (
        "Layer 1 shares its weights with layer 4: an edit of it changes all of them.",
        "Layer 2 shares its weights with layer 5: an edit of it changes all of them.",
    )
    edit = random_edit(loaded, sites=(0,))
    written = plain(export_checkpoint(loaded, edit, tmp_path / "out"))
    torch.testing.assert_close(logits(written), preview_logits(loaded, Edited(edit), IDS), atol=1e-4, rtol=1e-4)
    before, after = stored_tensors(folder), stored_tensors(tmp_path / "out")
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == [f"{shared.format(1)}.weight"]
    with pytest.raises(
        ExportError, match=r"PEFT .* cannot adapt .*o_proj, because later layers use the same weight.*checkpoint"
    ):
        export_adapter(loaded, edit, tmp_path / "adapter")


def test_the_rows_of_layers_without_heads_stay_on_the_heatmap_and_are_empty():
    scores = chain(in_memory(tiny_model("qwen3_5", vocab_size=VOCABULARY))).scores
    empty = scores.grid("heads").isnan().all(dim=1)
    assert empty.tolist() == [True, False, True]
    assert not scores.grid("neurons").isnan().any()


@pytest.mark.parametrize("model_type", ["mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm", "deepseek_v4"])
def test_models_that_have_no_heads_to_edit_are_refused_by_name(model_type):
    with pytest.raises(UnsupportedModelError, match=f"This {model_type} model cannot be edited: "):
        find_sites(tiny_model(model_type))


def test_a_model_of_states_alone_is_told_apart_from_one_without_an_mlp():
    for model_type, mixer in (("mamba2", r"mixer \(Mamba2Mixer\)"), ("xlstm", r"mlstm_layer \(xLSTMLayer\)")):
        with pytest.raises(UnsupportedModelError, match=f"none of its layers has attention heads; .* by {mixer}"):
            find_sites(tiny_model(model_type))


@torch.inference_mode()
def test_rows_that_leave_a_batch_do_not_shift_the_states_of_the_others(hybrid):
    ids = torch.tensor([[1, 40, 77, 12], [1, 9, 8, 7], [1, 50, 51, 52]])
    cache, rows = new_cache(hybrid.model), torch.tensor([0, 2])
    if cache is None:
        return
    hybrid.model(input_ids=ids, past_key_values=cache, use_cache=True)
    assert contains_all_states(cache) == (hybrid.spec.model_type != "recurrent_gemma")
    if not contains_all_states(cache):  # the states are in the modules: every part of an answer reads the text again
        return
    select_rows(cache, rows)
    positions = torch.full((2, 1), 4)
    after = hybrid.model(input_ids=ids[rows, :1], position_ids=positions, past_key_values=cache, use_cache=True)
    whole = hybrid.model(input_ids=torch.cat([ids, ids[:, :1]], dim=1)[rows], use_cache=False)
    torch.testing.assert_close(after.logits[:, -1], whole.logits[:, -1], atol=1e-4, rtol=1e-4)


def test_rows_of_several_lengths_and_variants_are_answered_as_alone(hybrid, monkeypatch):
    monkeypatch.setattr(batching, "PART_TOKENS", 3)
    made = chain(hybrid)
    variants = [Original(), Edited(made.edit)]
    rows = [BatchRow(variant, ids, 4) for ids in PROMPTS for variant in range(2)]
    written = answers(hybrid, variants, rows, max_new_tokens=10, temperature=0.0)
    if hybrid.spec.model_type == "xlm":  # writes into a mask token that its own loop appends
        alone = [answers(hybrid, variants, [row], max_new_tokens=10, temperature=0.0)[0] for row in rows]
    else:
        alone = [answer_by_hand(hybrid, variants[v], ids, 10, seed=s, temperature=0.0) for v, ids, s in rows]
    assert written == alone


def test_the_checkpoint_the_adapter_and_the_recipe_hold_the_previewed_edit(hybrid, tmp_path):
    edit = random_edit(hybrid)
    preview, original = (preview_logits(hybrid, variant, IDS) for variant in (Edited(edit), Original()))
    assert not torch.allclose(preview, original, atol=1e-2)
    written = plain(export_checkpoint(hybrid, edit, tmp_path / "checkpoint"))
    torch.testing.assert_close(logits(written), preview, atol=1e-4, rtol=1e-4)
    if not any(site.also_at for site in hybrid.spec.sites):  # PEFT would add what layers share several times
        base = AutoModelForCausalLM.from_pretrained(hybrid.source, dtype=torch.float32)
        adapted = PeftModel.from_pretrained(base, export_adapter(hybrid, edit, tmp_path / "adapter")).eval()
        torch.testing.assert_close(logits(adapted), preview, atol=1e-4, rtol=1e-4)
    again = load_edit(save_edit(edit, tmp_path / "recipe.safetensors"), base=hybrid)
    torch.testing.assert_close(preview_logits(hybrid, Edited(again), IDS), preview, atol=0, rtol=0)
