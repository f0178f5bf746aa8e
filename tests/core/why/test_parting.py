"""Where texts part, the relatives of a component, and the difference of two checkpoints, against plain loops."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from s2e_core import EditSettings, Example, build_edit, extract
from s2e_core.errors import S2EError
from s2e_core.measure import encode_text
from s2e_core.model import stored_weight
from s2e_core.spec import Component
from s2e_core.values import Edited, Original
from s2e_core.why import parting, relatives, weight_difference
from tests.core.chain import MANY
from tests.families import in_memory, tiny_model
from tests.reference import cosine

ANSWER = Example("How are you?", "Great, thank you!")


def with_edit(loaded, edit):
    """A copy of the model that has the edit in its weights."""
    changed = in_memory(copy.deepcopy(loaded.model))
    for index, site in enumerate(changed.spec.sites):
        weight = stored_weight(changed.model, site)
        (weight.T if site.transposed else weight).add_(torch.outer(edit.left[index], edit.right[index]))
    return changed


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def pair(request):
    loaded = in_memory(tiny_model(request.param, vocab_size=320))
    extraction = extract(loaded, MANY)
    edit = build_edit(extraction, EditSettings(0.3, 0.3, 0.2))
    return loaded, extraction, edit, with_edit(loaded, edit)


@torch.no_grad()
def test_every_token_is_compared_as_by_hand(pair):
    loaded, _, edit, changed = pair
    found = parting(loaded, ANSWER, Edited(edit), top=3)
    span = encode_text(loaded, ANSWER)
    p, q = (m.model(torch.tensor([span.ids])).logits[0].double().softmax(-1) for m in (loaded, changed))
    assert len(found.tokens) == len(span.ids) - span.start
    differing = []
    for n, token in enumerate(found.tokens):
        a, b = p[span.start - 1 + n].tolist(), q[span.start - 1 + n].tolist()
        kl = sum(x * (math.log(x) - math.log(y)) for x, y in zip(a, b, strict=True))
        assert token.kl == pytest.approx(kl, abs=1e-4)
        written = span.ids[span.start + n]
        assert token.probability == pytest.approx((a[written], b[written]), abs=1e-4)
        assert [x for _, x in token.original] == pytest.approx(sorted(a, reverse=True)[:3], abs=1e-4)
        assert [x for _, x in token.variant] == pytest.approx(sorted(b, reverse=True)[:3], abs=1e-4)
        assert token.differs == (a.index(max(a)) != b.index(max(b)))
        differing.append(token.differs)
    assert found.first == (differing.index(True) if any(differing) else None)
    assert found.mean_kl == pytest.approx(sum(t.kl for t in found.tokens) / len(found.tokens))
    assert "".join(token.token for token in found.tokens).strip() == ANSWER.response


@torch.no_grad()
def test_the_residual_stream_moves_as_by_hand(pair):
    loaded, _, edit, changed = pair
    span = encode_text(loaded, ANSWER)
    states = []
    for one in (loaded, changed):
        kept = []
        layers = one.model.model.layers if one.spec.model_type == "llama" else one.model.transformer.h
        handles = [
            layer.register_forward_hook(
                lambda m, a, output, kept=kept: kept.append(output[0] if output[0].dim() == 2 else output[0][0])
            )
            for layer in layers
        ]
        one.model(torch.tensor([span.ids]))
        for handle in handles:
            handle.remove()
        states.append(kept)
    found = parting(loaded, ANSWER, Edited(edit)).moved
    for layer, value in enumerate(found):
        steps = range(span.start - 1, len(span.ids) - 1)
        ratios = [float((states[1][layer][t] - states[0][layer][t]).norm() / states[0][layer][t].norm()) for t in steps]
        assert value == pytest.approx(sum(ratios) / len(ratios), rel=1e-3)
    assert len(found) == 3


def test_the_original_parts_nowhere(llama):
    found = parting(llama, ANSWER, Original())
    assert found.first is None and found.mean_kl == 0 and found.moved == (0.0, 0.0, 0.0)


def test_relatives_are_the_nearest_mean_outputs(pair):
    loaded, extraction, _, _ = pair
    for kind in ("heads", "neurons"):
        component = Component(loaded.spec.of_kind(kind)[1], 2)
        outputs = {}
        for index, site in enumerate(loaded.spec.sites):
            weight, mean = loaded.weight(index).double(), extraction.means.mean[index].double()
            for n in range(site.n_components):
                columns = slice(n * site.width, (n + 1) * site.width)
                outputs[Component(index, n)] = weight[:, columns] @ mean[columns]
        by_hand = {c: cosine(outputs[component], other) for c, other in outputs.items() if c != component}
        nearest = sorted(by_hand, key=lambda c: -abs(by_hand[c]))[:5]
        found = relatives(loaded, extraction.means, component, count=5)
        assert [one.component for one in found] == nearest
        assert [one.cosine for one in found] == pytest.approx([by_hand[c] for c in nearest], abs=1e-4)


def test_an_edited_checkpoint_differs_by_its_edit(pair):
    loaded, _, edit, changed = pair
    found = weight_difference(loaded, changed)
    for index, site in enumerate(loaded.spec.sites):
        delta = (changed.weight(index) - loaded.weight(index)).double()
        for n in range(site.n_components):
            columns = slice(n * site.width, (n + 1) * site.width)
            norm = math.sqrt(sum(x * x for x in delta[:, columns].flatten().tolist()))
            before = math.sqrt(sum(x * x for x in loaded.weight(index)[:, columns].flatten().tolist()))
            assert float(found.changes[index][n]) == pytest.approx(norm, abs=1e-4)
            assert float(found.relative[index][n]) == pytest.approx(norm / before, abs=1e-4)
        values = torch.linalg.svdvals(delta)
        torch.testing.assert_close(found.spectrum[index], values[:16].float(), atol=1e-3, rtol=1e-3)
        if float(edit.right[index].norm()) > 0:
            assert float(found.rank_one[index]) > 0.999  # the edit is rank 1 per projection
    stacked = torch.cat([(changed.weight(i) - loaded.weight(i)).double() for i in range(len(loaded.spec.sites))], dim=1)
    best = torch.linalg.svdvals(stacked)[0] ** 2 / stacked.square().sum()
    assert found.shared == pytest.approx(float(best), abs=1e-4) and found.shared < 0.9
    along = (found.shared_direction.double() @ stacked).square().sum() / stacked.square().sum()
    assert float(along) == pytest.approx(found.shared, abs=1e-4)
    assert found.total == pytest.approx(float(stacked.norm()), rel=1e-4)
    largest = found.largest(1)[0]
    assert float(found.relative[largest.site][largest.index]) == max(float(r.max()) for r in found.relative)


def test_one_shared_direction_is_recognised(llama):
    """The same u at every site, as when refusal is written into all layers."""
    changed = in_memory(copy.deepcopy(llama.model))
    u = torch.nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(3)), dim=0)
    for site in changed.spec.sites:
        stored_weight(changed.model, site).add_(torch.outer(u, torch.randn(site.n_inputs)))
    found = weight_difference(llama, changed)
    assert found.shared > 0.999 and abs(float(found.shared_direction @ u)) > 0.999
    same = weight_difference(llama, llama)
    assert same.shared == 0 and same.total == 0 and same.largest(3) == () and not same.rank_one.any()


def test_models_of_other_sizes_are_refused(llama, gpt2):
    with pytest.raises(S2EError, match="other heads and neurons"):
        weight_difference(llama, gpt2)
