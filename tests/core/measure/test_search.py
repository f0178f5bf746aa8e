"""The search for a good edit: what it proposes, what it chooses on which prompts, and that it can be stopped."""

import threading
from dataclasses import replace
from itertools import product

import pytest
from s2e_core.measure.proposals import (
    LARGEST,
    LEAST_ALPHA,
    LEAST_STRENGTH,
    MOST_ALPHA,
    MOST_RHO,
    MOST_STRENGTH,
    SMALLEST,
    Proposals,
    params_to_settings,
    search_space,
    settings_to_params,
)

from s2e_core import Cancelled, EditSettings, SettingsError, build_edit, find_edit, load_behavior
from s2e_core.measure import Estimate, Result, SearchPlan, Trial, choose, load_sweep, settings_label, sweep_results
from s2e_core.measure.choosing import pick_finalists, weaken_failed
from s2e_core.method import summarize
from s2e_core.spec import KINDS
from tests.core.chain import EXAMPLES, chain


@pytest.fixture(scope="module")
def made(llama):
    return chain(llama)


@pytest.fixture(scope="module")
def behavior():
    """Mood in a world of six prompts a split; a reply's length is its score, so that any model has one."""
    rows = tuple(
        {"prompt": f"How are you on day {n}?", "kind": "length", "split": "development" if n < 6 else "test"}
        for n in range(12)
    )
    known = load_behavior("tone")
    small = replace(known, name="mood", contrast=EXAMPLES, attribute=rows, utility=rows, max_new_tokens=6)
    return replace(small, settings=EditSettings(0.3, 0.3, 0.5), gamma=0.7)


BUDGET = {"n_trials": 10, "gammas": (0.5, 1.0), "prompts": 3, "finalists": 2, "samples": 1}


@pytest.fixture(scope="module")
def found(llama, made, behavior):
    return find_edit(llama, made.extraction, SearchPlan(behavior, floor=0.5, **BUDGET))


def figure(value, half=0.02):
    return Estimate(value, value - half, value + half, 60)


def result(trial, attribute, kept, half=0.02):
    flawless = {"empty": figure(0)}
    return Result(trial, figure(attribute), figure(kept), figure(kept, half), figure(9), flawless, flawless, {})


def steered(*pairs):
    return [result(Trial(gamma=0.1 * n), attribute, kept) for n, (attribute, kept) in enumerate(pairs, 1)]


# proposals


def proposals(made, **options):
    return Proposals(made.extraction, **{"floor": 0.9, "less_is_better": False, "seed": 0, **options})


def rate(made, trials, best=0.05):
    """Figures of a plain world: the nearer the size to `best` the better, and larger edits lose utility."""
    sizes = [summarize(made.scores, build_edit(made.extraction, t.settings)).relative_size for t in trials]
    return [
        result(trial, -abs(size - best), 1.0 if size <= best else 1 - 2 * size)
        for trial, size in zip(trials, sizes, strict=True)
    ]


def drawn(made, rounds, **options):
    asking, found = proposals(made, **options), []
    for _ in range(rounds):
        trials = asking.ask(6)
        asking.tell(rate(made, trials))
        found += trials
    return found


@pytest.mark.parametrize("kinds", ["both", *KINDS])
def test_settings_have_the_counts_and_the_size_that_were_drawn(made, kinds):
    params = {"kinds": kinds, "heads": 3, "neurons": 17, "size": 0.08}
    settings = params_to_settings(made.extraction, params)
    edit = build_edit(made.extraction, settings)
    assert edit.count("heads") == (3 if kinds in ("both", "heads") else 0)
    assert edit.count("neurons") == (17 if kinds in ("both", "neurons") else 0)
    assert summarize(made.scores, edit).relative_size == pytest.approx(0.08, rel=0.02)
    back = settings_to_params(made.extraction, settings)
    assert back["kinds"] == kinds and back["size"] == pytest.approx(0.08, rel=0.02)


@pytest.mark.parametrize("kinds", ["both", *KINDS])
def test_settings_stay_within_the_reach_of_the_dials(made, kinds):
    for heads, neurons, size in product((1, 4, 12), (1, 9, 90), (0.02, 0.3)):
        params = {"kinds": kinds, "heads": heads, "neurons": neurons, "size": size}
        settings = params_to_settings(made.extraction, params)
        if settings is not None:
            assert all(rho is None or rho <= MOST_RHO * 1.001 for rho in (settings.rho_attn, settings.rho_mlp))
            assert LEAST_STRENGTH <= settings.strength <= MOST_STRENGTH and LEAST_ALPHA <= settings.alpha <= MOST_ALPHA


