"""The search for a good edit: what it screens, what it chooses on which prompts, and that it can be stopped."""

import threading
from dataclasses import asdict, replace
from functools import partial

import pytest

from s2e_core import Cancelled, EditSettings, SettingsError, extract, find_edit, load_behavior
from s2e_core.data import behavior_gate_texts
from s2e_core.errors import ContrastDataError
from s2e_core.measure import (
    Estimate,
    Result,
    SearchPlan,
    Trial,
    choose,
    load_sweep,
    screening,
    search,
    sweep_results,
    trial_key,
)
from s2e_core.measure.choosing import adjust_strengths, pick_finalists, pick_weaker
from s2e_core.measure.search import run_off
from s2e_core.measure.shortlist import PROBE_GAMMAS
from s2e_core.measure.suggest import KL_BOUND
from s2e_core.measure.trials import trial_variant
from s2e_core.settings import Gate
from tests.core.chain import EXAMPLES, MANY, chain


@pytest.fixture(scope="module")
def behavior():
    """Mood in a world of six prompts a split; a reply's length is its score, so that any model has one."""
    rows = tuple(
        {"prompt": f"How are you on day {n}?", "kind": "length", "split": "development" if n < 6 else "test"}
        for n in range(12)
    )
    known = load_behavior("tone")
    small = replace(known, name="mood", contrast=MANY, attribute=rows, utility=rows, max_new_tokens=6)
    return replace(small, settings=EditSettings(0.3, 0.3, 0.5), gamma=0.7)


@pytest.fixture(scope="module")
def extraction(llama, behavior):
    return extract(llama, MANY, texts=behavior_gate_texts(behavior))


BUDGET = {"n_trials": 8, "shortlist": 4, "gammas": (0.5, 1.0), "prompts": 3, "finalists": 2, "samples": 1}


@pytest.fixture(scope="module")
def run(llama, extraction, behavior):
    """(what was found, what progress said)"""
    shown = []
    plan = SearchPlan(behavior, floor=0.5, **BUDGET)
    return find_edit(llama, extraction, plan, progress=lambda *at: shown.append(at)), shown


@pytest.fixture(scope="module")
def found(run):
    return run[0]


def figure(value, half=0.02):
    return Estimate(value, value - half, value + half, 60)


def result(trial, attribute, kept, half=0.02):
    flawless = {"empty": figure(0)}
    return Result(trial, figure(attribute), figure(kept), figure(kept, half), figure(9), flawless, flawless, {})


def adjusted(latest, measured, floor):
    chosen = {arm: choose(measured, arm, floor, False) for arm in ("edit", "steering")}
    return adjust_strengths(latest, measured, chosen, lambda trial: trial.arm)


def by_divergence(trial, attribute, kl, kept=1.0):
    """A result whose share of utility says nothing."""
    return replace(result(trial, attribute, kept, half=0.3), utility_told=False, kl=figure(kl, 0.001))


def steered(*pairs):
    return [result(Trial(gamma=0.1 * n), attribute, kept) for n, (attribute, kept) in enumerate(pairs, 1)]


# choosing


def test_finalists_are_the_best_near_the_floor_a_weaker_and_a_stronger_one_and_some_that_keep_it_surely():
    measured = steered((0.9, 0.80), (0.8, 0.96), (0.7, 0.97), (0.6, 0.985), (0.5, 1.0), (0.4, 1.0))
    picked = [trial.gamma for trial in pick_finalists(measured, "steering", 0.97, 0.955, 5, False)]
    assert picked == pytest.approx([0.2, 0.2 * 0.85, 0.2 * 1.15, 0.3, 0.5])


def test_where_nothing_comes_near_the_floor_what_keeps_most_is_a_finalist_at_half_its_strength():
    picked = pick_finalists(steered((0.9, 0.5), (0.8, 0.8), (0.7, 0.6)), "steering", 0.97, 0.955, 5, False)
    assert [trial.gamma for trial in picked] == [0.1]
    assert pick_finalists(steered((0.9, 0.5)), "edit", 0.97, 0.955, 5, False) == ()


