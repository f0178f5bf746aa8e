"""Rows of one batch as variants of one model: equal to separately edited models, and the model untouched."""

import copy
from dataclasses import replace

import pytest
import torch

from s2e_core import Edited, EditSettings, Original, S2EError, Steered, build_edit, edited_weight, extract
from s2e_core.generation import apply_variants, preview_logits
from s2e_core.method import fit_gate
from s2e_core.settings import Gate
from tests.core.chain import EXAMPLES, GATED, TEXTS, chain
from tests.core.edits import random_edit
from tests.families import VOCABULARY, in_memory, tiny_model
from tests.plain_weights import add_to_weight

IDS = torch.arange(3, 15).reshape(1, 12)


def written_into_a_copy(loaded, edit):
    """The edit added to the weights of a copy of the model."""
    model = copy.deepcopy(loaded.model)
    for i, site in enumerate(edit.spec.sites):
        weight = model.get_submodule(site.name).weight
        oriented = weight.T if site.transposed else weight
        new = edited_weight(oriented, edit.left[i], edit.right[i])
        weight.data.copy_(new.T if site.transposed else new)
    return model


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_an_edited_row_equals_a_model_with_edited_weights_and_differs_from_the_original(family, request):
    loaded = request.getfixturevalue(family)
    edit = chain(loaded).edit
    with torch.no_grad():
        expected = written_into_a_copy(loaded, edit)(input_ids=IDS).logits
        untouched = loaded.model(input_ids=IDS).logits
    torch.testing.assert_close(preview_logits(loaded, Edited(edit), IDS), expected, rtol=1e-4, atol=1e-4)
    assert (expected - untouched).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_every_row_of_a_mixed_batch_is_what_it_is_alone(family, request):
    loaded = request.getfixturevalue(family)
    made = chain(loaded)
    variants = [Original(), Edited(made.edit), Steered(made.directions, 0.7)]
    rows = [0, 1, 2, 1]
    with loaded.lock, torch.inference_mode(), apply_variants(loaded, variants, rows):
        together = loaded.model(input_ids=IDS.expand(4, -1)).logits
    for row, variant in zip(together, rows, strict=True):
        alone = preview_logits(loaded, variants[variant], IDS)[0]
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_edits_on_top_of_each_other_are_both_in_the_weights(family):
    """Two directions: no single rank-1 edit is their sum."""
    loaded = in_memory(tiny_model(family, vocab_size=VOCABULARY))
    first, second = random_edit(loaded), random_edit(loaded, 0.3)
    both = Edited(first, (replace(second, left=tuple(u.roll(1) for u in second.left)),))
    model = copy.deepcopy(loaded.model)
    for edit in (first, *both.also):
        for i, site in enumerate(loaded.spec.sites):
            add_to_weight(model, site, edit.left[i], edit.right[i])
    with torch.no_grad():
        expected = model(input_ids=IDS).logits
    torch.testing.assert_close(preview_logits(loaded, both, IDS), expected, rtol=1e-4, atol=1e-4)
    alone = preview_logits(loaded, Edited(first), IDS)
    assert (expected - alone).abs().max() > 1e-2
    with loaded.lock, torch.inference_mode(), apply_variants(loaded, [Edited(first), both, Original()], [0, 1, 2]):
        mixed = loaded.model(input_ids=IDS.expand(3, -1)).logits
    torch.testing.assert_close(mixed[0], alone[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mixed[1], expected[0], rtol=1e-4, atol=1e-4)


def test_the_original_variant_is_the_model_bit_by_bit(llama):
    with torch.no_grad():
        expected = llama.model(input_ids=IDS).logits
    assert torch.equal(preview_logits(llama, Original(), IDS), expected)


def test_steering_adds_gamma_times_the_raw_direction_to_every_projection(llama):
    directions = chain(llama).directions
    first = llama.model.get_submodule(llama.spec.sites[0].name)
    x = torch.randn(1, 4, llama.spec.sites[0].n_inputs)
    with torch.inference_mode(), apply_variants(llama, [Steered(directions, 0.5)], [0]):
        shifted = first(x)
    expected = first(x) + 0.5 * directions.norm[0] * directions.unit[0]
    torch.testing.assert_close(shifted, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_a_gate_adds_gamma_v_times_c_x_to_every_projection(family, request):
    loaded = request.getfixturevalue(family)
    extraction = extract(loaded, EXAMPLES, texts=TEXTS)
    gate, inputs = Gate(0.8, mu=1.7), extraction.token_inputs
    edit = build_edit(extraction, EditSettings(None, None, 0.5, gate=gate))
    for i in (0, 1, -2, -1):
        site, module = loaded.spec.sites[i], loaded.model.get_submodule(loaded.spec.sites[i].name)
        x = torch.randn(1, 4, site.n_inputs, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode(), apply_variants(loaded, [Edited(edit)], [0]):
            found = module(x)
        c = fit_gate(inputs.on[i], inputs.off[i], gate.mu)
        u, norm = extraction.directions.unit[i], extraction.directions.norm[i]
        with torch.no_grad():
            untouched = module(x)
        pairs = zip(untouched[0], x[0], strict=True)
        expected = torch.stack([y + gate.gamma * norm * (c @ row) * u for y, row in pairs])
        torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)
        assert (expected - untouched[0]).abs().max() > 1e-4


@pytest.mark.parametrize("family", ["mixtral", "gpt_oss", "llama4_text", "gemma2", "hrm_text"])
def test_a_gate_is_the_same_in_the_weights_of_experts_and_of_blocks_that_run_again(family):
    loaded = in_memory(tiny_model(family, vocab_size=VOCABULARY))
    edit = chain(loaded, GATED).edit
    model = copy.deepcopy(loaded.model)
    with torch.no_grad():
        untouched = model(input_ids=IDS, use_cache=False).logits
        for site, left, right in zip(loaded.spec.sites, edit.left, edit.right, strict=True):
            add_to_weight(model, site, left, right)
        expected = model(input_ids=IDS, use_cache=False).logits
    torch.testing.assert_close(preview_logits(loaded, Edited(edit), IDS), expected, rtol=1e-4, atol=1e-4)
    assert (expected - untouched).abs().max() > 1e-2


def test_baked_steering_of_every_component_is_steering_on_the_texts_it_was_fitted_on(llama):
    """Nearly: as far as the inputs of one layer contain a constant."""
    extraction = extract(llama, EXAMPLES, texts=TEXTS)
    edit = build_edit(extraction, EditSettings(None, None, 0.5, gate=Gate(0.8)))
    for i, rows in enumerate(extraction.token_inputs.on):
        pushed = torch.outer(rows.float() @ edit.right[i], edit.left[i]).mean(dim=0)
        steered = 0.8 * extraction.directions.norm[i] * extraction.directions.unit[i]
        assert torch.dist(pushed, steered) < 0.3 * steered.norm()


def test_hooks_are_gone_after_an_exception(llama):
    with pytest.raises(RuntimeError, match="inside"), apply_variants(llama, [Edited(chain(llama).edit)], [0]):
        raise RuntimeError("inside")
    assert not any(module._forward_hooks for module in llama.model.modules())


def test_an_edit_made_for_another_model_is_refused(llama, gpt2):
    with pytest.raises(S2EError, match="gpt2"), apply_variants(llama, [Edited(chain(gpt2).edit)], [0]):
        pass
    assert not any(module._forward_hooks for module in llama.model.modules())
