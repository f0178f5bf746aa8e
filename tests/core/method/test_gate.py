"""Edits with a gate: each family against its definition, their sum, the selection, and what summaries say of them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from s2e_core import (
    Component,
    EditSettings,
    Extraction,
    Selection,
    SettingsError,
    WeightEdit,
    build_edit,
    component_scores,
    steering_directions,
)
from s2e_core.method import edited_mask, gate_masks, mean_firing, relative_changes, solve_keys, summarize
from s2e_core.method.gate import MUS
from s2e_core.settings import Gate
from s2e_core.token_inputs import TokenInputs
from tests.core.matrices import Matrices, activation_means
from tests.core.method.test_gate_fit import close, plain_silence, slow_fit

ELASTIC = EditSettings(rho_attn=0.3, rho_mlp=0.2, alpha=0.5)
GATED = EditSettings(None, None, 0.5, gate=Gate(0.7, mu=2.0))
BAKED = EditSettings(None, None, 0.5, gate=Gate(0.7))
BOTH = dataclasses.replace(ELASTIC, gate=Gate(0.7, mu=2.0))


def token_inputs(source: Matrices, n_on: int = 9, n_off: int = 30) -> TokenInputs:
    """Fewer rows on the one side and more on the other than a site has inputs; 2 more rows in every second site."""
    generator = torch.Generator().manual_seed(5)
    on, off = [], []
    for i, site in enumerate(source.spec.sites):
        on.append((torch.randn(n_on + 2 * (i % 2), site.n_inputs, generator=generator) + 0.5).bfloat16())
        off.append(torch.randn(n_off, site.n_inputs, generator=generator).bfloat16())
    return TokenInputs(source.spec, tuple(on), tuple(off), "harmless ones")


@pytest.fixture(scope="module")
def source() -> Matrices:
    return Matrices.random()


@pytest.fixture(scope="module")
def extraction(source) -> Extraction:
    means = activation_means(source, source.inputs(1), source.inputs(2))
    directions = steering_directions(source, means)
    inputs = solve_keys(token_inputs(source))
    return Extraction(means, directions, component_scores(source, means, directions), inputs)


def plain_gate(extraction: Extraction, gate: Gate, allowed: set[Component] | None = None) -> list[torch.Tensor]:
    """gamma |v| c of every site by the slow loops, solved on the inputs of the allowed components alone."""
    inputs, vectors = extraction.token_inputs, []
    for i, site in enumerate(extraction.spec.sites):
        columns = [
            j * site.width + k
            for j in range(site.n_components)
            for k in range(site.width)
            if allowed is None or Component(i, j) in allowed
        ]
        vector = torch.zeros(site.n_inputs, dtype=torch.float64)
        if columns:
            c, _ = slow_fit(inputs.on[i][:, columns].float(), inputs.off[i][:, columns].float(), gate.mu)
            vector[columns] = gate.gamma * float(extraction.directions.norm[i]) * c
        vectors.append(vector)
    return vectors


def assert_right(edit: WeightEdit, expected: list[torch.Tensor]) -> None:
    for right, vector in zip(edit.right, expected, strict=True):
        close(right, vector)
    for i, site in enumerate(edit.spec.sites):
        norms = torch.stack([block.norm() for block in edit.right[i].split(site.width)])
        close(edit.strength[i].abs(), norms)


def changed(edit: WeightEdit) -> set[Component]:
    sites = zip(edit.right, edit.spec.sites, strict=True)
    return {
        Component(i, j)
        for i, (right, site) in enumerate(sites)
        for j, block in enumerate(right.split(site.width))
        if block.any()
    }


def selected(masks) -> set[Component]:
    return {Component(i, j) for i, mask in enumerate(masks) for j in mask.nonzero().flatten().tolist()}


def everything(extraction: Extraction) -> set[Component]:
    return {Component(i, j) for i, site in enumerate(extraction.spec.sites) for j in range(site.n_components)}


# --- the families


@pytest.mark.parametrize("mu", [0.0, 2.0, 3.0, 0.05])  # solved in advance or not
def test_a_gate_alone_writes_gamma_v_c(extraction, mu):
    gate = Gate(0.7, mu)
    edit = build_edit(extraction, EditSettings(None, None, 0.5, gate=gate))
    assert_right(edit, plain_gate(extraction, gate))
    assert all(torch.equal(left, u) for left, u in zip(edit.left, extraction.directions.unit, strict=True))
    assert changed(edit) == everything(extraction)


def test_baked_steering_fires_on_every_text_of_the_behaviour(source):
    means = activation_means(source, source.inputs(1), source.inputs(2))
    directions = steering_directions(source, means)
    inputs = token_inputs(source, n_on=40)
    for rows in inputs.on:
        rows[:, 0] = 6.0  # some input is almost constant in every real model
    extraction = Extraction(means, directions, component_scores(source, means, directions), solve_keys(inputs))
    edit = build_edit(extraction, BAKED)
    for rows, right, norm in zip(inputs.on, edit.right, directions.norm, strict=True):
        close(rows.float() @ right, torch.full((len(rows),), 0.7 * float(norm)), 0.05)


def test_the_sum_of_two_families_is_the_sum_of_their_right_vectors(extraction):
    both, elastic, gated = (build_edit(extraction, settings) for settings in (BOTH, ELASTIC, GATED))
    assert_right(both, [a.double() + b.double() for a, b in zip(elastic.right, gated.right, strict=True)])
    assert changed(elastic) < changed(both)


def test_the_strength_has_the_sign_of_what_it_does_to_the_component(extraction):
    for settings in (GATED, BOTH):
        edit = build_edit(extraction, settings)
        signs = set()
        for i, site in enumerate(edit.spec.sites):
            for j, block in enumerate(edit.right[i].split(site.width)):
                amplified = float(block @ extraction.scores.keys[i][j]) >= 0
                assert (float(edit.strength[i][j]) > 0) == amplified
                signs.add(amplified)
        assert signs == {True, False}


def test_the_papers_edit_is_the_same_to_the_bit_with_and_without_texts(extraction):
    without = dataclasses.replace(extraction, token_inputs=None)
    for settings in (ELASTIC, dataclasses.replace(ELASTIC, strength=0.3, strengths={Component(0, 1): 2.0})):
        a, b = build_edit(extraction, settings), build_edit(without, settings)
        for name in ("left", "right", "strength"):
            pairs = zip(getattr(a, name), getattr(b, name), strict=True)
            assert all(torch.equal(x.view(torch.int32), y.view(torch.int32)) for x, y in pairs)
        assert a.provenance.harmless == b.provenance.harmless == ""


def test_the_harmless_texts_are_named_only_where_they_were_used(extraction):
    protected = dataclasses.replace(BAKED, protect=1)
    names = [build_edit(extraction, settings).provenance.harmless for settings in (BAKED, GATED, BOTH, protected)]
    assert names == ["", "harmless ones", "harmless ones", "harmless ones"]


def test_an_extraction_of_a_direction_that_is_zero_has_no_gate_there(extraction):
    norm, unit = extraction.directions.norm.clone(), list(extraction.directions.unit)
    norm[1], unit[1] = 0.0, torch.zeros_like(unit[1])
    directions = dataclasses.replace(extraction.directions, norm=norm, unit=tuple(unit))
    edit = build_edit(dataclasses.replace(extraction, directions=directions), GATED)
    assert 1 not in edit.edited_sites() and not edit.strength[1].any() and len(edit.edited_sites()) == 5


# --- multipliers


@pytest.mark.parametrize("settings", [GATED, BAKED, BOTH], ids=lambda s: s.family)
def test_strengths_multiply_the_whole_edit(extraction, settings):
    one, other = Component(0, 1), Component(3, 4)
    full = build_edit(extraction, settings)
    own = build_edit(extraction, dataclasses.replace(settings, strength=0.5, strengths={one: 3.0, other: 0.0}))
    expected = [0.5 * right.double() for right in full.right]
    width = extraction.spec.sites[0].width
    expected[0][width : 2 * width] *= 3
    expected[3][4] = 0
    assert_right(own, expected)
    assert changed(own) == changed(full) - {other}
    assert build_edit(extraction, dataclasses.replace(settings, strength=0.0)).is_empty


def test_the_gate_grows_with_gamma(extraction):
    double = build_edit(extraction, dataclasses.replace(GATED, gate=Gate(1.4, mu=2.0)))
    assert_right(double, [2 * right.double() for right in build_edit(extraction, GATED).right])


# --- the selection

CHOICES = [
    Selection(only=frozenset({Component(0, 1), Component(0, 3), Component(5, 7)})),
    Selection(only=frozenset()),
    Selection(excluded=frozenset({Component(0, 0), Component(3, 9)})),
    Selection(layers=(1, 1)),
    Selection(layers=(2, 1)),
    Selection(only=frozenset({Component(1, 2)}), included=frozenset({Component(4, 0)}), layers=(0, 0)),
    Selection(frozenset({Component(2, 0)}), frozenset({Component(2, 1)}), frozenset({Component(2, 1)}), (1, 2)),
]


def allowed_by(selection: Selection, extraction: Extraction) -> set[Component]:
    """The rule, one component at a time."""
    found = set()
    for component in everything(extraction):
        first, last = selection.layers or (0, 99)
        inside = first <= extraction.spec.sites[component.site].layer <= last
        chosen = inside and (selection.only is None or component in selection.only)
        if (chosen or component in selection.included) and component not in selection.excluded:
            found.add(component)
    return found


@pytest.mark.parametrize("selection", CHOICES)
def test_a_selection_is_solved_on_its_inputs_alone(extraction, selection):
    edit = build_edit(extraction, dataclasses.replace(GATED, selection=selection))
    allowed = allowed_by(selection, extraction)
    assert_right(edit, plain_gate(extraction, GATED.gate, allowed))
    assert changed(edit) == allowed


@pytest.mark.parametrize("size", [None, 1, 6, 500])
@pytest.mark.parametrize("selection", [Selection(), *CHOICES])
@pytest.mark.parametrize("settings", [ELASTIC, GATED, BOTH], ids=lambda s: s.family)
def test_the_mask_is_what_the_edit_changes(extraction, settings, selection, size):
    gate = settings.gate and dataclasses.replace(settings.gate, size=size)
    settings = dataclasses.replace(settings, selection=selection, gate=gate)
    assert selected(edited_mask(extraction, settings)) == changed(build_edit(extraction, settings))


def test_a_kind_whose_paper_formula_is_off_still_has_a_gate(extraction):
    edit = build_edit(extraction, dataclasses.replace(BOTH, rho_attn=None))
    gated = build_edit(extraction, GATED)
    for i in extraction.spec.of_kind("heads"):
        close(edit.right[i], gated.right[i])


@pytest.mark.parametrize("component", [Component(0, -1), Component(99, 0), Component(0, 999)])
def test_a_component_that_the_model_does_not_have_is_refused(extraction, component):
    for change in (
        {"strengths": {component: 2.0}},
        *({"selection": Selection(**{role: frozenset({component})})} for role in ("only", "included", "excluded")),
    ):
        for gate in (Gate(1.0), Gate(1.0, size=2)):
            with pytest.raises(SettingsError, match=f"component {component.index} of site {component.site}, which"):
                build_edit(extraction, dataclasses.replace(GATED, gate=gate, **change))


# --- a size


def carried_by_hand(extraction: Extraction, gate: Gate, allowed: set[Component]) -> dict[Component, float]:
    """|mean over the behaviour's tokens of a_i . x_i|, one component at a time."""
    vectors, carried = plain_gate(extraction, gate, allowed), {}
    for component in allowed:
        width = extraction.spec.sites[component.site].width
        block = slice(component.index * width, (component.index + 1) * width)
        rows = extraction.token_inputs.on[component.site].double()[:, block]
        carried[component] = abs(sum(float(row @ vectors[component.site][block]) for row in rows) / len(rows))
    return carried