def test_finalists_are_weakened_where_none_of_their_arm_keeps_the_floor():
    edit = Trial(EditSettings(0.3, None, 0.5, strength=2.0))
    latest = (Trial(gamma=1.0), Trial(gamma=0.5), edit)
    kept = [result(trial, 0.5, 0.9) for trial in latest]
    assert [trial.gamma for trial in adjusted(latest, kept, 0.97)[:2]] == [0.85, 0.425]
    assert adjusted(latest, kept, 0.97)[2].settings.strength == pytest.approx(1.7)
    kept[2] = result(edit, 0.5, 0.98)
    *weaker, stronger = adjusted(latest, kept, 0.97)
    assert [trial.arm for trial in weaker] == ["steering", "steering"]
    assert stronger.settings.strength == pytest.approx(2.3), "what keeps the floor may do so a little stronger, too"
    assert [t.gamma or t.settings.strength for t in adjusted(latest, kept, 0.9)] == pytest.approx([2.3, 1.15])


def test_edits_that_lost_too_much_are_asked_again_weaker_the_most_promising_of_every_family_first():
    def edit(attribute, kept, strength, gate=None):
        return result(
            Trial(EditSettings(None if gate else 0.3, None, 0.5, strength=strength, gate=gate)), attribute, kept
        )

    gate = Gate(0.8, 2.0)
    measured = [
        result(Trial(), 0.3, 1.0), edit(0.9, 0.8, 1.0), edit(0.9, 0.9, 2.0), edit(0.2, 0.9, 3.0), edit(0.8, 0.98, 4.0),
        edit(0.4, 0.9, 1.0, gate), *steered((0.9, 0.5)),
    ]  # fmt: skip
    weaker = pick_weaker(measured, 0.97, 0.96, 9, False)
    assert [(t.settings.family, t.settings.strength, t.settings.gate and t.settings.gate.gamma) for t in weaker] == [
        ("elastic net", 1.4, None), ("gated steering", 1.0, 0.56),
        ("elastic net", 1.0, None), ("gated steering", 1.0, 0.4),
    ]  # fmt: skip
    assert len(pick_weaker(measured, 0.97, 0.96, 1, False)) == 1
    fewer = [result(Trial(), 50, 1.0), edit(60, 0.9, 1.0), edit(40, 0.9, 2.0)]
    assert [t.settings.strength for t in pick_weaker(fewer, 0.97, 0.96, 9, True)] == [1.4, 1.0], "fewer tokens"


def test_finalists_are_filled_up_and_never_from_another_arm():
    edit = Trial(EditSettings(0.3, None, 0.5, strength=0.5))
    measured = [*steered((0.5, 1.0), (0.6, 1.0), (0.7, 1.0)), result(edit, 0.9, 1.0)]
    picked = [trial.gamma for trial in pick_finalists(measured, "steering", 0.97, 0.955, 9, False)]
    assert picked == pytest.approx([0.3, 0.255, 0.345, 0.2, 0.1])
    assert [t.settings.strength for t in pick_finalists(measured, "edit", 0.97, 0.955, 9, False)] == [0.5, 0.425, 0.575]
    assert pick_finalists(measured, "edit", 0.97, 0.955, 1, False) == (edit,)


def test_the_choice_keeps_the_floor_with_a_standard_error_to_spare_where_it_can():
    measured = steered((0.9, 0.96), (0.8, 0.972), (0.7, 0.99))  # a standard error is 0.01
    assert choose(measured, "steering", 0.97, False) is measured[2].trial
    assert choose(measured[:2], "steering", 0.97, False) is measured[1].trial
    assert choose(measured[:1], "steering", 0.97, False) is None


def test_fewer_tokens_are_the_better_choice():
    measured = steered((50, 1.0), (40, 1.0), (30, 0.5))
    assert choose(measured, "steering", 0.97, True) is measured[1].trial


def test_where_shares_of_utility_cannot_be_told_the_divergence_decides():
    measured = [
        by_divergence(Trial(gamma=g), a, kl) for g, a, kl in ((0.2, 0.5, 0.01), (0.4, 0.7, 0.04), (0.8, 0.9, 0.2))
    ]
    assert choose(measured, "steering", 0.97, False) is measured[1].trial, "the most within 0.05"
    lost = [by_divergence(Trial(gamma=0.4), 0.7, 0.04, kept=0.5), measured[0]]
    assert choose(lost, "steering", 0.97, False) is measured[0].trial, "the interval of the other's share ends at 80 %"
    assert [t.gamma for t in pick_finalists(measured, "steering", 0.97, 0.955, 1, False)] == [0.4]
    assert [t.gamma for t in pick_finalists(measured[2:], "steering", 0.97, 0.955, 1, False)] == [0.4], "half of 0.8"
    unmeasured = [replace(one, kl=None) for one in measured]
    assert choose(unmeasured, "steering", 0.97, False) is measured[2].trial, "nothing else is known"


