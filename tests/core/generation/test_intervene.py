"""Rows of one batch as variants of one model: equal to separately edited models, and the model untouched."""

import copy

import pytest
import torch

from s2e_core import Edited, Original, S2EError, Steered, edited_weight
from s2e_core.generation import apply_variants, preview_logits
from tests.core.chain import chain

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


def test_hooks_are_gone_after_an_exception(llama):
    with pytest.raises(RuntimeError, match="inside"), apply_variants(llama, [Edited(chain(llama).edit)], [0]):
        raise RuntimeError("inside")
    assert not any(module._forward_hooks for module in llama.model.modules())


def test_an_edit_made_for_another_model_is_refused(llama, gpt2):
    with pytest.raises(S2EError, match="gpt2"), apply_variants(llama, [Edited(chain(gpt2).edit)], [0]):
        pass
    assert not any(module._forward_hooks for module in llama.model.modules())
