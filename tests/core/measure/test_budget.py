"""What a search tries by default: less where an answer takes long."""

from dataclasses import asdict

from s2e_core import load_behavior
from s2e_core.measure import SHORT_BUDGET, SearchBudget, SearchPlan, budget, search_budget


def test_the_usual_budget_is_that_of_the_plan(bundled):
    plan = SearchPlan(load_behavior("tone"))
    usual = search_budget(bundled)
    assert {name: getattr(plan, name) for name in asdict(usual)} == asdict(usual) == asdict(SearchBudget())


def test_a_large_model_on_a_cpu_tries_less_of_everything_but_never_nothing(bundled, monkeypatch):
    monkeypatch.setattr(budget, "SMALL_MODEL", 1_000)
    short, usual = asdict(search_budget(bundled)), asdict(SearchBudget())
    assert short == asdict(SHORT_BUDGET)
    SearchPlan(load_behavior("tone"), **short)
    gammas = short.pop("gammas")
    assert 3 <= len(gammas) < len(usual["gammas"]) and set(gammas) <= set(usual["gammas"])
    assert usual.pop("held_out") is None and short.pop("held_out") >= 30
    assert all(1 <= value <= usual[name] for name, value in short.items()) and short["n_trials"] < usual["n_trials"]