def test_the_run_off_brings_choices_to_the_bound_where_the_divergence_decides():
    latest = (Trial(gamma=0.4), Trial(EditSettings(0.3, None, 0.5, strength=2.0)))
    measured = [by_divergence(latest[0], 0.5, 0.45 / 100), by_divergence(latest[1], 0.5, 0.45 / 4)]
    edit = scaled_strength(0.9 * 0.05, 0.45 / 4, 2.0)
    stronger = [t.gamma or t.settings.strength for t in adjusted(latest, measured, 0.97)]
    assert stronger == pytest.approx([edit, 0.8], abs=1e-3), "KL grows with the square; by a factor of two at most"
    near = [by_divergence(latest[0], 0.5, 0.043), by_divergence(latest[1], 0.5, 0.05)]
    assert adjusted(latest, near, 0.97) == (), "near enough"


def scaled_strength(wanted, kl, strength):
    return strength * (wanted / kl) ** 0.5


def test_promising_edits_beyond_the_bound_are_asked_again_weaker():
    edit = Trial(EditSettings(0.3, None, 0.5, strength=1.0))
    measured = [result(Trial(), 0.3, 1.0), by_divergence(edit, 0.9, 0.2), by_divergence(Trial(gamma=1.0), 0.9, 0.2)]
    assert [t.settings.strength for t in pick_weaker(measured, 0.97, 0.96, 9, False)] == [0.7, 0.5]
    measured[1] = by_divergence(edit, 0.9, 0.05)
    assert pick_weaker(measured, 0.97, 0.96, 9, False) == ()


def test_a_finalist_that_is_weakened_to_another_is_asked_once(monkeypatch):
    asked = []

    class Bench:
        def ask(self, stage, plan, trials):
            asked.append(list(trials))
            return type("Run", (), {"less_is_better": False})

    def figures(run):
        return [result(trial, 0.5, 1.0 if trial.arm == "original" else 0.1) for trial in asked[-1]]

    monkeypatch.setattr("s2e_core.measure.search.sweep_results", figures)
    adjust = partial(search._adjust, floor=0.97, less_is_better=False)
    run_off(Bench(), None, [Trial(gamma=1.0), Trial(gamma=0.85), Trial(gamma=0.5)], adjust)
    keys = [trial_key(trial) for trial in asked[-1]]
    assert len(keys) == len(set(keys)) and len(asked) == 5


# the whole search


def test_all_trials_are_measured_on_development_prompts_and_the_choice_on_test_prompts(found):
    arms = [outcome.trial.arm for outcome in found.development.outcomes]
    assert arms == ["original", *["steering"] * 3, *["edit"] * 4]
    assert {q.row["split"] for s in (found.development, found.finals) for q in s.questions} == {"development"}
    assert {q.row["split"] for q in found.held_out.questions} == {"test"}
    assert len(found.development.questions) == 6 and len(found.held_out.questions) == 12
    chosen = [trial for trial in (found.edit, found.steering) if trial is not None]
    assert [outcome.trial for outcome in found.held_out.outcomes][1:] == chosen and chosen


def test_what_was_screened_is_told_and_the_shortlist_comes_from_it(found):
    steering = [each.trial.gamma for each in found.screened if each.level is None]
    assert steering == list(PROBE_GAMMAS)
    screened = {trial_key(each.trial) for each in found.screened if each.level is not None}
    asked = [o.trial for o in found.development.outcomes if o.trial.arm == "edit"]
    assert {trial_key(trial) for trial in asked} <= screened and len(screened) == 2 * BUDGET["shortlist"]
    assert {each.figures.margin.count for each in found.screened} == {2}, "a fifth of ten examples a side"


def test_the_models_own_better_and_worse_answers_are_screened_where_there_are_some(
    llama, extraction, behavior, monkeypatch
):
    asked = []

    def pairs(loaded, plan, seed, *, stop):
        asked.append((plan.split, seed))
        return EXAMPLES

    monkeypatch.setattr(search, "own_pairs", pairs)
    found = find_edit(llama, extraction, SearchPlan(behavior, floor=0.5, **BUDGET))
    assert {each.figures.margin.count for each in found.screened} == {len(EXAMPLES.positive)}
    assert asked == [("development", 3 * search.NEW_SEEDS)]


