"""Interventions on single components: against a copy of the model whose weights are changed, text by text."""

from __future__ import annotations

import copy

import pytest
import torch

from s2e_core import EditSettings, build_edit, extract
from s2e_core.data import contrast_set
from s2e_core.errors import Cancelled, S2EError
from s2e_core.model import stored_weight
from s2e_core.spec import Component
from s2e_core.why import HOWS, PairedTexts, causal_map, measure_effects, paired_texts
from s2e_core.why.interventions import component_weight
from s2e_core.why.resuming import decoder_layers, resumable_layers
from tests.core.chain import MANY
from tests.families import in_memory, tiny_model

FAMILIES = ("llama", "gpt2", "opt", "gemma2", "mixtral", "gpt_oss", "dbrx", "jetmoe")


def block(model, site, component):
    """The component's block (d, width), a view that can be written to."""
    weight = stored_weight(model, site)
    first = component.index * site.width
    if site.experts:
        expert, first = divmod(first, site.n_inputs // site.experts)
        weight = weight[expert]
    matrix = weight.T if site.transposed else weight
    return matrix[:, first : first + site.width]


def by_hand(loaded, extraction, edit, component, how, texts):
    """Margin and KL by plain loops over the texts, with the changed weights and, for the mean, a constant output."""
    before, after = (copy.deepcopy(loaded.model) for _ in range(2))
    site = loaded.spec.sites[component.site]
    columns = slice(component.index * site.width, (component.index + 1) * site.width)
    if how == "left out":
        for index, other in enumerate(loaded.spec.sites):
            for n in range(other.n_components):
                a = edit.right[index][n * other.width : (n + 1) * other.width]
                for model in (before, after):
                    if model is before or Component(index, n) != component:
                        block(model, other, Component(index, n)).add_(torch.outer(edit.left[index], a))
    elif how == "edited alone":
        block(after, site, component).add_(torch.outer(edit.left[component.site], edit.right[component.site][columns]))
    else:
        mean = extraction.means.mean[component.site][columns]
        constant = block(loaded.model, site, component).float() @ mean
        block(after, site, component).zero_()
        if how == "mean":
            after.get_submodule(site.name).register_forward_hook(lambda module, args, output: output + constant)
    nats, kls = [], []
    for span in texts.spans:
        ids = torch.tensor([span.ids])
        p, q = (model(ids).logits[0].double().log_softmax(-1) for model in (before, after))
        steps = range(span.start, len(span.ids))
        nats.append(sum(float(q[t - 1, span.ids[t]] - p[t - 1, span.ids[t]]) for t in steps) / len(steps))
        kls.append(sum(float((p[t - 1].exp() * (p[t - 1] - q[t - 1])).sum()) for t in steps) / len(steps))
    n = len(texts.wanted)
    return (sum(nats[:n]) - sum(nats[n:])) / n, sum(kls) / len(kls)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_every_intervention_is_that_of_changed_weights(family):
    loaded = in_memory(tiny_model(family, vocab_size=320))
    extraction = extract(loaded, MANY)
    edit = build_edit(extraction, EditSettings(0.4, 0.4, 0.1))
    read = paired_texts(loaded, MANY)
    texts = PairedTexts(read.wanted[:2], read.unwanted[:2])
    sites = [loaded.spec.of_kind(kind)[-1] for kind in ("heads", "neurons")]
    strongest = [Component(i, int(edit.strength[i].abs().argmax())) for i in sites]
    # The constant output of the copy would be scaled by what these two do after their experts.
    hows = [how for how in HOWS if not (how == "mean" and family in ("jetmoe", "dbrx"))]
    wishes = [(component, how) for component in strongest for how in hows]
    effects = measure_effects(loaded, extraction, edit, wishes, texts)
    for (component, how), effect in zip(wishes, effects, strict=True):
        margin, kl = by_hand(loaded, extraction, edit, component, how, texts)
        assert effect.margin.value == pytest.approx(margin, abs=2e-4), (component, how)
        assert effect.kl.value == pytest.approx(kl, abs=2e-4), (component, how)
        assert (effect.component, effect.how) == (component, how)
    assert max(effect.kl.value for effect in effects) > 1e-5


@torch.no_grad()
def test_skipping_layers_changes_nothing(llama, monkeypatch):
    ids = torch.tensor([[1, 5, 9, 13, 20]])
    assert len(resumable_layers(llama, ids, torch.ones_like(ids))) == 3
    extraction = extract(llama, MANY)
    edit = build_edit(extraction, EditSettings(0.4, 0.4, 0.1))
    skipped = causal_map(llama, extraction, edit, MANY, n_neurons=6)
    monkeypatch.setattr("s2e_core.why.effects.resumable_layers", lambda *_: ())
    whole = causal_map(llama, extraction, edit, MANY, n_neurons=6)
    for a, b in zip(skipped.effects, whole.effects, strict=True):
        assert a.margin.value == pytest.approx(b.margin.value, abs=1e-5)
        assert a.kl.value == pytest.approx(b.kl.value, abs=1e-5)
    assert all("forward" not in layer.__dict__ for layer in decoder_layers(llama))


def test_layers_that_run_several_times_are_not_skipped():
    assert decoder_layers(in_memory(tiny_model("hrm_text", vocab_size=320))) == ()


def test_an_unedited_component_is_left_alone(llama):
    extraction = extract(llama, MANY)
    edit = build_edit(extraction, EditSettings(None, 0.4, 0.1))
    head = Component(llama.spec.of_kind("heads")[0], 0)
    effects = measure_effects(
        llama,
        extraction,
        edit,
        [(head, "edited alone"), (head, "left out"), (head, "zeroed")],
        paired_texts(llama, MANY),
    )
    assert [effect.kl.value > 0 for effect in effects] == [False, False, True]


def test_the_map_names_its_false_friends_and_agrees_with_itself(bundled, tone, tone_edit, tone_pairs):
    found = causal_map(bundled, tone, tone_edit, tone_pairs, n_heads=12, n_neurons=4, hows=("zeroed", "left out"))
    assert len(found.effects) == 2 * 16
    effects = {e.component: e for e in found.of("zeroed")}
    assert all(not effects[e.component].is_clear for e in found.unneeded())
    assert all(effects[e.component].is_clear for e in found.overlooked())
    largest = max(
        abs(found.g[e.component]) for e in found.overlooked() if bundled.spec.sites[e.component.site].width > 1
    )
    heads = sorted(abs(g) for c, g in found.g.items() if bundled.spec.sites[c.site].kind == "heads")
    assert largest <= heads[6]
    agreement = found.agreement("zeroed", "heads")
    assert agreement.low <= agreement.value <= agreement.high and agreement.count == 12
    record = found.to_json()
    assert len(record["effects"]) == 32 and {row["how"] for row in record["agreement"]} == {"zeroed", "left out"}


def test_a_stop_is_noticed_and_leaves_no_hook(llama):
    extraction = extract(llama, MANY)

    def stop(done, total):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        causal_map(llama, extraction, build_edit(extraction, EditSettings(0.4, 0.4, 0.1)), MANY, progress=stop)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in llama.model.modules())
    assert not llama.lock.locked()


def test_one_example_a_side_has_no_interval(llama):
    with pytest.raises(S2EError, match="fewer than two"):
        paired_texts(llama, contrast_set(MANY.positive[:1], MANY.negative[:1], name="one"))


def test_the_block_of_a_component_is_that_of_its_weight(llama):
    for index, site in enumerate(llama.spec.sites):
        blocks = [component_weight(llama, Component(index, n)) for n in range(site.n_components)]
        torch.testing.assert_close(torch.cat(blocks, dim=1), llama.weight(index))
