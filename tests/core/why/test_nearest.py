"""The recipe that is nearest to a difference: our own edits are found back, and nothing near it is nearer."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from s2e_core import EditSettings, build_edit, load_behavior
from s2e_core.data import behavior_gate_texts
from s2e_core.errors import Cancelled, S2EError
from s2e_core.method import edited_weight
from s2e_core.method import extract as extract_with
from s2e_core.settings import Gate, Selection
from s2e_core.spec import Component
from s2e_core.why import WithEdit, change_along, explain_difference, nearest_recipe, weight_difference

FAMILIES = {
    "both kinds": EditSettings(0.3, 0.5, 0.4),
    "heads alone": EditSettings(0.2, None, 0.6),
    "without a threshold": EditSettings(None, 0.5, 0.0),
    "baked": EditSettings(None, None, 0.5, gate=Gate(1.3, 0.0)),
    "gated": EditSettings(None, None, 0.5, gate=Gate(2.0, 10.0)),
    "few components": EditSettings(None, None, 0.5, gate=Gate(2.0, 100.0, 60)),
}


class Rounded:
    """The weights of a checkpoint in another number format, with an edit in them."""

    def __init__(self, loaded, edit, dtype):
        self.loaded, self.edit, self.dtype, self.spec = loaded, edit, dtype, loaded.spec

    def weight(self, site):
        return next(self.blocks(site))

    def blocks(self, site):
        weight = self.loaded.weight(site).to(self.dtype)
        yield edited_weight(weight, self.edit.left[site], self.edit.right[site]).float()


@pytest.fixture(scope="module")
def read(bundled):
    behavior = load_behavior("tone")
    return extract_with(bundled, behavior.contrast, texts=behavior_gate_texts(behavior, None))


def nearest(loaded, other, extraction, known=()):
    difference = weight_difference(loaded, other)
    along = change_along(loaded, other, [u.unsqueeze(0) for u in extraction.directions.unit])
    return nearest_recipe(extraction, [part[0] for part in along], difference.changes, known)


def squared_distance(loaded, other, edit):
    """|dW - edit|^2, weight by weight."""
    total = 0.0
    for i in range(len(loaded.spec.sites)):
        change = (other.weight(i) - loaded.weight(i)).double()
        total += float((change - torch.outer(edit.left[i].double(), edit.right[i].double())).square().sum())
    return total


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_an_edit_of_ours_is_found_back(bundled, read, name, dtype):
    wanted = FAMILIES[name]
    found = nearest(bundled, Rounded(bundled, build_edit(read, wanted), dtype), read)
    assert found.explained > 0.9995 and found.explained <= found.possible + 1e-9
    tolerance = 1e-5 if dtype == torch.float32 else 2e-3
    for rho in ("rho_attn", "rho_mlp"):
        value = getattr(wanted, rho)
        assert getattr(found.settings, rho) == (None if value is None else pytest.approx(value, rel=tolerance))
    if wanted.gate is None:
        assert found.settings.alpha == pytest.approx(wanted.alpha, abs=tolerance) and found.settings.gate is None
    else:
        assert found.settings.gate.gamma == pytest.approx(wanted.gate.gamma, rel=tolerance)
        assert (found.settings.gate.mu, found.settings.gate.size) == (wanted.gate.mu, wanted.gate.size)


def test_another_strength_is_the_same_edit_by_other_dials(bundled, read):
    """strength alpha / (1 - alpha) and strength / rho / (1 - alpha) are all that an edit shows of them."""
    wanted = EditSettings(0.3, 0.5, 0.4, strength=0.5)
    edit = build_edit(read, wanted)
    found = nearest(bundled, WithEdit(bundled, edit), read)
    assert found.settings.strength == 1.0
    assert found.settings.alpha == pytest.approx(0.25, abs=1e-6)  # 0.5 * 0.4 / 0.6 = 1/3 = a / (1 - a)
    assert found.settings.rho_attn == pytest.approx(0.3 * 0.6 / 0.5 / 0.75, rel=1e-5)
    near = nearest(bundled, WithEdit(bundled, edit), read, [replace(wanted, alpha=0.9)])
    assert near.settings.strength == 0.5 and near.settings.alpha == pytest.approx(0.4, abs=1e-6)


def test_settings_that_were_known_come_back_as_they_are(bundled, read):
    by_hand = EditSettings(
        0.3, 0.5, 0.4, selection=Selection(included=frozenset({Component(1, 7)})), strengths={Component(0, 2): 3.0}
    )
    both = EditSettings(None, 0.5, 0.4, gate=Gate(2.0, 3.0, 51))
    for settings in (by_hand, both):
        found = nearest(bundled, WithEdit(bundled, build_edit(read, settings)), read, [FAMILIES["gated"], settings])
        assert found.settings is settings and found.explained == pytest.approx(1.0, abs=1e-6)


def test_a_sum_of_both_families_is_taken_apart(bundled, read):
    wanted = EditSettings(0.3, 0.6, 0.3, gate=Gate(1.5, 10.0))
    found = nearest(bundled, WithEdit(bundled, build_edit(read, wanted)), read)
    assert found.settings.family == "elastic net + gated steering" and found.explained > 0.999
    assert found.settings.gate.gamma == pytest.approx(1.5, rel=0.02)
    assert found.settings.rho_mlp == pytest.approx(0.6, rel=0.05)


def test_a_range_of_layers_becomes_a_list_of_components(bundled, read):
    wanted = EditSettings(None, 0.4, 0.3, selection=Selection(layers=(1, 2)))
    edit = build_edit(read, wanted)
    found = nearest(bundled, WithEdit(bundled, edit), read)
    assert found.explained > 0.9999 and found.settings.rho_mlp == pytest.approx(0.4, rel=1e-4)
    assert len(found.settings.selection.only) == edit.count("neurons")
    assert {bundled.spec.sites[c.site].layer for c in found.settings.selection.only} <= {1, 2}


def test_no_dials_around_are_nearer_to_a_foreign_difference(bundled, read, tone_edit):
    """A difference that no edit of this behaviour made: what is found beats a grid around it."""
    generator = torch.Generator().manual_seed(5)
    noise = [0.12 * torch.randn(a.shape, generator=generator) for a in tone_edit.right]
    edit = build_edit(read, FAMILIES["both kinds"])
    other = WithEdit(bundled, replace(edit, right=tuple(a + n for a, n in zip(edit.right, noise, strict=True))))
    whole = weight_difference(bundled, other).total ** 2
    found = nearest(bundled, other, read)
    least = squared_distance(bundled, other, found.edit)
    assert found.explained == pytest.approx(1 - least / whole, abs=1e-4) and 0.1 < found.explained < 0.95
    net = found.settings
    assert net.gate is None
    for attn, mlp, alpha in set(itertools.permutations((0.97, 1, 1))) | set(itertools.permutations((1.03, 1, 1))):
        beside = EditSettings(net.rho_attn * attn, net.rho_mlp * mlp, net.alpha * alpha, net.strength, net.selection)
        assert squared_distance(bundled, other, build_edit(read, beside)) >= least - 1e-6 * whole


def test_a_difference_across_the_behaviour_has_no_recipe(bundled, read):
    across = []
    for u in read.directions.unit:
        other = torch.randn(u.shape, generator=torch.Generator().manual_seed(1))
        across.append(torch.nn.functional.normalize(other - (other @ u) * u, dim=0))
    edit = build_edit(read, FAMILIES["both kinds"])
    found = explain_difference(bundled, WithEdit(bundled, replace(edit, left=tuple(across))), read)
    assert found.nearest is None or found.nearest.possible < 1e-9


def test_two_checkpoints_are_explained_whole(bundled, read, tone_edit):
    edit = build_edit(read, FAMILIES["both kinds"])
    found = explain_difference(bundled, WithEdit(bundled, edit), read, directions={"tone": read.directions})
    assert found.along["tone"] == pytest.approx(1.0, abs=1e-5) and found.reversed is None
    for i in range(len(bundled.spec.sites)):  # the edit of its own is the same change, whatever the sign of u
        torch.testing.assert_close(
            torch.outer(found.own.left[i], found.own.right[i]), torch.outer(edit.left[i], edit.right[i]),
            atol=2e-5, rtol=1e-3,
        )  # fmt: skip
        assert float(found.own.right[i] @ read.means.mean[i]) >= -1e-6
        torch.testing.assert_close(found.own.strength[i].abs(), edit.strength[i].abs(), atol=2e-5, rtol=1e-3)
    assert found.by_chance == 1 / bundled.spec.d_model


def test_the_way_back_is_the_opposite(bundled, read):
    edit = build_edit(read, FAMILIES["both kinds"])
    back = WithEdit(bundled, replace(edit, right=tuple(-a for a in edit.right)))
    found = explain_difference(bundled, back, read)
    assert found.reversed.explained > 0.999 and found.reversed.settings.rho_attn == pytest.approx(0.3, rel=1e-4)
    assert found.nearest is None or found.nearest.explained < 0.5


def test_equal_weights_and_a_stop_are_sentences(bundled, read):
    with pytest.raises(S2EError, match="bit by bit"):
        explain_difference(bundled, bundled, read)

    def stop(done, total):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        explain_difference(bundled, WithEdit(bundled, build_edit(read, FAMILIES["baked"])), read, progress=stop)


def test_progress_never_goes_back(bundled, read):
    told = []
    explain_difference(
        bundled, WithEdit(bundled, build_edit(read, FAMILIES["gated"])), read, progress=lambda *at: told.append(at)
    )
    assert [done for done, _ in told] == sorted(done for done, _ in told) and told[-1][0] == told[-1][1]


class Enlarged(Rounded):
    """An edit so large that the model cannot have been trained to it."""

    def blocks(self, site):
        right = 1e20 * self.edit.right[site]
        yield self.loaded.weight(site) + torch.outer(self.edit.left[site], right)


def test_of_an_absurdly_large_difference_the_dials_stay_dials(bundled, read):
    found = nearest(bundled, Enlarged(bundled, build_edit(read, FAMILIES["both kinds"]), None), read)
    assert found.settings.alpha < 1 and found.explained > 0.999
