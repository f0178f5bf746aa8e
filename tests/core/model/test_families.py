"""Every causal-LM family of transformers: found, checked, scored and edited right, or refused with a sentence."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from s2e_core import (
    Component,
    Edited,
    EditSettings,
    Example,
    Extraction,
    ModelLoadError,
    Selection,
    UnsupportedModelError,
    build_edit,
    capture_means,
    load_model,
)
from s2e_core.data import contrast_set
from s2e_core.generation import preview_logits
from s2e_core.model import LoadedModel, find_sites, verify_sites
from s2e_core.model.sites import UNSUPPORTED_TYPES
from tests.core.agreement import assert_plain_loops_agree, chain_of
from tests.families import (
    EXPERTS,
    HYBRIDS,
    NOT_BUILT,
    OTHERS,
    SIMPLE,
    SPECIAL,
    VOCABULARY,
    in_memory,
    saved_folder,
    tiny_model,
)

AHEAD = {"cpmant": {}, "xlm": {"causal": False}, "bert": {"is_decoder": False}, "roberta": {"is_decoder": False}}
"""Families, or settings of them, that read a text in both directions."""
SUPPORTED = (*(model_type for model_type in SIMPLE if AHEAD.get(model_type) != {}), *HYBRIDS, *SPECIAL)
N_LAYERS, N_HEADS = 3, 4
HEADS_IN = {
    "bamba": (1,),
    "lfm2": (1, 2),
    "lfm3": (2,),
    "mllama_text_model": (0, 2),
    "olmo_hybrid": (2,),
    "qwen3_5": (1,),
    "qwen3_5_text": (1,),
    "recurrent_gemma": (2,),
    "zamba": (1,),
    "zamba2": (1,),
}
"""Layers with attention heads, where not all have them."""
NEURONS_IN = {"mllama_text_model": (0, 2), "zamba": (1,), "zamba2": (1,)}
NEURONS = {
    **{"bloom": 256, "gpt_neox_japanese": 256, "moshi": 48, "mpt": 256, "openai-gpt": 256},
    **{"lfm2": 256, "recurrent_gemma": 48, "xlm": 256},
}
"""MLP width where the family derives it from the hidden size; else it is the 96 that the configuration asks for."""
POST_NORM = {
    *("exaone4", "gemma2", "gemma3", "gemma3_text", "gemma3n_text", "gemma4", "gemma4_text", "gemma4_unified"),
    *("gemma4_unified_text", "glm4", "hyperclovax", "lfm3", "olmo2", "olmo3"),
}
OTHER_REASONS = (
    "none of its layers has attention heads",
    "has no MLP down projection",
    "has no attention output projection",
    "several stacks of the same layers",
    "over bytes",
    "audio codec",
    "changes with the number of tokens",
    "reads ahead",
)
IDS = torch.arange(3, 13).reshape(1, 10)
POSITIVE = (Example("How are you?", "Great, thanks!"), Example("And you over there", "Fine"))
NEGATIVE = (Example("How are you?", "Bad."), Example("Hi", "Awful, oh dear, oh no"), Example("So", "No"))
CONTRAST = contrast_set(POSITIVE, NEGATIVE, name="mood")
SETTINGS = EditSettings(rho_attn=0.2, rho_mlp=0.3, alpha=0.4)


@pytest.fixture(scope="module", params=SUPPORTED)
def loaded(request: pytest.FixtureRequest) -> Iterator[LoadedModel]:
    yield in_memory(tiny_model(request.param, vocab_size=VOCABULARY))


@pytest.fixture(scope="module")
def chain(loaded: LoadedModel) -> Extraction:
    return chain_of(loaded, CONTRAST)


@pytest.fixture
def recorded_heads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(heads, head size) of every attention call that goes through transformers' common interface, in order."""
    seen: list[tuple[int, int]] = []
    original = AttentionInterface.get_interface

    def recording(self: AttentionInterface, *args: object, **kwargs: object) -> object:
        attend = original(self, *args, **kwargs)

        def wrapped(*inputs: object, **options: object) -> tuple[Tensor, object]:
            output, weights = attend(*inputs, **options)
            seen.append(tuple(output.shape[-2:]))
            return output, weights

        return wrapped

    monkeypatch.setattr(AttentionInterface, "get_interface", recording)
    return seen


def test_every_family_of_transformers_is_accounted_for():
    assert sorted((*SIMPLE, *HYBRIDS, *SPECIAL, *EXPERTS, *OTHERS, *NOT_BUILT)) == sorted(
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )


