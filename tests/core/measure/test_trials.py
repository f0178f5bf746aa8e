"""What is tried: grids, an edit taken apart, labels, and trials as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch

from s2e_core import Component, Edited, EditSettings, Original, Selection, SettingsError, Steered, build_edit
from s2e_core.measure import (
    PAPER_ALPHA,
    PAPER_RHO_ATTN,
    PAPER_RHO_MLP,
    Trial,
    edit_grid,
    leave_one_out,
    progressive,
    steering_grid,
)
from s2e_core.measure.trials import trial_from_json, trial_key, trial_to_json, trial_variant
from s2e_core.settings import Gate
from tests.core.chain import SETTINGS, chain


@pytest.fixture(scope="module")
def made(llama):
    return chain(llama)


def strengths(made, trial):
    """{component: lambda} of everything a trial changes."""
    edit = build_edit(made.extraction, trial.settings)
    return {
        (site, index): value
        for site, column in enumerate(edit.strength)
        for index, value in enumerate(column.tolist())
        if value
    }


def with_choices_by_hand(made):
    """Settings under which a component below the threshold was chosen by hand, and a strong one was left out."""
    plain = strengths(made, Trial(SETTINGS))
    site = made.scores.spec.of_kind("neurons")[0]
    weak = next(i for i in range(made.scores.spec.sites[site].n_components) if (site, i) not in plain)
    strong = Component(*max(plain, key=lambda component: abs(plain[component])))
    chosen = Selection(included=frozenset({Component(site, weak)}), excluded=frozenset({strong}))
    return replace(SETTINGS, selection=chosen, strengths=MappingProxyType({Component(site, weak): 0.5})), (site, weak)


def test_the_papers_grid_has_125_settings_and_15_steering_strengths():
    grid = edit_grid()
    dials = {(t.settings.rho_attn, t.settings.rho_mlp, t.settings.alpha, t.settings.strength) for t in grid}
    assert len(grid) == len(dials) == 125
    assert dials == {(a, m, x, 1.0) for a in PAPER_RHO_ATTN for m in PAPER_RHO_MLP for x in PAPER_ALPHA}
    assert [trial.gamma for trial in steering_grid()] == [round(n / 10, 1) for n in range(1, 16)]
    assert {trial.arm for trial in grid} == {"edit"}
    assert {trial.arm for trial in steering_grid()} == {"steering"}


def test_a_grid_may_switch_a_kind_off_but_never_both():
    grid = edit_grid([None, 0.2], [None, 0.5], [0.4], [1.0, 2.0])
    dials = [(t.settings.rho_attn, t.settings.rho_mlp, t.settings.strength) for t in grid]
    assert dials == [
        (None, 0.5, 1.0),
        (None, 0.5, 2.0),
        (0.2, None, 1.0),
        (0.2, None, 2.0),
        (0.2, 0.5, 1.0),
        (0.2, 0.5, 2.0),
    ]


def test_a_trial_runs_the_untouched_model_its_edit_or_its_steering(made):
    assert isinstance(trial_variant(Trial(), made.extraction), Original)
    steered = trial_variant(Trial(gamma=0.7), made.extraction)
    assert isinstance(steered, Steered)
    assert (steered.directions, steered.gamma) == (made.directions, 0.7)
    edited = trial_variant(Trial(SETTINGS), made.extraction)
    assert isinstance(edited, Edited)
    assert all(torch.equal(a, b) for a, b in zip(edited.edit.right, made.edit.right, strict=True))


def test_a_trial_is_an_edit_or_steering_and_says_so_where_it_is_both():
    assert [trial.arm for trial in (Trial(), Trial(SETTINGS), Trial(gamma=0.0))] == ["original", "edit", "steering"]
    assert Trial(system="Be kind.").arm == "prompt"
    for options in ({"gamma": 0.5}, {"system": "Be kind."}):
        with pytest.raises(SettingsError, match="Give settings, gamma or system"):
            Trial(SETTINGS, **options)
    with pytest.raises(SettingsError, match="Give settings, gamma or system"):
        Trial(gamma=0.5, system="Be kind.")


@pytest.mark.parametrize("gamma", [float("nan"), float("inf")])
def test_a_steering_strength_is_a_finite_number(gamma):
    with pytest.raises(SettingsError, match="finite number"):
        Trial(gamma=gamma)


def test_labels_name_the_dials_and_a_name_comes_first():
    assert Trial().label == "original"
    assert Trial(gamma=0.3).label == "steering γ = 0.3"
    assert Trial(EditSettings(0.3, None, 0.5, strength=2)).label == "ρ attn 0.3, ρ mlp off, α 0.5, strength 2"
    assert Trial(SETTINGS, name="mine").label == "mine"
    assert Trial(system="Be kind.").label == "system prompt"


GATES = {
    "γ 0.5, μ 10, 100 components": EditSettings(None, None, 0.5, gate=Gate(0.5, 10, 100)),
    "γ 0.5, μ 0, 1 component": EditSettings(None, None, 0.5, gate=Gate(0.5, size=1)),
    "γ 0.5, μ 0.3, protect 8, strength 2": EditSettings(None, None, 0, strength=2, gate=Gate(0.5, 0.3), protect=8),
    "ρ attn 0.3, ρ mlp off, α 0.5 + γ 1, μ 3, strength 1": EditSettings(0.3, None, 0.5, gate=Gate(1, 3)),
    "ρ attn off, ρ mlp 0.4, α 0.5, protect 2, strength 1": EditSettings(None, 0.4, 0.5, protect=2),
}


@pytest.mark.parametrize("label", GATES)
def test_labels_name_the_dials_of_every_family(label):
    trial = Trial(GATES[label])
    assert trial.label == label and trial.short_label == label.removesuffix(", strength 1")


@pytest.mark.parametrize("label", GATES)
def test_a_trial_with_a_gate_is_known_by_its_file(made, label):
    trial = Trial(GATES[label])
    back = trial_from_json(json.loads(json.dumps(trial_to_json(trial))), made.scores.spec)
    assert back.settings.family == trial.settings.family and back.label == label
    if trial.settings.strength == 1:
        assert trial_key(back) == trial_key(trial)
    others = [trial_key(Trial(settings)) for name, settings in GATES.items() if name != label]
    assert trial_key(trial) not in others


def test_the_progressive_edit_starts_with_the_strongest_and_ends_with_the_whole(made):
    whole = strengths(made, Trial(SETTINGS))
    ranked = sorted(whole, key=lambda component: -abs(whole[component]))
    trials = progressive(made.edit)
    parts = [strengths(made, trial) for trial in trials]
    assert [len(part) for part in parts] == [*(2**n for n in range(20) if 2**n < len(whole)), len(whole)]
    for part in parts:
        assert part == {component: whole[component] for component in part}
        assert sorted(map(abs, part.values())) == sorted(abs(whole[c]) for c in ranked[: len(part)])
    assert parts[-1] == whole
    assert trials[0].label == "1 component"
    assert trials[-1].label == f"{len(whole)} components"


def test_the_numbers_of_components_can_be_chosen(made):
    assert [len(strengths(made, trial)) for trial in progressive(made.edit, [3, 5])] == [3, 5]


def test_taken_apart_what_was_chosen_by_hand_keeps_its_lambda_and_what_was_left_out_stays_out(made):
    settings, by_hand = with_choices_by_hand(made)
    edit = build_edit(made.extraction, settings)
    whole = strengths(made, Trial(settings))
    assert by_hand in whole
    for trial in progressive(edit):
        part = strengths(made, trial)
        assert part == {component: whole[component] for component in part}
    assert part == whole
    for trial, component in zip(leave_one_out(edit, most=10**6), _ranked(whole), strict=True):
        assert strengths(made, trial) == {other: value for other, value in whole.items() if other != component}


def _ranked(values):
    return sorted(values, key=lambda component: (-abs(values[component]), component))


def test_one_of_the_strongest_components_is_left_out_at_a_time(made):
    whole = strengths(made, Trial(SETTINGS))
    trials = leave_one_out(made.edit, most=4)
    left_out = [set(whole) - set(strengths(made, trial)) for trial in trials]
    assert left_out == [{component} for component in _ranked(whole)[:4]]
    site, index = _ranked(whole)[0]
    kind = made.scores.spec.sites[site].kind.removesuffix("s")
    assert trials[0].label == f"without {kind} {index} of layer {made.scores.spec.sites[site].layer}"


def test_trials_come_back_from_json_as_they_went(made):
    spec = made.scores.spec
    settings, _ = with_choices_by_hand(made)
    narrow = Selection(only=frozenset({Component(0, 1), Component(1, 5)}), layers=(0, 1))
    edits = [
        SETTINGS,
        settings,
        EditSettings(None, 0.2, 0.0, strength=3.0, selection=narrow),
        EditSettings(0.1, None, 0.9),
    ]
    trials = [
        Trial(),
        Trial(name="base"),
        Trial(gamma=0.1),
        Trial(system="Be kind."),
        *map(Trial, edits),
        *progressive(made.edit),
    ]
    for trial in trials:
        back = trial_from_json(json.loads(json.dumps(trial_to_json(trial))), spec)
        assert (back.arm, back.gamma, back.name, back.label) == (trial.arm, trial.gamma, trial.name, trial.label)
        assert back.system == trial.system
        assert trial_to_json(back) == trial_to_json(trial)
        if trial.settings is None:
            assert back.settings is None
            continue
        fields = ("rho_attn", "rho_mlp", "alpha", "strength", "strengths")
        assert [getattr(back.settings, name) for name in fields] == [getattr(trial.settings, name) for name in fields]
        for name in ("only", "included", "excluded", "layers"):
            assert getattr(back.settings.selection, name) == getattr(trial.settings.selection, name)
        assert strengths(made, back) == strengths(made, trial)


@pytest.mark.parametrize(
    "change",
    [
        {"included": [[0, 999]]},
        {"excluded": [[99, 0]]},
        {"only": [[-1, 0]]},
        {"strengths": [[0, 4, 1.0]]},
        {"alpha": None},
        {"layers": [1]},
        {"rho_mlp": "much"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_trial_that_does_not_fit_the_model_or_lacks_a_number_is_not_read(made, change):
    entry = json.loads(json.dumps(trial_to_json(Trial(SETTINGS))))
    entry["settings"] |= change
    with pytest.raises((KeyError, TypeError, ValueError, IndexError)):
        trial_from_json(entry, made.scores.spec)


def test_a_trial_without_one_of_its_dials_is_not_read(made):
    entry = trial_to_json(Trial(SETTINGS))
    del entry["settings"]["alpha"]
    with pytest.raises(KeyError):
        trial_from_json(entry, made.scores.spec)