def test_what_lost_too_much_is_asked_again_weaker(llama, extraction, behavior, monkeypatch):
    weaker = Trial(EditSettings(0.3, None, 0.5, strength=0.123))
    monkeypatch.setattr(search, "pick_weaker", lambda measured, *bars: (weaker,))
    found = find_edit(llama, extraction, SearchPlan(behavior, floor=0.5, **BUDGET))
    asked = [trial_key(outcome.trial) for outcome in found.development.outcomes]
    assert asked[-1] == trial_key(weaker) and len(asked) == len(set(asked))


def test_no_two_stages_throw_the_same_dice(found):
    seeds = [{q.seed for q in sweep.questions} for sweep in (found.development, found.finals, found.held_out)]
    assert not seeds[0] & seeds[1] and not seeds[1] & seeds[2] and not seeds[0] & seeds[2]


def test_the_choice_is_the_best_of_the_finals_that_keeps_the_floor(found):
    measured = sweep_results(found.finals)
    for arm, trial in (("edit", found.edit), ("steering", found.steering)):
        assert trial is choose(measured, arm, found.floor, True)


def test_the_divergence_is_measured_and_kept_in_the_files_where_it_decides(
    llama, extraction, behavior, monkeypatch, tmp_path
):
    monkeypatch.setattr("s2e_core.measure.plan.MOST_ERROR", -1.0)  # as if hardly any utility prompt were answered
    plan = SearchPlan(behavior, floor=0.5, **BUDGET)
    found = find_edit(llama, extraction, plan, path=tmp_path)
    for name, made in (("development", found.development), ("finals", found.finals), ("test", found.held_out)):
        figures = sweep_results(made)
        assert all((one.kl is None) == (one.trial.arm == "original") for one in figures)
        saved = {r.trial.label: r.kl for r in sweep_results(load_sweep(tmp_path / f"{name}.jsonl", llama.spec))}
        assert all(same(saved[one.trial.label], one.kl) for one in figures)
    texts = screening.harmless_answers(llama, behavior_gate_texts(behavior).probes)
    against = screening.open_screen(llama, screening.ScreenTexts((), (), texts))
    for one in sweep_results(found.finals)[1:]:
        assert same(one.kl, screening.harmless_kl(llama, trial_variant(one.trial, extraction), against))
    chosen = [one for one in sweep_results(found.finals) if one.trial in (found.edit, found.steering)]
    assert chosen and all(one.kl.value <= KL_BOUND for one in chosen)

    def measured_again(*_):
        raise AssertionError("a file that has the KL is not measured again")

    monkeypatch.setattr("s2e_core.measure.harmless.harmless_kl", measured_again)
    again = find_edit(llama, extraction, plan, path=tmp_path)
    assert [t and t.label for t in (again.edit, again.steering)] == [
        t and t.label for t in (found.edit, found.steering)
    ]


def same(one, other):
    return one is other is None or asdict(one) == asdict(other)


def test_progress_never_goes_back_and_ends_at_its_total(run):
    _, shown = run
    assert shown == sorted(shown) and len({total for _, total in shown}) == 1
    assert shown[-1][0] == shown[-1][1]


@pytest.mark.parametrize("strength", [0.001, 20.0])
def test_nothing_is_chosen_that_the_run_off_ranks_below_the_current_edit(llama, extraction, behavior, strength):
    current = EditSettings(0.3, 0.3, 0.5, strength=strength)
    plan = SearchPlan(behavior, floor=0.5, current=current, **{**BUDGET, "n_trials": 3, "shortlist": 2})
    found = find_edit(llama, extraction, plan)
    by_key = {trial_key(r.trial): r for r in sweep_results(found.finals)}
    mine = by_key[trial_key(Trial(current))]
    assert trial_key(Trial(current)) in {trial_key(o.trial) for o in found.development.outcomes}
    if found.edit is not None and mine.kept.value - (mine.kept.value - mine.kept.low) / 1.96 >= 0.5:
        assert by_key[trial_key(found.edit)].attribute.value <= mine.attribute.value  # tokens: less is better


def test_without_screened_edits_the_current_one_alone_meets_steering(llama, extraction, behavior):
    plan = SearchPlan(behavior, floor=0.01, current=EditSettings(0.3, 0.3, 0.5), **{**BUDGET, "n_trials": 0})
    found = find_edit(llama, extraction, plan)
    assert found.screened == ()
    assert [o.trial.arm for o in found.development.outcomes] == ["original", *["steering"] * 3, "edit"]