@pytest.mark.parametrize("size", [1, 3, 20, 41, 42, 1000])
@pytest.mark.parametrize("mu", [0.0, 2.0])
def test_a_gate_with_a_size_keeps_the_components_that_carry_most_and_is_solved_on_them(extraction, size, mu):
    gate = Gate(0.7, mu, size)
    carried = carried_by_hand(extraction, gate, everything(extraction))
    strongest = set(sorted(carried, key=carried.__getitem__, reverse=True)[:size])
    settings = EditSettings(None, None, 0.5, gate=gate)
    assert selected(gate_masks(extraction, settings)) == strongest
    edit = build_edit(extraction, settings)
    assert changed(edit) == strongest and len(strongest) == min(size, 42)
    assert edit.count("heads") + edit.count("neurons") == len(strongest)
    assert_right(edit, plain_gate(extraction, gate, strongest))


def test_a_size_counts_only_what_the_selection_allows(extraction):
    selection = Selection(layers=(1, 2), excluded=frozenset({Component(2, 0)}), included=frozenset({Component(0, 2)}))
    allowed = allowed_by(selection, extraction)
    carried = carried_by_hand(extraction, GATED.gate, allowed)
    settings = dataclasses.replace(GATED, selection=selection, gate=Gate(0.7, 2.0, size=5))
    expected = set(sorted(carried, key=carried.__getitem__, reverse=True)[:5])
    assert changed(build_edit(extraction, settings)) == expected


