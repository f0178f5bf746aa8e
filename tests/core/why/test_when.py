"""When a component acts: attention, activations, deciles and kinds of heads, against plain loops."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from s2e_core import EditSettings, Example, build_edit, extract
from s2e_core.errors import S2EError, SettingsError
from s2e_core.measure import encode_text
from s2e_core.model import stored_weight
from s2e_core.spec import Component
from s2e_core.why import METRICS, example_activations, example_means, head_attention, head_kinds, token_activations
from tests.core.chain import MANY
from tests.families import SIMPLE, in_memory, tiny_model
from tests.plain_weights import expert_activations

TEXT = Example("How are you?", "Great, great, thank you!")


def plain_attention(model, ids):
    """Attention of every layer and head, as the library gives them all at once: list of (H, T, T)."""
    plain = copy.deepcopy(model)
    plain.set_attn_implementation("eager")
    with torch.no_grad():
        return [a[0] for a in plain(torch.tensor([ids]), output_attentions=True).attentions]


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gemma2", "mixtral", "qwen3", "phi", "gpt_neox"])
def test_the_attention_of_a_head_is_the_library_s(family):
    loaded = in_memory(tiny_model(family, vocab_size=320))
    usual = loaded.model.config._attn_implementation
    extraction = extract(loaded, MANY)
    edit = build_edit(extraction, EditSettings(0.2, 0.2, 0.1))
    ids = encode_text(loaded, TEXT).ids
    site = loaded.spec.of_kind("heads")[1]
    found = head_attention(loaded, Component(site, 2), TEXT, edit)
    torch.testing.assert_close(found.original, plain_attention(loaded.model, ids)[1][2], atol=1e-5, rtol=1e-4)
    changed = in_memory(copy.deepcopy(loaded.model))
    for index, one in enumerate(changed.spec.sites):
        weight = stored_weight(changed.model, one)
        if one.experts:
            parts = edit.right[index].chunk(one.experts)
            for e, part in enumerate(parts):
                matrix = weight[e].T if one.transposed else weight[e]
                matrix += torch.outer(edit.left[index], part)
        else:
            matrix = weight.T if one.transposed else weight
            matrix += torch.outer(edit.left[index], edit.right[index])
    torch.testing.assert_close(found.edited, plain_attention(changed.model, ids)[1][2], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(found.edited, found.original, atol=1e-4)
    assert len(found.tokens) == len(ids) == len(found.original)
    assert loaded.model.config._attn_implementation == usual and not loaded.lock.locked()


def test_a_model_that_hides_its_attention_says_so(monkeypatch, llama):
    monkeypatch.setattr("s2e_core.why.attention._AttentionHook._are_weights", lambda self, value: False)
    with pytest.raises(S2EError, match="does not return where its heads look"):
        head_attention(llama, Component(llama.spec.of_kind("heads")[0], 0), TEXT)
    with pytest.raises(SettingsError, match="Choose a head"):
        head_attention(llama, Component(llama.spec.of_kind("neurons")[0], 0), TEXT)


def test_the_six_figures_are_those_of_plain_loops(llama):
    texts = [TEXT, "abcabcabd"]
    found = head_kinds(llama, texts)
    totals = {metric: [] for metric in METRICS}
    site = llama.spec.of_kind("heads")[1]
    for text in texts:
        ids = encode_text(llama, text).ids
        a = plain_attention(llama.model, ids)[1][3].double().tolist()
        for i in range(1, len(ids)):
            row = a[i]
            distance = sum(row[j] * (i - j) for j in range(i + 1))
            totals["self"].append(row[i])
            totals["previous token"].append(row[i - 1])
            totals["entropy"].append(-sum(x * math.log(x) for x in row if x > 0))
            totals["distance"].append(distance)
            totals["variance"].append(sum(row[j] * (i - j) ** 2 for j in range(i + 1)) - distance**2)
            places = [j + 1 for j in range(i) if ids[j] == ids[i]]
            if places:
                totals["induction"].append(sum(row[j] for j in places))
    figures = found.of(Component(site, 3))
    for metric in METRICS:
        value, rank, count = figures[metric]
        assert value == pytest.approx(sum(totals[metric]) / len(totals[metric]), abs=1e-4), metric
        larger = sum(float(v) > value for s in found.values[metric].values() for v in s)
        assert (rank, count) == (1 + larger, 12)


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2", "mixtral"])
def test_activations_are_the_inputs_of_the_projection(family):
    loaded = in_memory(tiny_model(family, vocab_size=320))
    extraction = extract(loaded, MANY)
    edit = build_edit(extraction, EditSettings(0.2, 0.2, 0.1))
    texts = [TEXT, "So much for that"]
    for kind in ("heads", "neurons"):
        index = loaded.spec.of_kind(kind)[1]
        site = loaded.spec.sites[index]
        component = Component(index, site.n_components // 2)
        found = token_activations(loaded, extraction.directions, component, texts, edit)
        for text, one in zip(texts, found, strict=True):
            ids = encode_text(loaded, text).ids
            if site.experts:
                rows, _ = expert_activations(loaded.model, [site], torch.tensor([ids]), range(len(ids)))[site.name]
            else:
                kept = []
                handle = loaded.model.get_submodule(site.name).register_forward_pre_hook(
                    lambda module, args, kept=kept: kept.append(args[0])
                )
                with torch.no_grad():
                    loaded.model(torch.tensor([ids]))
                handle.remove()
                rows = kept[0].reshape(len(ids), -1)
            x = rows[:, component.index * site.width : (component.index + 1) * site.width].double()
            if kind == "heads":
                weight = loaded.weight(index)[:, component.index * site.width : (component.index + 1) * site.width]
                by_hand = [float((weight.double() @ row) @ extraction.directions.unit[index].double()) for row in x]
            else:
                by_hand = x[:, 0].tolist()
            assert one.original == pytest.approx(by_hand, abs=1e-4)
            assert len(one.tokens) == len(ids) and one.edited != one.original


def test_examples_by_decile_and_side(llama):
    extraction, means = extract(llama, MANY), example_means(llama, MANY)
    component = Component(llama.spec.of_kind("neurons")[1], 7)
    found = example_activations(llama, extraction.directions, component, means)
    expected = extraction.means.positive[component.site][7]
    assert sum(found.values[:10]) / 10 == pytest.approx(float(expected), abs=1e-5)
    edges, positive, negative = found.histogram(5)
    assert (len(edges), sum(positive), sum(negative)) == (6, 10, 10)
    for k in range(5):
        inside = [edges[k] <= v < edges[k + 1] or (k == 4 and v == edges[5]) for v in found.values]
        assert positive[k] + negative[k] == pytest.approx(sum(inside), abs=1)
    deciles = found.deciles()
    values = [found.values[n] for n in deciles]
    assert values == sorted(values) and len(set(deciles)) == 10


def test_which_families_tell_their_attention():
    """Nearly all: the rest get one sentence."""
    silent = []
    for family in SIMPLE[::9]:
        loaded = in_memory(tiny_model(family, vocab_size=320))
        try:
            head_attention(loaded, Component(loaded.spec.of_kind("heads")[0], 0), "Hello there")
        except S2EError:
            silent.append(family)
    assert len(silent) <= 3, silent
