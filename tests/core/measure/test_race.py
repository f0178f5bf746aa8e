"""The race: its arms, the placebo, and that a stopped one does not screen again."""

from dataclasses import replace

import pytest
import torch

from s2e_core import Edited, EditSettings, Original, SettingsError, build_edit, extract, load_behavior
from s2e_core.data import behavior_gate_texts
from s2e_core.measure import (
    MATCHED_ARM,
    PLACEBO_ARM,
    PROMPT_ARM,
    STEERING_ARM,
    SearchPlan,
    Trial,
    measure_arms,
    next_token_kl,
    placebo,
    run_race,
    sweep_results,
)
from s2e_core.measure.matching import steering_at_kl
from s2e_core.measure.race import GROUPS, group_of
from s2e_core.measure.screen_file import load_screened, save_screened
from s2e_core.settings import Gate
from s2e_core.values import Example, Prompted, Steered
from tests.core.chain import MANY

BUDGET = {"n_trials": 10, "shortlist": 8, "gammas": (0.5, 1.0), "prompts": 3, "finalists": 1, "samples": 1}


@pytest.fixture(scope="module")
def behavior():
    rows = tuple(
        {"prompt": f"How are you on day {n}?", "kind": "length", "split": "development" if n < 6 else "test"}
        for n in range(12)
    )
    known = replace(load_behavior("tone"), name="mood", contrast=MANY, attribute=rows, utility=rows, max_new_tokens=6)
    return replace(known, settings=None, gamma=0.7, system_prompt="Be brief.")


@pytest.fixture(scope="module")
def extraction(llama, behavior):
    return extract(llama, MANY, texts=behavior_gate_texts(behavior))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("race")


@pytest.fixture(scope="module")
def race(llama, extraction, behavior, folder):
    return run_race(llama, extraction, SearchPlan(behavior, floor=0.2, **BUDGET), path=folder, n_neutral=2)


def test_every_arm_that_keeps_the_floor_is_measured_beside_the_untouched_model_a_prompt_and_a_placebo(race):
    chosen = [group for group, trial in race.chosen.items() if trial is not None]
    assert set(race.chosen) == set(GROUPS) and race.best in chosen
    assert set(race.arms) == {"original", PROMPT_ARM, *chosen, PLACEBO_ARM}
    assert isinstance(race.arms["original"].variant, Original)
    assert race.arms[PROMPT_ARM].variant.system == "Be brief."
    for group in chosen:
        assert group_of(race.chosen[group]) == group
    assert race.lead is race.arms[race.best].against[STEERING_ARM]


def test_where_the_kl_decides_steering_is_also_measured_at_the_kl_of_the_best_edit(race, llama, extraction, behavior):
    plan, best = SearchPlan(behavior, floor=0.2, **BUDGET), race.chosen[race.best]
    arms = measure_arms(llama, extraction, plan, race.chosen, best, match=True, n_neutral=2)
    assert set(arms) == {*race.arms, MATCHED_ARM} and race.lead_at_kl is None
    edit, matched = arms[race.best], arms[MATCHED_ARM]
    assert matched.next_token_kl.value == pytest.approx(edit.next_token_kl.value, rel=0.031)
    again = replace(race, arms=arms)
    assert again.lead_at_kl is edit.against[MATCHED_ARM]
    assert again.lead_at_kl.value == pytest.approx(edit.result.attribute.value - matched.result.attribute.value)


def test_a_race_measures_it_by_itself_where_shares_of_utility_are_not_told(
    llama, extraction, behavior, tmp_path, monkeypatch
):
    monkeypatch.setattr("s2e_core.measure.plan.MOST_ERROR", -1.0)
    race = run_race(llama, extraction, SearchPlan(behavior, floor=0.2, **BUDGET), path=tmp_path, n_neutral=2)
    assert race.best is not None and MATCHED_ARM in race.arms
    assert race.lead_at_kl is race.arms[race.best].against[MATCHED_ARM]