def test_an_extraction_without_texts_is_searched_for_elastic_nets(llama, behavior):
    plan = SearchPlan(behavior, floor=0.5, **{**BUDGET, "n_trials": 3, "shortlist": 2})
    found = find_edit(llama, chain(llama).extraction, plan)  # made from other examples: those of the plan are held out
    assert {each.family for each in found.screened} == {"steering", "elastic net"}
    assert all(o.trial.settings.gate is None for o in found.development.outcomes if o.trial.arm == "edit")


def test_own_examples_are_screened_in_place_of_those_of_the_behaviour(llama, extraction, behavior):
    own = replace(behavior, contrast=EXAMPLES)
    with pytest.raises(ContrastDataError, match="at least 5 a side"):
        find_edit(llama, extraction, SearchPlan(own, **BUDGET))
    plan = SearchPlan(own, floor=0.5, contrast=MANY, **{**BUDGET, "n_trials": 2, "shortlist": 1})
    assert len(find_edit(llama, extraction, plan).screened) == len(PROBE_GAMMAS) + 2


@pytest.mark.parametrize("after", [4, 50])
def test_a_stopped_search_goes_on_from_its_files(llama, extraction, behavior, found, tmp_path, after):
    stop, plan = threading.Event(), SearchPlan(behavior, floor=0.5, **BUDGET)

    def until(done, total):
        if done > after:
            stop.set()

    with pytest.raises(Cancelled):
        find_edit(llama, extraction, plan, path=tmp_path / "a", progress=until, stop=stop)
    path = tmp_path / "a" / "development.jsonl"
    written = path.read_text() if path.exists() else ""
    again = find_edit(llama, extraction, plan, path=tmp_path / "a")
    assert path.read_text().startswith(written) and bool(written) == (after > 4)
    assert [t and t.label for t in (again.edit, again.steering)] == [
        t and t.label for t in (found.edit, found.steering)
    ]
    saved = load_sweep(path, llama.spec)
    assert [o.trial.label for o in saved.outcomes] == [o.trial.label for o in found.development.outcomes]
    for stage in ("development", "finals", "held_out"):
        ours, theirs = (sweep_results(getattr(one, stage)) for one in (again, found))
        assert [r.attribute.value for r in ours] == [r.attribute.value for r in theirs]


def test_a_behaviour_whose_prompts_know_no_split_has_nothing_held_out(llama, extraction, behavior):
    rows = tuple({"prompt": row["prompt"], "kind": "length"} for row in behavior.attribute[:3])
    unsplit = replace(behavior, attribute=rows, utility=rows)
    plan = SearchPlan(unsplit, floor=0.5, **{**BUDGET, "n_trials": 0})
    assert find_edit(llama, extraction, plan).held_out is None


def test_a_search_can_report_on_a_part_of_the_held_out_prompts(llama, extraction, behavior):
    plan = SearchPlan(behavior, floor=0.01, current=EditSettings(0.3, 0.3, 0.5), **{**BUDGET, "n_trials": 0})
    whole, part = (find_edit(llama, extraction, each) for each in (plan, replace(plan, held_out=2)))
    assert whole.held_out is not None and part.held_out is not None
    asked = [{q.prompt: q.side for q in found.held_out.questions}.values() for found in (whole, part)]
    assert [list(sides).count("attribute") for sides in asked] == [6, 2]
    assert len({list(sides).count("utility") for sides in asked}) == 1, "a share of utility needs all"
    finals = [[r.attribute.value for r in sweep_results(found.finals)] for found in (whole, part)]
    assert finals[0] == finals[1]


def test_the_plan_knows_how_far_below_the_floor_a_trial_may_lie(behavior):
    plan = SearchPlan(behavior, floor=0.9, prompts=36)
    assert plan.near == pytest.approx(0.9 - 0.05)
    assert (plan.n_trials, plan.shortlist) == (60, 12)
    current = EditSettings(None, None, 0.5, gate=Gate(0.5))
    fixed = SearchPlan(behavior, gammas=(0.5, 0.7), current=current).fixed_trials()
    assert [(t.arm, t.gamma) for t in fixed] == [
        ("original", None), ("steering", 0.5), ("steering", 0.7), ("edit", None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor": 0.0}, {"floor": 1.5}, {"n_trials": -1}, {"shortlist": 0}, {"finalists": 0}, {"prompts": 0},
        {"samples": 0}, {"held_out": 0},
    ],
)  # fmt: skip
def test_a_floor_or_budget_out_of_range_is_refused(behavior, wrong):
    with pytest.raises(SettingsError):
        SearchPlan(behavior, **wrong)
