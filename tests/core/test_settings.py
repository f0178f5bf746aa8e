"""The dials of an edit: their ranges, the name of their family, and JSON that gives the same settings back."""

import json
from dataclasses import replace
from types import MappingProxyType

import pytest

from s2e_core import Component, EditSettings, S2EError, Selection, SettingsError
from s2e_core.settings import Gate
from s2e_core.settings_json import settings_from_json, settings_to_json
from tests.core.matrices import Matrices

PAPER = EditSettings(0.3, None, 0.5)
SPEC = Matrices.random().spec


def through_json(settings):
    return settings_from_json(json.loads(json.dumps(settings_to_json(settings), allow_nan=False)), SPEC)


@pytest.mark.parametrize(
    "values",
    [
        {"gamma": 0.0},
        {"gamma": -1.0},
        {"gamma": float("inf")},
        {"gamma": float("nan")},
        {"gamma": 1.0, "mu": -0.1},
        {"gamma": 1.0, "mu": float("inf")},
        {"gamma": 1.0, "mu": float("nan")},
        {"gamma": 1.0, "size": 0},
        {"gamma": 1.0, "size": -3},
    ],
)
def test_a_gate_outside_the_formulas_range_is_refused_with_a_sentence(values):
    with pytest.raises(SettingsError, match=r"(gamma|mu|limited).*use "):
        Gate(**values)


def test_a_negative_number_of_protected_directions_is_refused():
    with pytest.raises(SettingsError, match="use 0 or more"):
        EditSettings(0.3, 0.3, 0.5, protect=-1)


@pytest.mark.parametrize(
    ("settings", "family", "needs_texts", "needs_harmless"),
    [
        (PAPER, "elastic net", False, False),
        (EditSettings(None, None, 0.5), "elastic net", False, False),
        (EditSettings(None, None, 0.5, gate=Gate(1.0)), "baked steering", True, False),
        (EditSettings(None, None, 0.5, gate=Gate(1.0, 3.0)), "gated steering", True, True),
        (replace(PAPER, gate=Gate(1.0)), "elastic net + baked steering", True, False),
        (replace(PAPER, gate=Gate(1.0, 1e-9)), "elastic net + gated steering", True, True),
        (replace(PAPER, protect=1), "elastic net", True, True),
        (EditSettings(None, None, 0.5, gate=Gate(1.0), protect=2), "baked steering", True, True),
    ],
)
def test_the_family_and_what_it_is_fitted_on(settings, family, needs_texts, needs_harmless):
    assert settings.family == family
    assert (settings.needs_texts, settings.needs_harmless) == (needs_texts, needs_harmless)
    assert settings.has_elastic_net == (settings.rho_attn is not None)


@pytest.mark.parametrize("gate", [None, Gate(0.1 + 0.2), Gate(1e-9, 1 / 3, 7), Gate(12.0, 1e6)])
@pytest.mark.parametrize("protect", [0, 5])
def test_settings_pass_through_json_without_loss(gate, protect):
    selection = Selection(frozenset({Component(0, 1)}), frozenset({Component(1, 2)}), frozenset(), (0, 2))
    strengths = MappingProxyType({Component(0, 1): 0.3})
    settings = EditSettings(0.1 + 0.2, None, 1 / 3, 1.7, selection, strengths, gate, protect)
    read = through_json(settings)
    assert vars(read) | {"selection": 0, "gate": 0} == vars(settings) | {"selection": 0, "gate": 0}
    assert vars(read.selection) == vars(selection)
    assert (read.gate and vars(read.gate)) == (gate and vars(gate))


def test_settings_of_the_paper_have_the_keys_that_they_always_had():
    keys = ["rho_attn", "rho_mlp", "alpha", "strength", "strengths", "only", "included", "excluded", "layers"]
    assert list(settings_to_json(PAPER)) == keys
    assert through_json(PAPER).gate is None and through_json(PAPER).protect == 0
    assert list(settings_to_json(replace(PAPER, gate=Gate(1.0), protect=1))) == [*keys, "gate", "protect"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"gate": {}},
        {"gate": []},
        {"gate": 3},
        {"gate": "baked"},
        {"gate": {"gamma": 1.0, "mu": 0.0}},
        {"gate": {"gamma": None, "mu": 0.0, "size": None}},
        {"gate": {"gamma": -1.0, "mu": 0.0, "size": None}},
        {"gate": {"gamma": 1.0, "mu": float("nan"), "size": None}},
        {"gate": {"gamma": 1.0, "mu": 0.0, "size": 0}},
        {"gate": {"gamma": 1.0, "mu": 0.0, "size": 2.5}},
        {"gate": {"gamma": 1.0, "mu": 0.0, "size": float("inf")}},
        {"protect": None},
        {"protect": -1},
        {"protect": 0.5},
        {"protect": "many"},
    ],
)
def test_damaged_entries_are_an_error_and_no_other_settings(wrong):
    with pytest.raises((KeyError, TypeError, ValueError, OverflowError, S2EError)):
        settings_from_json(settings_to_json(PAPER) | wrong, SPEC)
