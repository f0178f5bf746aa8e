"""The search by likelihood alone: how examples are divided, what is chosen under the bound, and what is reported."""

import threading
from dataclasses import replace

import pytest

from s2e_core import Cancelled, SettingsError, extract
from s2e_core.data import contrast_set
from s2e_core.errors import ContrastDataError
from s2e_core.measure import (
    Estimate,
    Likelihood,
    Screened,
    Trial,
    find_by_likelihood,
    open_screen,
    screen,
    screen_texts,
    split_fifths,
)
from s2e_core.measure.likelihood_search import _choose, _lead
from s2e_core.measure.trials import trial_variant
from tests.core.chain import MANY

BOUND = 0.03
BUDGET = {"bound": BOUND, "n_trials": 4, "shortlist": 2}


@pytest.fixture(scope="module")
def examples(few_pairs):
    return split_fifths(few_pairs)


@pytest.fixture(scope="module")
def extraction(bundled, examples, few_texts):
    return extract(bundled, examples.fit, texts=few_texts)


@pytest.fixture(scope="module")
def run(bundled, extraction, examples, few_texts):
    """(what was found, what progress said)"""
    shown = []
    found = find_by_likelihood(
        bundled, extraction, examples, few_texts.probes, progress=lambda *at: shown.append(at), **BUDGET
    )
    return found, shown


def test_three_fifths_are_fitted_and_the_others_belong_to_choice_and_report(few_pairs, examples):
    for side in ("positive", "negative"):
        fit, choose, report = (getattr(part, side) for part in (examples.fit, examples.choose, examples.report))
        assert (len(fit), len(choose), len(report)) == (12, 4, 4)
        assert set(fit) | set(choose) | set(report) == set(getattr(few_pairs, side))
    assert len({part.content_hash for part in (examples.fit, examples.choose, examples.report, few_pairs)}) == 4
    with pytest.raises(ContrastDataError, match="at least 10 a side"):
        split_fifths(contrast_set(MANY.positive[:9], MANY.negative, name="few"))


def test_the_largest_margin_under_the_bound_is_chosen_in_both_arms(run):
    found, _ = run
    for arm, chosen in (("edit", found.edit), ("steering", found.steering)):
        allowed = [each for each in found.screened if each.trial.arm == arm and each.figures.kl.value <= BOUND]
        assert chosen.trial is max(allowed, key=lambda each: each.figures.margin.value).trial


def test_steering_comes_near_the_bound_too(run):
    found, _ = run
    assert max(e.figures.kl.value for e in found.screened if e.family == "steering" and
                           e.figures.kl.value <= BOUND) > BOUND / 2  # fmt: skip


def test_the_figures_are_those_of_examples_that_played_no_part(run, bundled, extraction, examples, few_texts):
    found, _ = run
    against = open_screen(bundled, screen_texts(bundled, examples.report, few_texts.probes))
    leads = []
    for chosen in (found.edit, found.steering):
        (figures,) = screen(bundled, [trial_variant(chosen.trial, extraction)], against)
        assert chosen.figures.margins == pytest.approx(figures.margins, abs=1e-5)
        assert chosen.figures.margin.count == 4 and chosen.figures.kl.value <= BOUND
        assert chosen.figures.margin.low <= chosen.figures.margin.value <= chosen.figures.margin.high
        leads.append(chosen.figures.margin.value)
    assert found.lead.value == pytest.approx(leads[0] - leads[1], abs=1e-6) and found.lead.count == 4


def test_progress_never_goes_back_and_ends_at_its_total(run):
    _, shown = run
    assert shown == sorted(shown) and len({total for _, total in shown}) == 1 and shown[-1][0] == shown[-1][1]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_stop_is_heard_in_every_stage(bundled, extraction, examples, few_texts, share):
    stop = threading.Event()

    def until(done, total):
        if done >= share * total:
            stop.set()

    with pytest.raises(Cancelled):
        find_by_likelihood(
            bundled, extraction, examples, few_texts.probes[:1], n_trials=1, shortlist=1, progress=until, stop=stop
        )
    assert not bundled.lock.locked()


def test_nothing_is_chosen_above_the_bound_or_without_a_margin():
    def measured(gamma, margin, kl):
        figures = (Estimate(value, value, value, 4) for value in (margin, margin, kl))
        return Screened(Trial(gamma=gamma), Likelihood(*figures))

    rows = [measured(0.1, -0.2, 0.001), measured(0.2, 0.3, 0.02), measured(0.3, 0.9, 0.04)]
    assert _choose(rows, "steering", 0.03).gamma == 0.2
    assert _choose(rows[::2], "steering", 0.03) is None
    assert _choose(rows, "edit", 0.03) is None
    assert _lead(None, rows[1]) is None


@pytest.mark.parametrize("bound", [0.0, -1.0, float("inf"), float("nan")])
def test_a_bound_is_a_positive_number_and_texts_are_needed(bundled, extraction, examples, few_texts, bound):
    with pytest.raises(SettingsError, match="a bound of KL"):
        find_by_likelihood(bundled, extraction, examples, few_texts.probes, bound=bound)
    with pytest.raises(SettingsError, match="with texts"):
        find_by_likelihood(bundled, replace(extraction, token_inputs=None), examples, few_texts.probes)