def test_a_different_alpha_with_the_matching_strength_is_the_same_edit(made):
    tau, gain = 0.1, 0.6
    edits = [
        build_edit(
            made.extraction,
            EditSettings(tau / alpha, tau / alpha, alpha, strength=gain * (1 - alpha) / alpha),
        )
        for alpha in (0.2, 0.7)
    ]
    for one, other in zip(edits[0].strength, edits[1].strength, strict=True):
        assert one.tolist() == pytest.approx(other.tolist(), abs=1e-6)


def test_every_proposal_changes_something_and_none_comes_twice(made):
    trials = drawn(made, 5)
    edits = [build_edit(made.extraction, trial.settings) for trial in trials]
    assert len(trials) == 30 and not any(edit.is_empty for edit in edits)
    assert len({settings_label(trial.settings) for trial in trials}) == 30
    sizes = [summarize(made.scores, edit).relative_size for edit in edits]
    assert all(SMALLEST * 0.95 <= size <= LARGEST * 1.05 for size in sizes)


def test_the_same_seed_and_figures_give_the_same_proposals_and_another_seed_others(made):
    labels = [[settings_label(t.settings) for t in drawn(made, 4, seed=seed)] for seed in (3, 3, 4)]
    assert labels[0] == labels[1] != labels[2]


def test_proposals_move_to_where_the_figures_are_good(made):
    trials = drawn(made, 8)
    misses = [-r.attribute.value for r in rate(made, trials)]
    assert sum(misses[-12:]) < 0.6 * sum(misses[:12])


def test_what_is_known_beforehand_counts_as_one_trial_and_is_not_proposed_again(made):
    asking = proposals(made)
    settings = EditSettings(0.3, 0.3, 0.5)
    asking.learn(result(Trial(settings), 0.5, 0.95))
    asking.learn(result(Trial(gamma=0.5), 0.5, 0.95))
    asking.learn(result(Trial(EditSettings(9.0, None, 0.9)), 0.5, 1.0))
    known = asking._study.trials
    assert len(known) == 1 and known[0].value == 0.5
    assert all(constraint < 0 for constraint in known[0].constraints.values())


def test_a_model_with_one_kind_of_components_is_never_asked_for_the_other(made):
    spec = replace(made.scores.spec, sites=tuple(s for s in made.scores.spec.sites if s.kind == "neurons"))
    keep = made.scores.spec.of_kind("neurons")
    fields = {name: tuple(getattr(made.scores, name)[i] for i in keep) for name in ("g", "keys", "weight_norms")}
    scores = replace(made.scores, spec=spec, contributions=fields["g"], **fields)
    assert set(search_space(scores)) == {"kinds", "neurons", "size"}


# choosing


def test_finalists_are_the_best_near_the_floor_a_weaker_one_and_some_that_keep_it_surely():
    measured = steered((0.9, 0.80), (0.8, 0.96), (0.7, 0.97), (0.6, 0.985), (0.5, 1.0), (0.4, 1.0))
    picked = [trial.gamma for trial in pick_finalists(measured, "steering", 0.97, 0.955, 5, False)]
    assert picked == pytest.approx([0.2, 0.2 * 0.85, 0.3, 0.5, 0.4])


def test_finalists_are_weakened_where_none_of_their_arm_keeps_the_floor():
    edit = Trial(EditSettings(0.3, None, 0.5, strength=2.0))
    latest = (Trial(gamma=1.0), Trial(gamma=0.5), edit)
    kept = [result(trial, 0.5, 0.9) for trial in latest]
    assert [trial.gamma for trial in weaken_failed(latest, kept, 0.97, False)[:2]] == [0.85, 0.425]
    assert weaken_failed(latest, kept, 0.97, False)[2].settings.strength == pytest.approx(1.7)
    kept[2] = result(edit, 0.5, 0.98)
    assert [trial.arm for trial in weaken_failed(latest, kept, 0.97, False)] == ["steering", "steering"]
    assert weaken_failed(latest, kept, 0.9, False) == ()


def test_finalists_are_filled_up_and_never_from_another_arm():
    edit = Trial(EditSettings(0.3, None, 0.5, strength=0.5))
    measured = [*steered((0.5, 1.0), (0.6, 1.0), (0.7, 1.0)), result(edit, 0.9, 1.0)]
    picked = [trial.gamma for trial in pick_finalists(measured, "steering", 0.97, 0.955, 9, False)]
    assert picked == pytest.approx([0.3, 0.255, 0.2, 0.1])
    assert [t.settings.strength for t in pick_finalists(measured, "edit", 0.97, 0.955, 9, False)] == [0.5, 0.425]
    assert pick_finalists(measured, "edit", 0.97, 0.955, 1, False) == (edit,)