def test_steering_is_found_by_its_kl(llama, extraction):
    texts = [Example("How are you?", "I am well and you are well."), Example("Tell me a word.", "A word is a word.")]
    for gamma in (0.05, 0.4, 1.5):
        (measured,) = next_token_kl(llama, [Steered(extraction.directions, gamma)], texts)
        found = steering_at_kl(llama, extraction.directions, measured.value, texts)
        (again,) = next_token_kl(llama, [Steered(extraction.directions, found)], texts)
        assert again.value == pytest.approx(measured.value, rel=0.031)
    assert steering_at_kl(llama, extraction.directions, measured.value, texts, start=10.0) is not None
    for out_of_reach in (0.0, 1000.0):
        assert steering_at_kl(llama, extraction.directions, out_of_reach, texts) is None


def test_every_choice_is_among_the_run_off_and_of_the_best_no_other_edit_is_better(race):
    results = [r for r in sweep_results(race.finals) if r.trial.arm == "edit" and r.kept.value >= race.floor]
    safe = [r for r in results if r.kept.value - (r.kept.value - r.kept.low) / 1.96 >= race.floor] or results
    best = min(r.attribute.value for r in safe)  # fewer tokens are better
    assert next(r for r in results if r.trial is race.chosen[race.best]).attribute.value == best


def test_the_system_prompt_is_asked_before_the_prompt(race):
    assert isinstance(race.arms[PROMPT_ARM].variant, Prompted)
    assert race.arms[PROMPT_ARM].next_token_kl.value > 0 == race.arms["original"].next_token_kl.value


@pytest.mark.parametrize(
    "settings",
    [EditSettings(0.3, 0.3, 0.5), EditSettings(None, None, 0.5, gate=Gate(0.8, 1.0, size=5))],
    ids=["elastic net", "gate"],
)
def test_a_placebo_has_as_many_components_of_each_kind_and_the_same_size_elsewhere(extraction, settings):
    edit = build_edit(extraction, settings)
    other = placebo(edit, extraction.scores, seed=0)
    for kind in ("heads", "neurons"):
        assert other.count(kind) == edit.count(kind)
        sites = edit.spec.of_kind(kind)
        ours, theirs = (torch.cat([one.strength[i] for i in sites]) for one in (edit, other))
        assert torch.equal(ours.sort().values, theirs.sort().values)
    sizes = [sum(float(right.square().sum()) for right in one.right) for one in (edit, other)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-4)
    assert any(not torch.equal(a, b) for a, b in zip(edit.strength, other.strength, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(edit.left, other.left, strict=True))


def test_a_race_that_is_run_again_screens_nothing_and_finds_the_same(race, llama, extraction, behavior, folder):
    before = (folder / "screen.json").stat().st_mtime_ns
    again = run_race(llama, extraction, SearchPlan(behavior, floor=0.2, **BUDGET), path=folder, n_neutral=2)
    assert (folder / "screen.json").stat().st_mtime_ns == before
    assert {g: t and t.label for g, t in again.chosen.items()} == {g: t and t.label for g, t in race.chosen.items()}
    for arm, evaluation in race.arms.items():
        assert again.arms[arm].result.attribute.value == evaluation.result.attribute.value


def test_a_screen_of_something_else_or_a_damaged_one_is_made_again(race, llama, tmp_path):
    path, about = tmp_path / "screen.json", {"version": 1, "trials": [1, 2]}
    save_screened(path, about, race.screened)
    known = load_screened(path, about, llama.spec)
    assert [each.trial.label for each in known] == [each.trial.label for each in race.screened]
    assert [each.figures.kl.value for each in known] == [each.figures.kl.value for each in race.screened]
    assert load_screened(path, {**about, "version": 2}, llama.spec) is None
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert load_screened(path, about, llama.spec) is None
    assert load_screened(tmp_path / "none.json", about, llama.spec) is None


def test_a_behaviour_without_held_out_prompts_cannot_race(llama, extraction, behavior):
    rows = tuple({**row, "split": "development"} for row in behavior.attribute)
    unsplit = replace(behavior, attribute=rows, utility=rows)
    with pytest.raises(SettingsError, match="held-out prompts"):
        run_race(llama, extraction, SearchPlan(unsplit, floor=0.2, **BUDGET))


def test_a_trial_of_a_system_prompt_is_an_arm_of_its_own():
    assert Trial(system="Be brief.").arm == "prompt"
    with pytest.raises(SettingsError):
        Trial(gamma=1.0, system="Be brief.")


def test_an_edited_arm_runs_its_own_settings(race):
    variant = race.arms[race.best].variant
    assert isinstance(variant, Edited) and variant.edit.settings is race.chosen[race.best].settings