def test_every_head_and_every_neuron_of_every_layer_is_found(loaded, recorded_heads):
    spec, family = loaded.spec, loaded.model.config.model_type
    n_layers = 6 if family in ("reformer", "hrm_text") else N_LAYERS
    assert [(site.layer, site.kind) for site in spec.sites] == [
        (layer, kind)
        for layer in range(n_layers)
        for kind, table in (("heads", HEADS_IN), ("neurons", NEURONS_IN))
        if layer in table.get(family, range(n_layers))
    ]
    assert {spec.sites[i].n_components for i in spec.of_kind("heads")} == {N_HEADS}
    assert {spec.sites[i].n_components for i in spec.of_kind("neurons")} == {NEURONS.get(family, 96)}
    assert {spec.sites[i].width for i in spec.of_kind("neurons")} == {1}
    with torch.no_grad():
        loaded.model(input_ids=IDS)
    if recorded_heads:
        calls = 2 if family == "diffllama" else 1  # the difference of two attentions
        sites = [spec.sites[i] for i in spec.of_kind("heads")]
        expected = [(site.n_components, site.width) for site in sites for _ in range(calls * site.runs)]
        assert recorded_heads == expected


def test_norms_behind_the_projections_are_detected(loaded):
    family = loaded.model.config.model_type
    partly = family in ("olmo_hybrid", "zamba", "zamba2")  # in layers with heads, or behind heads, alone
    expected = {False, True} if partly else {family in POST_NORM}
    assert {site.post_norm for site in loaded.spec.sites} == expected


def test_scores_and_edit_equal_the_plain_loops(loaded, chain):
    assert_plain_loops_agree(loaded, CONTRAST, chain, SETTINGS)


@pytest.mark.parametrize("kind", ["heads", "neurons"])
def test_one_component_edited_in_the_weights_is_the_previewed_edit_and_moves_the_logits(loaded, chain, kind):
    site = loaded.spec.of_kind(kind)[:2][-1]
    component = Component(site, 2)
    chosen = Selection(only=frozenset({component}), included=frozenset({component}))
    edit = build_edit(chain, EditSettings(0.1, 0.1, 0.4, selection=chosen))
    assert edit.edited_sites() == (site,)
    assert edit.count(kind) == 1
    model = copy.deepcopy(loaded.model)
    where = loaded.spec.sites[site]
    weight = model.get_submodule(where.name).weight.data
    columns = slice(2 * where.width, 3 * where.width)
    block = (weight.T if where.transposed else weight)[:, columns]
    block += torch.outer(edit.left[site], edit.right[site][columns])
    with torch.no_grad():
        written, untouched = model(input_ids=IDS).logits, loaded.model(input_ids=IDS).logits
    assert (written - untouched).abs().max() > 1e-4
    torch.testing.assert_close(preview_logits(loaded, Edited(edit), IDS), written, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model_type", OTHERS)
def test_families_with_other_mixers_or_several_stacks_are_refused_with_the_reason(model_type):
    with pytest.raises(UnsupportedModelError, match="cannot be edited") as refusal:
        find_sites(tiny_model(model_type))
    assert any(reason in str(refusal.value) for reason in OTHER_REASONS), refusal.value


@pytest.mark.parametrize("model_type", sorted(UNSUPPORTED_TYPES.keys() & MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys()))
def test_types_for_which_no_rule_helps_are_refused_before_their_weights_are_read(model_type, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    (tmp_path / "model.safetensors").write_bytes(b"not to be read")
    with pytest.raises(UnsupportedModelError, match=f"This {model_type} model cannot be edited: "):
        load_model(tmp_path)


def test_weights_that_transformers_looks_for_under_other_names_are_refused(tmp_path):
    with pytest.raises(ModelLoadError, match="lacks the weights lm_head.weight, .* under other names"):
        load_model(saved_folder(tmp_path, "emu3"), device="cpu")


@pytest.mark.parametrize("model_type", AHEAD)
def test_models_that_read_a_text_in_both_directions_are_refused_by_the_check(model_type):
    model = tiny_model(model_type, **AHEAD[model_type])
    with pytest.raises(UnsupportedModelError, match="reads ahead: .* no position of a text predicts the next token"):
        verify_sites(model, find_sites(model))


def test_examples_that_a_family_fills_up_to_whole_blocks_are_refused_not_averaged_askew():
    loaded = in_memory(tiny_model("reformer", vocab_size=VOCABULARY))
    with pytest.raises(UnsupportedModelError, match="Use shorter examples"):
        capture_means(loaded, contrast_set([Example("How are you? " * 8, "Great"), *POSITIVE], NEGATIVE, name="mood"))