def test_the_choice_keeps_the_floor_with_a_standard_error_to_spare_where_it_can():
    measured = steered((0.9, 0.96), (0.8, 0.972), (0.7, 0.99))  # a standard error is 0.01
    assert choose(measured, "steering", 0.97, False) is measured[2].trial
    assert choose(measured[:2], "steering", 0.97, False) is measured[1].trial
    assert choose(measured[:1], "steering", 0.97, False) is None


def test_fewer_tokens_are_the_better_choice():
    measured = steered((50, 1.0), (40, 1.0), (30, 0.5))
    assert choose(measured, "steering", 0.97, True) is measured[1].trial


# the whole search


def test_all_trials_are_measured_on_development_prompts_and_the_choice_on_test_prompts(found, behavior):
    arms = [outcome.trial.arm for outcome in found.development.outcomes]
    assert arms == ["original", *["steering"] * 3, *["edit"] * 11]
    assert {q.row["split"] for s in (found.development, found.finals) for q in s.questions} == {"development"}
    assert {q.row["split"] for q in found.held_out.questions} == {"test"}
    assert len(found.development.questions) == 6 and len(found.held_out.questions) == 12
    assert [outcome.trial for outcome in found.held_out.outcomes][1:] == [found.edit, found.steering]


def test_no_two_stages_throw_the_same_dice(found):
    seeds = [{q.seed for q in sweep.questions} for sweep in (found.development, found.finals, found.held_out)]
    assert not seeds[0] & seeds[1] and not seeds[1] & seeds[2] and not seeds[0] & seeds[2]


def test_the_choice_is_the_best_of_the_finals_that_keeps_the_floor(found):
    measured = sweep_results(found.finals)
    for arm, trial in (("edit", found.edit), ("steering", found.steering)):
        assert trial is choose(measured, arm, found.floor, True) and trial.arm == arm


def test_progress_never_goes_back_and_ends_at_its_total(llama, made, behavior):
    shown, sweeps = [], []
    find_edit(
        llama, made.extraction, SearchPlan(behavior, floor=0.5, **BUDGET),
        progress=lambda *at: shown.append(at), seen=sweeps.append,
    )  # fmt: skip
    assert shown == sorted(shown) and len({total for _, total in shown}) == 1
    assert shown[-1][0] == shown[-1][1]
    assert [len(sweep.outcomes) for sweep in sweeps] == [5, 13, 15]


@pytest.mark.parametrize("after", [30, 100])
def test_a_stopped_search_goes_on_from_its_files(llama, made, behavior, found, tmp_path, after):
    stop, shown = threading.Event(), []

    def until(done, total):
        if done > after:
            stop.set()

    with pytest.raises(Cancelled):
        find_edit(
            llama, made.extraction, SearchPlan(behavior, floor=0.5, **BUDGET), path=tmp_path / "a", progress=until,
            stop=stop,
        )  # fmt: skip
    written = (tmp_path / "a" / "development.jsonl").read_text()
    again = find_edit(
        llama, made.extraction, SearchPlan(behavior, floor=0.5, **BUDGET), path=tmp_path / "a",
        progress=lambda *at: shown.append(at),
    )  # fmt: skip
    assert (tmp_path / "a" / "development.jsonl").read_text().startswith(written)
    assert shown[0][0] > 0
    assert again.edit.label == found.edit.label and again.steering.label == found.steering.label
    saved = load_sweep(tmp_path / "a" / "development.jsonl", llama.spec)
    assert [o.trial.label for o in saved.outcomes] == [o.trial.label for o in found.development.outcomes]


def test_a_behaviour_whose_prompts_know_no_split_has_nothing_held_out(llama, made, behavior):
    rows = tuple({"prompt": row["prompt"], "kind": "length"} for row in behavior.attribute[:3])
    unsplit = replace(behavior, attribute=rows, utility=rows)
    assert find_edit(llama, made.extraction, SearchPlan(unsplit, floor=0.5, **BUDGET)).held_out is None


@pytest.mark.parametrize(
    "wrong", [{"floor": 0.0}, {"floor": 1.5}, {"n_trials": -1}, {"finalists": 0}, {"prompts": 0}, {"samples": 0}]
)
def test_a_floor_or_budget_out_of_range_is_refused(behavior, wrong):
    with pytest.raises(SettingsError):
        SearchPlan(behavior, **wrong)
