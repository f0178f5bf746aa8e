"""The elastic net and the edit: by hand, against the definition, and by property."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from s2e_core import (
    Component,
    ComponentScores,
    EditSettings,
    Extraction,
    Selection,
    SettingsError,
    SteeringDirections,
    WeightEdit,
    build_edit,
    component_scores,
    edited_weight,
    elastic_net,
    steering_directions,
)
from s2e_core.method import edited_mask, relative_changes, rho_for_count, summarize
from tests import reference
from tests.core.matrices import Matrices, activation_means

SETTINGS = EditSettings(rho_attn=0.3, rho_mlp=0.2, alpha=0.5)
G = torch.linspace(-1, 1, 81)


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    source: Matrices
    xbar: list[torch.Tensor]
    extraction: Extraction

    @property
    def directions(self) -> SteeringDirections:
        return self.extraction.directions

    @property
    def scores(self) -> ComponentScores:
        return self.extraction.scores

    def edit(self, settings: EditSettings = SETTINGS, **changes: object) -> WeightEdit:
        return build_edit(self.extraction, dataclasses.replace(settings, **changes))


@pytest.fixture(scope="module")
def chain() -> Chain:
    source = Matrices.random()
    plus, minus = source.inputs(1), source.inputs(2)
    means = activation_means(source, plus, minus)
    directions = steering_directions(source, means)
    xbar = [(a + b) / 2 for a, b in zip(means.positive, means.negative, strict=True)]
    return Chain(source, xbar, Extraction(means, directions, component_scores(source, means, directions)))


def edited(edit: WeightEdit) -> set[Component]:
    return {Component(site, i) for site, lam in enumerate(edit.strength) for i in lam.nonzero().flatten().tolist()}


def above_threshold(chain: Chain) -> set[Component]:
    found = set()
    for i, site in enumerate(chain.source.spec.sites):
        threshold = SETTINGS.rho(site.kind) * SETTINGS.alpha
        found |= {Component(i, j) for j, g in enumerate(chain.scores.g[i].tolist()) if abs(g) > threshold}
    return found


# --- the elastic net


def test_the_elastic_net_by_hand():
    g = torch.tensor([0.5, -0.5, 0.1, 0.2, 0.0])
    torch.testing.assert_close(elastic_net(g, 0.4, 0.5), torch.tensor([1.5, -1.5, 0.0, 0.0, 0.0]))  # (0.5 - 0.2) / 0.2
    torch.testing.assert_close(elastic_net(g, 2.0, 0.0), g / 2)


@pytest.mark.parametrize(("rho", "alpha"), [(0.3, 0.5), (0.9, 0.05), (0.1, 0.95), (1.0, 0.0)])
def test_the_elastic_net_is_the_maximiser_of_its_definition(rho, alpha):
    found = elastic_net(G.double(), rho, alpha)
    torch.testing.assert_close(
        found, torch.tensor([reference.elastic_net(g, rho, alpha) for g in G.double().tolist()]).double()
    )

    def gain(lam: torch.Tensor) -> torch.Tensor:
        return G.double() * lam - rho * (alpha * lam.abs() + (1 - alpha) / 2 * lam**2)

    for nearby in torch.linspace(-0.5, 0.5, 41).double():
        assert (gain(found + nearby) <= gain(found) + 1e-12).all()


def test_the_elastic_net_is_odd_continuous_and_zero_up_to_the_threshold():
    lam = elastic_net(G, 0.4, 0.5)
    assert torch.equal(lam, -elastic_net(-G, 0.4, 0.5))
    assert not lam[G.abs() <= 0.2].any()
    assert lam[G.abs() > 0.2 + 1e-6].all()
    assert (lam.diff() <= 0.025 / (0.4 * 0.5) + 1e-5).all()  # no jump: the slope is the gain 1 / (rho (1 - alpha))
    assert (lam.diff() >= 0).all()


def test_a_larger_budget_penalty_never_gives_a_larger_edit():
    sizes = torch.stack([elastic_net(G, rho, 0.5).abs() for rho in (0.1, 0.2, 0.4, 0.8)])
    assert (sizes.diff(dim=0) <= 1e-6).all()
    assert (sizes.sum(dim=1).diff() < 0).all()


@pytest.mark.parametrize(("rho", "alpha"), [(0.0, 0.5), (-1.0, 0.5), (0.3, 1.0), (0.3, -0.1), (float("nan"), 0.5)])
def test_dials_outside_the_formulas_range_are_refused(rho, alpha):
    with pytest.raises(SettingsError):
        elastic_net(G, rho, alpha)
    with pytest.raises(SettingsError):
        EditSettings(rho, 0.3, alpha)


# --- the edit


def test_the_edit_by_hand():
    weight = torch.tensor([[3.0, -1.0, 0.0], [4.0, 0.0, 2.0]])  # v = (3, 4), xbar = (1, -2, 1), g = (1, 0.6, 0.8)
    source = Matrices.of(weight)
    means = activation_means(source, [[1.5, -2.0, 1.0]], [[0.5, -2.0, 1.0]])
    directions = steering_directions(source, means)
    scores = component_scores(source, means, directions)
    edit = build_edit(
        Extraction(means, directions, scores), EditSettings(None, 1.0, 0.7)
    )  # threshold 0.7, gain 1 / 0.3
    torch.testing.assert_close(edit.strength[0], torch.tensor([1.0, 0.0, 1 / 3]))
    torch.testing.assert_close(edit.left[0], torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(edit.right[0], torch.tensor([1.0, 0.0, 1 / 3]))
    changed = edited_weight(weight, edit.left[0], edit.right[0])
    torch.testing.assert_close(changed, torch.tensor([[3.6, -1.0, 0.2], [4.8, 0.0, 2.0 + 0.8 / 3]]))


def test_every_component_gets_lambda_u_k_and_the_whole_site_has_rank_one(chain):
    edit = chain.edit()
    for i, site in enumerate(chain.source.spec.sites):
        change = torch.outer(edit.left[i], edit.right[i])
        assert torch.linalg.matrix_rank(change) == 1
        for j in range(site.n_components):
            lam = reference.elastic_net(chain.scores.g[i][j].item(), SETTINGS.rho(site.kind), SETTINGS.alpha)
            expected = lam * torch.outer(chain.directions.unit[i], chain.scores.keys[i][j])
            block = change[:, j * site.width : (j + 1) * site.width]
            torch.testing.assert_close(block, expected, rtol=1e-4, atol=1e-5)
    assert edited(edit) == above_threshold(chain)


@pytest.mark.parametrize("swapped", [False, True])
def test_every_edit_of_either_sign_pushes_the_mean_output_towards_the_direction(chain, swapped):
    directions = chain.directions
    scores = chain.scores
    if swapped:
        directions = dataclasses.replace(directions, unit=tuple(-u for u in directions.unit))
        scores = dataclasses.replace(scores, g=tuple(-g for g in scores.g), keys=tuple(-k for k in scores.keys))
    edit = build_edit(Extraction(chain.extraction.means, directions, scores), SETTINGS)
    signs = set()
    for i, site in enumerate(chain.source.spec.sites):
        for j in edit.strength[i].nonzero().flatten().tolist():
            block = slice(j * site.width, (j + 1) * site.width)
            pushed = edit.left[i] * (edit.right[i][block] @ chain.xbar[i][block])
            assert directions.unit[i] @ pushed > 0
            signs.add(edit.strength[i][j].sign().item())
    assert signs == {1.0, -1.0}


def test_a_kind_that_is_off_stays_untouched_even_where_chosen_by_hand(chain):
    component = Component(0, 1)
    edit = chain.edit(rho_attn=None, selection=Selection(included=frozenset({component})))
    assert edit.count("heads") == 0
    assert edit.count("neurons") > 0
    assert chain.edit(rho_mlp=None).count("neurons") == 0
    assert chain.edit(rho_attn=None, rho_mlp=None).is_empty


def test_only_restricts_the_components_above_the_threshold(chain):
    passing = sorted(above_threshold(chain))
    weak = next(Component(1, j) for j in range(10) if Component(1, j) not in passing)
    edit = chain.edit(selection=Selection(only=frozenset({passing[0], passing[-1], weak})))
    assert edited(edit) == {passing[0], passing[-1]}
    full = chain.edit()
    for site, index in edited(edit):
        assert edit.strength[site][index] == full.strength[site][index]
    assert chain.edit(selection=Selection(only=frozenset())).is_empty


def test_included_waives_the_threshold_and_only_the_threshold(chain):
    weak = next(Component(1, j) for j in range(10) if Component(1, j) not in above_threshold(chain))
    edit = chain.edit(selection=Selection(included=frozenset({weak})))
    assert edited(edit) == above_threshold(chain) | {weak}
    expected = chain.scores.g[1][weak.index] / (SETTINGS.rho_mlp * (1 - SETTINGS.alpha))
    torch.testing.assert_close(edit.strength[1][weak.index], expected)
    alone = chain.edit(selection=Selection(only=frozenset(), included=frozenset({weak}), layers=(2, 2)))
    assert edited(alone) == {weak}


def test_excluded_wins_over_everything(chain):
    strong = max(above_threshold(chain), key=lambda c: abs(chain.scores.g[c.site][c.index].item()))
    edit = chain.edit(selection=Selection(included=frozenset({strong}), excluded=frozenset({strong})))
    assert edited(edit) == above_threshold(chain) - {strong}


def test_a_range_of_layers_is_inclusive(chain):
    edit = chain.edit(selection=Selection(layers=(1, 2)))
    sites = chain.source.spec.sites
    assert edited(edit) == {component for component in above_threshold(chain) if sites[component.site].layer in (1, 2)}


def selected(chain: Chain, settings: EditSettings) -> set[Component]:
    mask = edited_mask(chain.extraction, settings)
    assert [len(column) for column in mask] == [site.n_components for site in chain.source.spec.sites]
    return {Component(site, i) for site, column in enumerate(mask) for i in column.nonzero().flatten().tolist()}


@pytest.mark.parametrize("layers", [None, (1, 2), (2, 1)])
@pytest.mark.parametrize("off", [{}, {"rho_attn": None}, {"rho_mlp": None}, {"alpha": 0.0}])
def test_the_mask_is_what_the_edit_touches(chain, layers, off):
    strong, *others = sorted(above_threshold(chain), key=lambda c: -abs(chain.scores.g[c.site][c.index].item()))
    weak = next(Component(1, j) for j in range(10) if Component(1, j) not in above_threshold(chain))
    for only in (None, frozenset(), frozenset({strong, others[0], weak})):
        chosen = Selection(only, frozenset({weak, others[1]}), frozenset({strong}), layers)
        settings = dataclasses.replace(SETTINGS, selection=chosen, **off)
        assert selected(chain, settings) == edited(chain.edit(settings))


def test_the_mask_is_that_of_the_selection_and_not_of_the_strengths(chain):
    strong = max(above_threshold(chain), key=lambda c: abs(chain.scores.g[c.site][c.index].item()))
    silent = dataclasses.replace(SETTINGS, strength=0.0, strengths={strong: 0.0})
    assert selected(chain, silent) == above_threshold(chain)
    with pytest.raises(SettingsError, match="does not have"):
        selected(chain, dataclasses.replace(SETTINGS, selection=Selection(included=frozenset({Component(0, -1)}))))


def test_strengths_multiply_and_zero_is_no_edit(chain):
    full = chain.edit()
    half = chain.edit(strength=0.5)
    component = next(iter(edited(full)))
    own = chain.edit(strength=0.5, strengths={component: 3.0})
    for i in range(len(full.strength)):
        torch.testing.assert_close(half.strength[i], full.strength[i] / 2)
        torch.testing.assert_close(half.right[i], full.right[i] / 2)
    expected = 1.5 * full.strength[component.site][component.index]
    torch.testing.assert_close(own.strength[component.site][component.index], expected)
    assert sum((own.strength[i] != half.strength[i]).sum() for i in range(len(own.strength))) == 1
    assert chain.edit(strength=0.0).is_empty
    assert edited(chain.edit(strengths={component: 0.0})) == edited(full) - {component}


@pytest.mark.parametrize("component", [Component(0, -1), Component(-1, 0), Component(99, 0), Component(0, 999)])
def test_a_component_that_the_model_does_not_have_is_refused_and_not_taken_for_another(chain, component):
    chosen = frozenset({component})
    for change in (
        {"strengths": {component: 2.0}},
        *({"selection": Selection(**{role: chosen})} for role in ("only", "included", "excluded")),
    ):
        with pytest.raises(SettingsError, match=f"component {component.index} of site {component.site}, which this"):
            chain.edit(**change)


def test_negative_strengths_are_refused(chain):
    with pytest.raises(SettingsError, match="swap the two sides"):
        chain.edit(strength=-1.0)
    with pytest.raises(SettingsError):
        chain.edit(strengths={Component(0, 0): -0.1})


# --- weights and summaries


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_edited_weight_is_added_in_fp32_and_cast_once(dtype):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 6, generator=generator).to(dtype)
    left, right = torch.randn(8, generator=generator), torch.randn(6, generator=generator)
    right[2] = 0
    before = weight.clone()
    changed = edited_weight(weight, left, right)
    assert changed.dtype == dtype
    assert torch.equal(changed, (weight.float() + torch.outer(left, right)).to(dtype))
    assert torch.equal(changed[:, 2], weight[:, 2])
    assert torch.equal(weight, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("transposed", [False, True])
def test_columns_that_are_not_edited_keep_every_bit(dtype, transposed):
    weight = torch.tensor([[-0.0, 1.0, torch.inf, torch.nan, 0.1], [0.0, -0.0, -torch.inf, -torch.nan, -0.1]] * 16)
    weight = weight.to(dtype).T.contiguous().T if transposed else weight.to(dtype)
    right = torch.tensor([0.0, 2.0, -0.0, 0.0, 0.0])
    changed = edited_weight(weight, torch.ones(32), right)
    kept = right == 0
    as_bytes = [part[:, kept].contiguous().view(torch.uint8) for part in (changed, weight)]
    assert torch.equal(*as_bytes)
    assert changed[:, 1].tolist() == [3.0, 2.0] * 16


@pytest.mark.parametrize("kind", ["heads", "neurons"])
@pytest.mark.parametrize("count", [0, 1, 5, 11])
def test_the_plain_dial_lets_exactly_so_many_components_pass(chain, kind, count):
    rho = rho_for_count(chain.scores, kind, count, alpha=0.6)
    edit = chain.edit(EditSettings(rho if kind == "heads" else None, rho if kind == "neurons" else None, 0.6))
    assert edit.count(kind) == count
    strongest = sorted(
        (abs(g) for i in chain.source.spec.of_kind(kind) for g in chain.scores.g[i].tolist()), reverse=True
    )
    chosen = [abs(chain.scores.g[c.site][c.index].item()) for c in edited(edit)]
    assert sorted(chosen, reverse=True) == strongest[:count]


def test_the_plain_dial_lets_all_components_pass_when_asked_for_more_than_there_are(chain):
    rho = rho_for_count(chain.scores, "heads", 1000, alpha=0.6)
    assert chain.edit(EditSettings(rho, None, 0.6)).count("heads") == 12
    with pytest.raises(SettingsError):
        rho_for_count(chain.scores, "heads", 3, alpha=0.0)


def test_the_summary_measures_the_change_against_the_weights(chain):
    edit = chain.edit(rho_mlp=None)
    weights = [chain.source.weight(i) for i in range(len(chain.source.spec.sites))]
    changes = [torch.outer(left, right) for left, right in zip(edit.left, edit.right, strict=True)]
    summary = summarize(chain.scores, edit)
    whole = (
        torch.cat([change.flatten() for change in changes]).norm() / torch.cat([w.flatten() for w in weights]).norm()
    )
    assert summary.relative_size == pytest.approx(whole.item(), rel=1e-5)
    assert (summary.n_heads, summary.n_neurons) == (edit.count("heads"), 0)
    largest = max(
        (changes[i][:, 3 * j : 3 * j + 3].norm() / weights[i][:, 3 * j : 3 * j + 3].norm()).item()
        for i in chain.source.spec.of_kind("heads")
        for j in range(4)
    )
    assert summary.largest_change == pytest.approx(largest, rel=1e-5)
    assert max(ratio.max().item() for ratio in relative_changes(chain.scores, edit)) == pytest.approx(largest, rel=1e-5)