def test_a_size_is_kept_exactly_also_if_some_components_carry_nothing(extraction):
    on = tuple(torch.zeros_like(rows) for rows in extraction.token_inputs.on)
    on[5][:] = extraction.token_inputs.on[5]
    inputs = dataclasses.replace(extraction.token_inputs, on=on, mus=(), keys=())
    selection = Selection(layers=(1, 2))  # 28 components, of which 10 have an input
    settings = dataclasses.replace(BAKED, selection=selection, gate=Gate(1.0, size=15))
    chosen = selected(gate_masks(dataclasses.replace(extraction, token_inputs=inputs), settings))
    assert len(chosen) == 15 and {Component(5, j) for j in range(10)} <= chosen
    assert all(extraction.spec.sites[site].layer in (1, 2) for site, _ in chosen)


def test_a_size_limits_the_gate_and_not_the_elastic_net(extraction):
    settings = dataclasses.replace(BOTH, gate=Gate(0.7, 2.0, size=2))
    gated = build_edit(extraction, dataclasses.replace(GATED, gate=settings.gate))
    elastic = build_edit(extraction, ELASTIC)
    both = build_edit(extraction, settings)
    assert changed(both) == changed(elastic) | changed(gated)
    assert_right(both, [a.double() + b.double() for a, b in zip(elastic.right, gated.right, strict=True)])


