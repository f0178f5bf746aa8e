"""Rows of the CSV of a sweep: the dials of every family have their columns."""

import pytest

from s2e_core import EditSettings
from s2e_core.measure import SWEEP_COLUMNS, Estimate, Result, Trial, result_to_row
from s2e_core.settings import Gate

FIGURE = Estimate(0.5, 0.4, 0.6, 10)
DIALS = ("rho_attn", "rho_mlp", "alpha", "strength", "gamma", "gate_gamma", "mu", "gate_size", "protect")


def row(trial, split="test", stage=""):
    flaws = dict.fromkeys(("empty", "repeated", "off-topic"), FIGURE)
    result = Result(trial, FIGURE, FIGURE, FIGURE, FIGURE, flaws, flaws, {})
    return result_to_row(result, split, (1, 2), {"pareto_front": 1, "recommended": 0}, stage)


@pytest.mark.parametrize(
    ("trial", "dials"),
    [
        (Trial(), {}),
        (Trial(gamma=0.5), {"gamma": 0.5}),
        (Trial(EditSettings(0.3, None, 0.5)), {"rho_attn": 0.3, "rho_mlp": None, "alpha": 0.5, "strength": 1.0}),
        (
            Trial(EditSettings(0.3, None, 0.5, gate=Gate(0.4, 3.0, 100), protect=8)),
            {
                **{"rho_attn": 0.3, "rho_mlp": None, "alpha": 0.5, "strength": 1.0},
                **{"gate_gamma": 0.4, "mu": 3.0, "gate_size": 100, "protect": 8},
            },
        ),
    ],
    ids=["original", "steering", "elastic net", "sum"],
)
def test_a_row_has_the_dials_of_its_trial_and_no_others(trial, dials):
    found = row(trial)
    assert found.keys() <= set(SWEEP_COLUMNS)
    assert {name: found[name] for name in DIALS if name in found} == dials


def test_a_row_names_the_stage_of_its_prompts():
    splits = {split: row(Trial(), split)["stage"] for split in ("development", "test")}
    assert splits == {"development": "development", "test": "held-out"}
    assert row(Trial(), "development", "run-off")["stage"] == "run-off"
