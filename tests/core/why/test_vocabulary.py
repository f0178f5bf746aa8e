"""What a component says: the logit lens by hand, and the Jacobian against differences of whole forward passes."""

from __future__ import annotations

import pytest
import torch

from s2e_core import extract
from s2e_core.errors import S2EError
from s2e_core.measure import encode_text
from s2e_core.spec import Component
from s2e_core.why import find_lens, mean_jacobian, read_component, vectors_of
from tests.core.chain import MANY
from tests.families import EXPERTS, HYBRIDS, SIMPLE, in_memory, tiny_model


def test_the_logit_lens_of_llama_by_hand(llama):
    vector = torch.randn(64, generator=torch.Generator().manual_seed(1))
    norm, head = llama.model.model.norm, llama.model.lm_head
    scaled = vector / (vector.square().mean() + norm.variance_epsilon).sqrt() * norm.weight
    by_hand = head.weight @ scaled
    by_hand = by_hand - by_hand.mean()
    lens = find_lens(llama)
    torch.testing.assert_close(lens.logits(vector.unsqueeze(0))[0], by_hand.detach(), atol=1e-4, rtol=1e-4)
    said = lens.words(by_hand.detach(), 3)
    order = sorted(range(259), key=lambda t: -float(by_hand[t]))
    assert [value for _, value in said.up] == pytest.approx([float(by_hand[t]) for t in order[:3]])
    assert [value for _, value in said.down] == pytest.approx([float(by_hand[t]) for t in order[:-4:-1]])


def test_the_bias_of_a_final_norm_says_nothing(gpt2):
    lens = find_lens(gpt2)
    vector = torch.randn(64, generator=torch.Generator().manual_seed(1))
    norm = gpt2.model.transformer.ln_f
    x = vector - vector.mean()
    scaled = x / (x.square().mean() + norm.eps).sqrt() * norm.weight
    by_hand = gpt2.model.lm_head.weight @ scaled
    torch.testing.assert_close(
        lens.logits(vector.unsqueeze(0))[0], (by_hand - by_hand.mean()).detach(), atol=1e-4, rtol=1e-4
    )


STEP = 0.0002
"""Step of the differences: a larger one sends a token of the models with experts to another expert."""


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gemma2", "mixtral", "gpt_oss"])
def test_the_jacobian_is_the_slope_of_the_logits(family):
    """Central differences of a plain pass in which the site writes a little more at every token."""
    loaded = in_memory(tiny_model(family, vocab_size=320))
    texts = [encode_text(loaded, example) for example in MANY.positive[:2]]
    vectors = torch.nn.functional.normalize(torch.randn(2, 64, generator=torch.Generator().manual_seed(2)), dim=1)
    for kind in ("heads", "neurons"):
        index = loaded.spec.of_kind(kind)[0]
        found = mean_jacobian(loaded, index, vectors, texts)
        module = loaded.model.get_submodule(loaded.spec.sites[index].name)
        for vector, row in zip(vectors, found, strict=True):
            slope = torch.zeros(320)
            for span in texts:
                sides = []
                for step in (STEP, -STEP):
                    handle = module.register_forward_hook(
                        lambda m, a, output, step=step, vector=vector: output + step * vector
                    )
                    with torch.no_grad():
                        logits = loaded.model(torch.tensor([span.ids])).logits[0]
                    handle.remove()
                    sides.append(logits[span.start - 1 : len(span.ids) - 1].mean(dim=0))
                slope += (sides[0] - sides[1]) / (2 * STEP) / len(texts)
            slope = slope - slope.mean()
            torch.testing.assert_close(row, slope, atol=0.02 * float(slope.abs().max()), rtol=0.02)
        assert not any(m._forward_hooks for m in loaded.model.modules())


def test_the_last_site_s_two_lenses_agree_and_a_deep_one_s_need_not(llama):
    """Nothing lies between the last projection and the lens but the scale of the norm."""
    extraction = extract(llama, MANY)
    lens = find_lens(llama)
    texts = [encode_text(llama, example) for example in MANY.positive[:4]]
    last = Component(llama.spec.of_kind("neurons")[-1], 5)
    readings = read_component(llama, extraction, last, lens, texts)
    assert [r.what for r in readings] == ["column", "direction u"]
    assert min(r.correlation for r in readings) > 0.8 and not any(r.disagrees for r in readings)
    first = Component(llama.spec.of_kind("heads")[0], 1)
    deep = read_component(llama, extraction, first, lens, texts)
    assert [r.what for r in deep] == ["mean output", "OV direction 1", "OV direction 2", "direction u"]
    assert min(r.correlation for r in deep) < min(r.correlation for r in readings)
    assert all(0 <= r.shared <= 10 and len(r.jacobian.up) == 10 for r in deep)
    alone = read_component(llama, extraction, first, lens)
    assert alone[0].jacobian is None and alone[0].correlation is None and not alone[0].disagrees


def test_the_vectors_of_a_component_have_the_sign_of_what_it_writes(llama):
    extraction = extract(llama, MANY)
    for component in (Component(llama.spec.of_kind("heads")[1], 2), Component(llama.spec.of_kind("neurons")[1], 9)):
        site = llama.spec.sites[component.site]
        columns = slice(component.index * site.width, (component.index + 1) * site.width)
        output = llama.weight(component.site)[:, columns] @ extraction.means.mean[component.site][columns]
        vectors = vectors_of(llama, extraction, component)
        own = [vector for name, vector in vectors.items() if name != "direction u"]
        assert all(float(vector @ output) >= 0 for vector in own)
        assert torch.equal(vectors["direction u"], extraction.directions.unit[component.site])


def test_most_families_have_a_lens_and_the_rest_a_sentence():
    silent = []
    for family in (*SIMPLE[::11], *EXPERTS[::11], *HYBRIDS[::5]):
        loaded = in_memory(tiny_model(family, vocab_size=320))
        try:
            find_lens(loaded)
        except S2EError as error:
            assert "logit lens" in str(error)
            silent.append(family)
    assert len(silent) < 6, silent


def test_memory_that_runs_out_is_not_taken_for_a_missing_derivative(llama, monkeypatch):
    def full(**_inputs):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(llama.model, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        mean_jacobian(llama, 0, torch.ones(1, 64), [encode_text(llama, MANY.positive[0])])