# --- protection and texts


@pytest.mark.parametrize("settings", [ELASTIC, GATED, BAKED, BOTH], ids=lambda s: s.family)
def test_protection_makes_any_edit_silent_on_the_strongest_harmless_directions(extraction, settings):
    plain = build_edit(extraction, settings)
    protected = build_edit(extraction, dataclasses.replace(settings, protect=3))
    off = [rows.float() for rows in extraction.token_inputs.off]
    assert_right(protected, [plain_silence(a, rows, 3) for a, rows in zip(plain.right, off, strict=True)])
    assert changed(protected) == changed(plain)
    loudness = [
        sum(float((rows @ a).square().sum()) for a, rows in zip(edit.right, off, strict=True))
        for edit in (plain, protected)
    ]
    assert loudness[1] < loudness[0]


def test_protecting_nothing_changes_nothing(extraction):
    edit = build_edit(extraction, dataclasses.replace(ELASTIC, protect=0))
    pairs = zip(edit.right, build_edit(extraction, ELASTIC).right, strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_extraction_without_texts_says_so_and_what_to_do(extraction):
    bare = dataclasses.replace(extraction, token_inputs=None)
    cases = {
        BAKED: "with baked steering is fitted on texts.*Use the elastic net",
        BOTH: r"with elastic net \+ gated steering is fitted.*Use the elastic net",
        dataclasses.replace(ELASTIC, protect=2): "with protect is fitted on texts.*Set protect to 0",
    }
    for settings, sentence in cases.items():
        with pytest.raises(SettingsError, match=sentence):
            build_edit(bare, settings)
    with pytest.raises(SettingsError, match="fitted on texts"):
        edited_mask(bare, dataclasses.replace(BAKED, gate=Gate(1.0, size=3)))
    assert selected(edited_mask(bare, GATED)) == everything(extraction)  # the selection itself needs none


def test_without_harmless_texts_there_is_baked_steering_alone(extraction, source):
    inputs = solve_keys(token_inputs(source, n_off=0))
    assert inputs.mus == (0.0,)
    bare = dataclasses.replace(extraction, token_inputs=inputs)
    assert_right(build_edit(bare, BAKED), plain_gate(bare, BAKED.gate))
    for settings in (GATED, dataclasses.replace(BAKED, protect=1), dataclasses.replace(ELASTIC, protect=1)):
        with pytest.raises(SettingsError, match="no harmless texts.*Set mu and protect to 0"):
            build_edit(bare, settings)


def test_gates_that_are_not_solved_in_advance_are_the_same(extraction):
    bare = dataclasses.replace(extraction, token_inputs=dataclasses.replace(extraction.token_inputs, mus=(), keys=()))
    for mu in MUS:
        settings = dataclasses.replace(GATED, gate=Gate(1.0, mu))
        pairs = zip(build_edit(bare, settings).right, build_edit(extraction, settings).right, strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_token_inputs_that_do_not_fit_the_model_are_refused(source):
    good = token_inputs(source)
    for change in (
        {"on": good.on[:-1]},
        {"off": (*good.off[:-1], good.off[0])},
        {"mus": (0.0,)},
        {"mus": (0.0, 1.0), "keys": tuple(rows[:1].float() for rows in good.on)},
    ):
        with pytest.raises(ValueError):
            dataclasses.replace(good, **change)


# --- what is said of it


def test_mean_firing_is_what_every_component_adds_on_average(extraction):
    edit, inputs = build_edit(extraction, BOTH), extraction.token_inputs
    for i, (on, off) in enumerate(mean_firing(inputs, edit.right)):
        width = edit.spec.sites[i].width
        for found, rows in ((on, inputs.on[i]), (off, inputs.off[i])):
            products = rows.double() * edit.right[i].double()
            close(found, torch.stack([block.sum() / len(rows) for block in products.split(width, dim=1)]))
            close(found.sum(), (rows.double() @ edit.right[i].double()).mean(), 1e-4)


@pytest.mark.parametrize("settings", [GATED, BOTH, dataclasses.replace(GATED, protect=2)])
def test_summaries_measure_the_whole_change_against_the_weights(extraction, source, settings):
    edit = build_edit(extraction, settings)
    changes = [torch.outer(u, a) for u, a in zip(edit.left, edit.right, strict=True)]
    ratios = []
    for i, site in enumerate(edit.spec.sites):
        blocks = zip(changes[i].split(site.width, dim=1), source.weight(i).split(site.width, dim=1), strict=True)
        ratios.append(torch.stack([change.norm() / weight.norm() for change, weight in blocks]))
        close(relative_changes(extraction.scores, edit)[i], ratios[-1])
    summary = summarize(extraction.scores, edit)
    whole = torch.cat([c.flatten() for c in changes]).norm() / torch.cat([w.flatten() for w in source.weights]).norm()
    assert summary.relative_size == pytest.approx(float(whole), rel=1e-5)
    assert summary.largest_change == pytest.approx(float(torch.cat(ratios).max()), rel=1e-5)
    assert (summary.n_heads, summary.n_neurons, summary.n_layers) == (12, 30, 3)


def test_a_summary_of_a_gate_of_few_components_counts_those(extraction):
    summary = summarize(
        extraction.scores, build_edit(extraction, dataclasses.replace(GATED, gate=Gate(1.0, 2.0, size=4)))
    )
    assert summary.n_heads + summary.n_neurons == 4 and 1 <= summary.n_layers <= 3
