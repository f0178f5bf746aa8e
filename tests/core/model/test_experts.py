"""Fused experts of every family: each neuron of each expert found, captured, scored, edited and previewed right."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from s2e_core import (
    Component,
    Edited,
    EditSettings,
    Example,
    Extraction,
    Original,
    Selection,
    Steered,
    SteeringDirections,
    UnsupportedModelError,
    build_edit,
    capture_means,
    component_scores,
    steering_directions,
)
from s2e_core.data import contrast_set
from s2e_core.generation import BatchRow, answers, apply_variants, preview_logits
from s2e_core.method import reliability
from s2e_core.model import LoadedModel, find_sites, verify_sites
from s2e_core.spec import KINDS
from tests.core.agreement import assert_plain_loops_agree, chain_of
from tests.core.by_hand import answer_by_hand
from tests.core.edits import random_edit
from tests.families import EXPERTS, VOCABULARY, in_memory, saved, tiny_model
from tests.plain_weights import add_to_weight

IDS = torch.arange(3, 13).reshape(1, 10)
POSITIVE = (Example("How are you?", "Great, thanks!"), Example("And you over there", "Fine"))
NEGATIVE = (Example("How are you?", "Bad."), Example("So", "Awful, oh dear"))
CONTRAST = contrast_set(POSITIVE, NEGATIVE, name="mood")
SETTINGS = EditSettings(rho_attn=0.2, rho_mlp=0.3, alpha=0.4)
WAYS = ("mixtral", "gpt_oss", "llama4_text", "longcat_flash", "inkling_text", "dbrx", "jetmoe", "qwen3_5_moe_text")
"""One family of every way in which experts are called, and a hybrid."""
WITH_STATES = ("bailing_hybrid", "granitemoehybrid", "jamba", "kimi_linear", "lfm2_moe", "minimax", "nemotron_h")
"""Hybrids with experts that sum up the text in states."""
MORE = {"gpt_oss", "longcat_flash"}
"""Families whose experts write more than their neurons do: biases, and tokens that are handed on as they are."""
POST_NORM = {
    **dict.fromkeys(("afmoe", "beam", "flex_olmo", "kolibri1"), {"heads": {True}, "neurons": {True}}),
    "axk1": {
        "heads": {False},
        "neurons": {False, True},
    },  # behind experts with their shared ones, not behind a dense MLP
}
"""Families with a norm between what is written and the residual addition."""


@pytest.fixture(scope="module", params=EXPERTS)
def loaded(request: pytest.FixtureRequest) -> Iterator[LoadedModel]:
    yield in_memory(tiny_model(request.param, vocab_size=VOCABULARY))


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[LoadedModel]:
    yield in_memory(tiny_model(request.param, vocab_size=VOCABULARY))


@pytest.fixture(scope="module")
def chain(loaded: LoadedModel) -> Extraction:
    return chain_of(loaded, CONTRAST)


def test_every_neuron_of_every_expert_is_a_component_beside_the_dense_and_the_shared_mlps(loaded):
    spec = loaded.spec
    stacks = [site for site in spec.sites if site.experts]
    assert stacks
    for site in stacks:
        held = loaded.model.get_submodule(site.name).get_parameter(site.parameter)
        assert site.n_inputs * spec.d_model == held.numel()
        assert site.n_components % site.experts == 0
    assert {site.has_extra_output for site in stacks} == {loaded.model.config.model_type in MORE}
    found = {f"{site.name}.{site.parameter}" for site in spec.sites}
    names = [name for name, _ in loaded.model.named_parameters() if name.endswith(("down_proj", "down_proj.weight"))]
    assert {name for name in names if ".gate." not in name} <= found  # a router may have a down projection of its own


def test_norms_behind_experts_and_behind_what_is_added_to_them_are_detected(loaded):
    spec = loaded.spec
    found = {kind: {spec.sites[i].post_norm for i in spec.of_kind(kind)} for kind in KINDS}
    none = {"heads": {False}, "neurons": {False}}
    assert found == POST_NORM.get(loaded.model.config.model_type, none)


def test_norms_behind_experts_that_run_beside_a_dense_mlp_are_detected():
    options = {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 32}
    spec = in_memory(tiny_model("gemma4_text", **options)).spec
    assert any(site.experts for site in spec.sites)
    assert all(site.post_norm for site in spec.sites)


def test_norms_behind_experts_are_detected_in_half_precision_too(tmp_path):
    for model_type in ("afmoe", "mixtral"):
        model = saved(tiny_model(model_type), tmp_path / model_type, torch.bfloat16)
        assert {site.post_norm for site in verify_sites(model, find_sites(model)).sites} == {model_type == "afmoe"}


def test_scores_and_edit_equal_the_plain_loops(loaded, chain):
    assert_plain_loops_agree(loaded, CONTRAST, chain, SETTINGS)


def test_one_component_of_one_expert_edited_in_the_weights_is_the_previewed_edit_and_moves_the_logits(loaded, chain):
    scores = chain.scores
    for site in [i for i, site in enumerate(loaded.spec.sites) if site.experts][-2:]:
        component = Component(site, int(scores.contributions[site].abs().argmax()))
        chosen = Selection(only=frozenset({component}), included=frozenset({component}))
        edit = build_edit(chain, EditSettings(0.02, 0.02, 0.4, selection=chosen))
        assert (edit.edited_sites(), edit.count("heads") + edit.count("neurons")) == ((site,), 1)
        model = copy.deepcopy(loaded.model)
        add_to_weight(model, loaded.spec.sites[site], edit.left[site], edit.right[site])
        ids = torch.tensor([loaded.tokenizer("How are you? Great, thanks!")["input_ids"]])
        with torch.no_grad():
            written, untouched = model(input_ids=ids).logits, loaded.model(input_ids=ids).logits
        assert (written - untouched).abs().max() > 1e-4
        torch.testing.assert_close(preview_logits(loaded, Edited(edit), ids), written, rtol=1e-4, atol=1e-4)


def test_an_edit_of_everything_in_a_mixed_batch_is_the_edit_in_the_weights(loaded, chain):
    edit = random_edit(loaded)
    model = copy.deepcopy(loaded.model)
    for i in edit.edited_sites():
        add_to_weight(model, edit.spec.sites[i], edit.left[i], edit.right[i])
    variants, rows = [Original(), Edited(edit), Steered(chain.directions, 0.7)], [0, 1, 2]
    with loaded.lock, torch.inference_mode(), apply_variants(loaded, variants, rows):
        together = loaded.model(input_ids=IDS.expand(3, -1)).logits
    with torch.no_grad():
        alone = [loaded.model(input_ids=IDS).logits[0], model(input_ids=IDS).logits[0]]
    alone.append(preview_logits(loaded, variants[2], IDS)[0])
    for row, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-2
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())


def test_steering_adds_the_raw_direction_once_to_what_the_experts_write(way):
    last = max(i for i, site in enumerate(way.spec.sites) if site.experts)
    directions = steering_directions(way, capture_means(way, CONTRAST))
    norm = torch.zeros_like(directions.norm)
    norm[last] = directions.norm[last]
    steered = Steered(SteeringDirections(way.spec, directions.unit, norm, directions.provenance), 0.5)
    name = way.spec.sites[last].name
    block = name.rpartition(".")[0] if way.model.config.model_type in ("llama4_text", "jetmoe") else name
    written: list[Tensor] = []
    for variant in (Original(), steered):
        with way.lock, torch.inference_mode(), apply_variants(way, [variant], [0]):
            handle = way.model.get_submodule(block).register_forward_hook(
                lambda module, inputs, y: written.append((y[0] if isinstance(y, tuple) else y).reshape(10, -1))
            )
            way.model(input_ids=IDS)
            handle.remove()
    expected = 0.5 * directions.norm[last] * directions.unit[last]
    torch.testing.assert_close(written[1] - written[0], expected.expand(10, -1), rtol=1e-4, atol=1e-4)


def test_an_original_row_keeps_every_bit_of_what_the_edited_experts_write_beside_it(way):
    last = max(i for i, site in enumerate(way.spec.sites) if site.experts)
    edit = random_edit(way, sites=(last,))
    with way.lock, torch.inference_mode():
        plain = way.model(input_ids=IDS.expand(2, -1)).logits
        with apply_variants(way, [Original(), Edited(edit)], [0, 1]):
            beside = way.model(input_ids=IDS.expand(2, -1)).logits
    assert torch.equal(beside[0], plain[0])
    assert not torch.equal(beside[1], plain[1])


@pytest.mark.parametrize("model_type", WAYS + WITH_STATES)
def test_prompts_of_several_lengths_are_answered_in_one_batch_as_alone(model_type, monkeypatch):
    monkeypatch.setattr("s2e_core.generation.batching.PART_TOKENS", 3)
    loaded = in_memory(tiny_model(model_type, vocab_size=VOCABULARY))
    variants = [Original(), Edited(random_edit(loaded))]
    rows = [
        BatchRow(v, ids, 4) for ids in ((1, 40, 77, 12, 99), (1, 9, 8), (1, 50, 51, 52, 53, 54, 55)) for v in (0, 1)
    ]
    written = answers(loaded, variants, rows, max_new_tokens=6, temperature=0.0)
    assert written == [answer_by_hand(loaded, variants[v], ids, 6, seed=seed, temperature=0.0) for v, ids, seed in rows]
    assert len({tuple(row) for row in written}) > 1


def test_a_shared_mlp_of_another_name_beside_the_experts_is_found():
    spec = in_memory(tiny_model("granitemoeshared", shared_intermediate_size=48)).spec
    assert [(s.name.rpartition(".layers.0.")[2], s.n_components) for s in spec.sites if s.layer == 0] == [
        ("self_attn.o_proj", 4),
        ("shared_mlp.output_linear", 48),
        ("block_sparse_moe.experts", 384),
    ]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_experts_in_half_precision_pass_the_check_and_are_previewed_as_edited_weights_do(dtype, tmp_path):
    loaded = in_memory(saved(tiny_model("mixtral", vocab_size=VOCABULARY), tmp_path, dtype))
    edit = random_edit(loaded, sites=(max(i for i, site in enumerate(loaded.spec.sites) if site.experts),))
    model = copy.deepcopy(loaded.model)
    for i in edit.edited_sites():
        add_to_weight(model, edit.spec.sites[i], edit.left[i], edit.right[i])
    with torch.no_grad():
        written, untouched = model(input_ids=IDS).logits.float(), loaded.model(input_ids=IDS).logits.float()
    error = (preview_logits(loaded, Edited(edit), IDS) - written).abs().max()
    assert error < 0.1 * (written - untouched).abs().max()


def test_means_do_not_depend_on_the_batch(way, monkeypatch):
    together = capture_means(way, CONTRAST)
    monkeypatch.setattr("s2e_core.method.capture.MAX_BATCH_TOKENS", 1)
    alone = capture_means(way, CONTRAST)
    for a, b in ((together.positive, alone.positive), (together.more.values(), alone.more.values())):
        torch.testing.assert_close(list(a), list(b), rtol=1e-4, atol=1e-5)


def test_the_reliability_of_the_data_is_told_by_the_same_directions_and_scores(way):
    means = capture_means(way, CONTRAST)
    expected = component_scores(way, means, steering_directions(way, means)).g
    found = reliability(way, CONTRAST, resamples=2)
    torch.testing.assert_close(list(found.g), list(expected), rtol=0, atol=1e-4)
    assert found.accuracy.isfinite().all()


def test_an_edit_is_the_same_whatever_transformers_computes_experts_with():
    logits = []
    for implementation in ("eager", "grouped_mm", "batched_mm"):
        model = tiny_model("mixtral", vocab_size=VOCABULARY)
        model.set_experts_implementation(implementation)
        loaded = in_memory(model)
        logits.append(preview_logits(loaded, Edited(random_edit(loaded)), IDS))
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], rtol=1e-4, atol=1e-4)


def test_experts_that_end_in_a_norm_or_are_spread_over_devices_are_refused():
    for flag, reason in (("has_post_expert_norm", "end in a norm"), ("_is_expert_parallel", "several devices")):
        model = tiny_model("mixtral")
        setattr(model.model.layers[1].mlp.experts, flag, True)
        with pytest.raises(UnsupportedModelError, match=f"experts of layer 1 .mlp.experts. .*{reason}"):
            find_sites(model)


def test_experts_of_an_unknown_form_are_refused_and_named():
    class Foreign(torch.nn.Module):
        """Experts with other names and other arguments."""

        def __init__(self) -> None:
            super().__init__()
            self.down_proj = torch.nn.Parameter(torch.zeros(4, 64, 96))

        def forward(self, tokens: Tensor) -> Tensor:
            return tokens

    model = tiny_model("mixtral")
    model.model.layers[2].mlp.experts = Foreign()
    with pytest.raises(UnsupportedModelError, match="experts of layer 2 .mlp.experts. are called in an unknown way"):
        find_sites(model)
    model.model.layers[2].mlp.experts = torch.nn.ModuleList([torch.nn.Linear(64, 64)])
    with pytest.raises(UnsupportedModelError, match="layer 2 is a mixture of experts of an unknown form"):
        find_sites(model)


def test_experts_that_write_something_else_than_their_neurons_fail_the_check():
    model = tiny_model("mixtral")
    model.model.layers[1].mlp.experts.register_forward_hook(lambda module, inputs, output: 1.01 * output)
    with pytest.raises(UnsupportedModelError, match="layers.1.mlp.experts does not output its weight times its input"):
        verify_sites(model, find_sites(model))
